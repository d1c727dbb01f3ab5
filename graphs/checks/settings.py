"""Settings of a workflow: a deadline that is an instant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from graphs.checks.diagnostic import Diagnostic, Operation, add, quoted, remove, replace
from graphs.checks.repairs import duration
from graphs.checks.view import View
from graphs.documents import is_object


def check_settings(view: View) -> Iterator[Diagnostic]:
    """What the models of the settings cannot say."""
    settings = view.document.get("settings")
    deadline = settings.get("deadline") if is_object(settings) else None
    if not is_object(settings) or not isinstance(deadline, str) or "{{" in deadline or _is_instant(deadline):
        return
    pointer = "/settings/deadline"
    patch: tuple[Operation, ...] = (remove(pointer),)
    hint = "an ISO 8601 instant with a time zone, such as 2027-01-31T09:00:00Z, or a template that gives one"
    if _is_instant(f"{deadline}Z"):
        patch = (replace(pointer, f"{deadline}Z"),)
    elif _is_instant(f"{deadline}T00:00:00Z"):
        patch = (replace(pointer, f"{deadline}T00:00:00Z"),)
    elif length := duration(deadline):
        hint += "; a length of time belongs into `timeout`"
        patch = (remove(pointer),) if "timeout" in settings else (remove(pointer), add("/settings/timeout", length))
    message = f"deadline of the settings: {quoted(deadline)} is not {hint}"
    yield Diagnostic(code="bad_value", pointer=pointer, message=message, patch=patch)


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False
