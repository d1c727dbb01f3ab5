"""Which version a run gets: the one asked for, or the one active at that moment. Runs keep it for ever."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from graphs.definition import Json, Schema
from store import workflows
from store.errors import Conflict, NotFound
from store.postgres import Session

CACHED = 256  # definitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    workflow_id: str
    name: str
    version: int
    digest: bytes
    body: Json


class Pins:
    """The active versions that were started last, by organization and name. What it says may be out of date: a start makes sure."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Pinned] = OrderedDict()

    def get(self, org_id: str, name: str) -> Pinned | None:
        if found := self._known.get((org_id, name)):
            self._known.move_to_end((org_id, name))
        return found

    def keep(self, org_id: str, active: Pinned) -> None:
        self._known[org_id, active.name] = active
        self._known.move_to_end((org_id, active.name))
        if len(self._known) > CACHED:
            self._known.popitem(last=False)

    def forget(self, org_id: str, name: str) -> None:
        self._known.pop((org_id, name), None)


async def pinned(session: Session, name_or_id: str, version: int | None) -> Pinned:
    """Raises NotFound with the nearest names, Conflict when nothing is published yet."""
    if version is None and (active := await workflows.find_published(session, name_or_id)):
        return Pinned(
            workflow_id=active.workflow_id, name=active.name, version=active.version, digest=active.digest, body=active.definition
        )
    workflow = await workflows.find(session, name_or_id)
    if workflow is None:
        known = await workflows.names(session)
        raise NotFound(f"There is no workflow {name_or_id!r}. " + nearest(name_or_id, known, "There are"))
    number = version or workflow.active_version
    if number is None:
        raise Conflict(f"{workflow.name} is not published yet, so there is no version to run: publish_workflow publishes the draft")
    found = await workflows.get_version(session, workflow.id, number)
    return Pinned(workflow_id=workflow.id, name=workflow.name, version=found.number, digest=found.digest, body=found.definition)


def nearest(wanted: str, known: Iterable[str], lead: str) -> str:
    """A sentence that helps: the nearest names, or else the first ones there are."""
    names = [*known]
    if close := difflib.get_close_matches(wanted, names, n=3, cutoff=0.5):
        return f"Did you mean {', '.join(close)}?"
    return f"{lead}: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}." if names else "There are none yet."


async def inputs_of_published(session: Session) -> dict[str, Schema | None]:
    """Name -> input schema of every published workflow: what checks of a `subflow` step look at."""
    return {item.name: item.definition.get("input") for item in await workflows.published(session)}
