"""What goes wrong with a remote server, as a Failure with one clear sentence: what the transport saw, before what the SDK makes of it."""

from __future__ import annotations

from typing import Any, cast

import anyio
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT
from pydantic import ValidationError

from graphs.nodetype import Failure
from graphs.remote.definitions import shown
from graphs.remote.wire import Exchange

RAISED = (MCPError, ValidationError, TimeoutError, RuntimeError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError)
SAID = 500  # characters of what a server says


def explained(wrong: BaseException, exchange: Exchange, where: str) -> Failure:
    """The Failure for what was raised while `exchange` was under way."""
    wrong = _first(wrong)
    if isinstance(wrong, Failure):
        return wrong
    if exchange.failure is not None:
        return exchange.failure
    if exchange.status is not None and exchange.status >= 400:
        return _status(wrong, exchange.status, where)
    if isinstance(wrong, TimeoutError) or (isinstance(wrong, MCPError) and wrong.code == REQUEST_TIMEOUT):
        return Failure("remote_timeout", f"{where} did not answer in time", retryable=True)
    if isinstance(wrong, ValidationError):
        return Failure("bad_answer", f"{where} answered with something that is not MCP ({wrong.error_count()} faults in {wrong.title})")
    if isinstance(wrong, MCPError) and wrong.code != CONNECTION_CLOSED:
        return Failure("remote_refused", f"{where} answered with an error: {shown(wrong.message, SAID)}", details={"code": wrong.code})
    return Failure("remote_closed", f"the connection to {where} broke before its answer was complete", retryable=True)


def _status(wrong: BaseException, status: int, where: str) -> Failure:
    said = f": {shown(wrong.message, SAID)}" if isinstance(wrong, MCPError) else ""
    if status == 404:
        return Failure("remote_closed", f"{where} knows nothing of this address or session (404){said}", retryable=True)
    return Failure(
        "http_status", f"{where} answered with {status}{said}", retryable=status >= 500 or status == 429, details={"status": status}
    )


def _first(wrong: BaseException) -> BaseException:
    while isinstance(wrong, BaseExceptionGroup):
        wrong = cast("BaseExceptionGroup[Any]", wrong).exceptions[0]
    return wrong
