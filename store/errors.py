"""The errors a user can meet: a small closed tree, raised where the fact is known, mapped to MCP and HTTP in one place."""

from __future__ import annotations

from typing import Any, ClassVar


class WeftError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.details: dict[str, Any] = details
        super().__init__(self.message)


class NotFound(WeftError):
    """There is no such thing here."""

    code = "not_found"
    status = 404


class Conflict(WeftError):
    """It was changed meanwhile, or its state does not allow this."""

    code = "conflict"
    status = 409


class Invalid(WeftError):
    """The request is not valid."""

    code = "invalid"
    status = 422


class Denied(WeftError):
    """You may not do this."""

    code = "denied"
    status = 403


class Unauthenticated(WeftError):
    """No valid API key came with the request."""

    code = "unauthenticated"
    status = 401


class Unavailable(WeftError):
    """Something Weft needs does not answer just now; try again."""

    code = "unavailable"
    status = 503


class Misconfigured(WeftError):
    """A setting or the machine must be changed before Weft can start."""

    code = "misconfigured"
    status = 500


class LeaseLost(WeftError):
    """Another worker drives this run now; whatever this one still does is void."""

    code = "lease_lost"
    status = 409
