"""get_guide: the short manual for authors, section by section."""

from __future__ import annotations

from typing import Literal

from mcp.types import CallToolResult

from server.answers import prose
from server.auth import Scope
from server.guide import section_text
from server.tools import Ctx, hints

DESCRIPTION = (
    "How to write, test and run workflows. Read `start` and `definition` before the first create_workflow; each "
    "section is one short page with examples."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ
CORE = True

Section = Literal["start", "definition", "expressions", "nodes", "agents", "flow", "waiting", "testing", "running", "errors"]


async def run(ctx: Ctx, section: Section = "start") -> CallToolResult:
    return prose(section_text(section))
