"""Why a tool call was refused, in words for the model that has to correct it."""

from __future__ import annotations

import difflib
import logging
import secrets
from collections.abc import Iterable
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from server.excerpts import MAX_ERROR, explain
from store.errors import WeftError

logger = logging.getLogger("server.mcp")


def told(name: str, error: BaseException) -> ToolError:
    """A domain error keeps its words; anything else is logged under an id, and only the id goes out."""
    if isinstance(error, WeftError):
        return ToolError(explain(error))
    number = secrets.token_hex(4)
    logger.error("tool %s failed unexpectedly, incident %s", name, number, exc_info=error)
    return ToolError(
        f"{name} failed inside Weft; nothing you sent is known to be wrong. Try again, and report incident {number} if it happens again."
    )


def readable(name: str, error: ToolError, tool: Tool | None) -> ToolError:
    """The SDK's prefix and pydantic's web links help nobody who has to correct a call."""
    cause = error.__cause__
    if isinstance(cause, ValidationError) and tool is not None:
        known = list(tool.parameters.get("properties", {}))
        problems = [_argument_problem(problem, known) for problem in cause.errors(include_url=False, include_context=False)]
        return ToolError(f"Wrong arguments for {name}: {' '.join(problems)}"[:MAX_ERROR])
    return ToolError(str(error).removeprefix(f"Error executing tool {name}: ")[:MAX_ERROR])


def _argument_problem(problem: Any, known: list[str]) -> str:
    where = "/".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no argument {where!r}.{did_you_mean(where, known)}"
    if problem["type"] == "missing":
        return f"`{where}` is required."
    return f"`{where}`: {problem['msg'][:200]}."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else f" There are: {', '.join(names)}."
