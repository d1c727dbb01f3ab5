"""What a workflow would call and cannot yet: connections that it names and that are missing, or lack a secret."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from graphs.catalogue import node_types
from graphs.connections import kinds, missing
from graphs.definition import Json
from graphs.documents import is_array, is_object
from store import secrets
from store.postgres import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """`secrets`: those that must be set yet; none where the connection itself is missing, and `kind` is then what the step needs."""

    name: str
    kind: str
    there: bool
    secrets: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What is wrong, in words."""
        if not self.there:
            return f"there is no connection {self.name!r} (kind {self.kind}) yet"
        if "refresh_token" in self.secrets:
            return f"nobody has agreed yet that Weft may use the connection {self.name!r}"
        return f"the connection {self.name!r} has no {' and no '.join(self.secrets)} yet"

    @property
    def remedy(self) -> str:
        """What a person can do about it, at a terminal and over HTTP."""
        if not self.there:
            return f"weft connections add {self.name} --kind {self.kind}, or POST /api/v1/connections"
        if "refresh_token" in self.secrets:
            return f"weft connections authorize {self.name}, or POST /api/v1/connections/{self.name}/link"
        field = self.secrets[0]
        return f"weft connections set-secret {self.name} {field}, or PUT /api/v1/connections/{self.name}/secrets/{field}"


async def lacking(tenant: Tenant, document: Json, *, without: Collection[str] = ()) -> list[Lacking]:
    """By name. No query for a definition that names no connection. `without`: nodes that are not to run."""
    wanted = named(document, without)
    return [found for name in sorted(wanted) if (found := await _look(tenant, name, wanted[name]))]


async def _look(tenant: Tenant, name: str, kind: str) -> Lacking | None:
    row, sealed = await secrets.of_name(tenant, name)
    if row is None:
        return Lacking(name=name, kind=kind, there=False)
    described = kinds().get(row.kind)
    if described is None:
        return None
    gaps = missing(described, described.settings.model_validate(row.settings), {secret.field for secret in sealed})
    return Lacking(name=name, kind=row.kind, there=True, secrets=tuple(gaps)) if gaps else None


def named(document: Json, without: Collection[str] = ()) -> dict[str, str]:
    """The connections that a definition names outright, with the kind that is needed (the simplest where several would do)."""
    return dict(_walk(document, "http", without))


def _walk(value: Json, kind: str, without: Collection[str]) -> Iterator[tuple[str, str]]:
    if is_array(value):
        for inner in value:
            yield from _walk(inner, kind, without)
    elif is_object(value):
        node = "config" in value and isinstance(value.get("type"), str)
        if node and value.get("id") in without:
            return
        found = node_types().get(value["type"]) if node else None
        kind = sorted(found.connects)[0] if found and found.connects else kind
        for name, inner in value.items():
            if name == "connection" and isinstance(inner, str) and inner and "{{" not in inner:
                yield inner, kind
            else:
                yield from _walk(inner, kind, without)
