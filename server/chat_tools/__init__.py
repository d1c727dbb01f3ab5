"""Tools that only the chat assistant and agents have, found by folder like those of server/tools: an MCP client does as well without."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from server.tools import ToolFile, found_in


@cache
def chat_tool_files() -> Mapping[str, ToolFile]:
    """Every such tool by name, in alphabetical order."""
    return found_in(__name__, __path__)
