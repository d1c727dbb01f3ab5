"""How connections look from outside, the same at every door: never with a secret."""

from __future__ import annotations

from graphs.connecting import Described
from graphs.connections import kinds
from server.views import View, filled, stamp
from server.views.remote_tools import health_view
from store.connections import Event
from store.remote_tools import Source
from store.secrets import Shown


def connection_view(found: Described, *, whole: bool, source: Source | None = None) -> View:
    """A connection: which of its secrets are set, and never one of them. Without `whole` only what everybody may see. `source`: how it is
    doing as a source of tools."""
    row = found.row
    view: View = {"name": row.name, "kind": row.kind, "description": row.description or None, "ready": not found.missing}
    if whole:
        view |= {
            "health": row.health,
            "health_note": row.health_note or None,
            "checked_at": stamp(row.checked_at),
            "settings": row.settings,
            "roles": row.roles,
            "secrets": [secret_view(secret) for secret in found.secrets],
            "missing": list(found.missing),
            "takes": list(found.takes),
            "revision": row.revision,
            "updated_at": stamp(row.updated_at),
            "remote": health_view(source) if source else None,
        }
    return filled(view)


def local_view(name: str, source: Source | None) -> View:
    """A server of the operator's file."""
    return filled({"name": name, "kind": "mcp", "remote": health_view(source) if source else None})


def secret_view(secret: Shown) -> View:
    return filled({"field": secret.field, "set_at": stamp(secret.set_at), "set_by": secret.set_by, "expires_at": stamp(secret.expires_at)})


def event_view(event: Event) -> View:
    return filled({"act": event.act, "by": event.user_name, "via": event.via, "data": event.data, "at": stamp(event.at)})


def kinds_view() -> list[View]:
    """The kinds there are: what each is for, its settings and its secrets."""
    return [
        {"kind": kind.name, "summary": kind.summary, "settings": kind.settings.model_json_schema(), "secrets": dict(kind.secrets)}
        for kind in kinds().values()
    ]
