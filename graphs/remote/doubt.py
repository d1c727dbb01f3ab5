"""When nobody can say whether a call took effect."""

from __future__ import annotations

from graphs.nodetype import Effect, Failure

LOST = frozenset({"remote_closed", "remote_timeout", "timeout", "cut", "too_large", "bad_answer", "http_status", "remote_answer"})


def doubted(failure: Failure, effect: Effect, *, sent: bool, what: str) -> Failure:
    """A write without an answer must not be repeated blindly: it may have taken effect."""
    if effect is not Effect.WRITE_ONCE or not sent or failure.code not in LOST:
        return failure
    message = f"it is not known whether {what} took effect: {failure.message}. Look there before retrying the run"
    return Failure("in_doubt", message)
