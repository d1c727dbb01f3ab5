"""Operations on workflows: check, create, edit by patch, publish, compare. Every door calls these; none does more."""

from __future__ import annotations

import builtins
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

import jsonpatch
import jsonpointer

from graphs import patches, shipped
from graphs.agents.offers import Settings
from graphs.agents.tools import may_do
from graphs.catalogue import effect_of, node_types
from graphs.checks import Report
from graphs.checks import check as check_definition
from graphs.definition import Body, Definition, Json, Schema
from graphs.documents import MAX_CHARACTERS, parse
from graphs.knowing import known_to
from graphs.nodetype import Effect
from graphs.pinning import nearest
from graphs.runtime import Actor, Runtime
from store import jsontext, workflows
from store.errors import Conflict, Invalid, NotFound
from store.pages import Page
from store.workflows import Listed, ListedVersion, Version, Workflow

MAX_EFFECTS = 1_000  # definitions whose effects are remembered
_effects: dict[bytes, frozenset[Effect]] = {}


class Line(Protocol):
    """What a list of workflows shows of each."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def active_version(self) -> int | None: ...
    @property
    def updated_at(self) -> datetime: ...


class VersionLine(Protocol):
    """What a list of versions shows of each."""

    @property
    def number(self) -> int: ...
    @property
    def note(self) -> str: ...
    @property
    def published_by(self) -> str: ...
    @property
    def published_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A workflow as its callers see it. `effects`: what its steps may do to the world."""

    name: str
    description: str
    version: int
    input: Schema
    effects: frozenset[Effect]


def read(document: Json) -> Json:
    """A definition given as an object or as JSON or YAML text. Raises Invalid with the line."""
    return parse(document) if isinstance(document, str) else document


async def check(runtime: Runtime, actor: Actor, document: Json) -> Report:
    """Every problem at once; subflows are checked against what is published."""
    definition = read(document)
    return await check_definition(definition, runtime.evaluator, await known_to(actor.tenant, definition))


async def create(runtime: Runtime, actor: Actor, document: Json) -> tuple[Workflow | None, Report]:
    """Saves a new draft, also with warnings; None when there are errors. Raises Conflict when the name is taken."""
    definition = read(document)
    report = await check(runtime, actor, definition)
    if not report.ok:
        return None, report
    _own_name(definition["name"])
    saved = await workflows.create(
        actor.tenant,
        name=definition["name"],
        description=definition.get("description") or "",
        definition=definition,
        user_id=actor.user_id,
    )
    return saved, report


async def edit(
    runtime: Runtime, actor: Actor, name_or_id: str, patch: builtins.list[dict[str, Any]], base_revision: int
) -> tuple[Workflow, Report]:
    """Applies a JSON Patch to the draft, all or nothing. A report with errors comes with the unchanged workflow.

    Raises Conflict when the draft is not at `base_revision`, Invalid when the patch does not apply, NotFound.
    """
    current = await get(runtime, actor, name_or_id)
    if current.revision != base_revision:
        raise Conflict(
            f"The draft of {current.name!r} is at revision {current.revision}, not {base_revision}: it was edited meanwhile. "
            "Read it again with get_workflow and repeat the edit on that.",
            revision=current.revision,
        )
    definition = patched(current.draft, patch)
    report = await check(runtime, actor, definition)
    if not report.ok:
        return current, report
    if current.active_version and definition["name"] != current.name:
        raise Invalid(
            f"{current.name!r} is published: its name is how callers, subflows and clients find it, and cannot change any more. "
            "Leave /name as it is, or create a new workflow."
        )
    if definition["name"] != current.name:
        _own_name(definition["name"])
    saved = await workflows.save_draft(
        actor.tenant,
        current.id,
        revision=base_revision,
        name=definition["name"],
        description=definition.get("description") or "",
        definition=definition,
    )
    return saved, report


def _own_name(name: str) -> None:
    """Nobody's workflow takes the place of what people talk to. Raises Conflict."""
    if name == shipped.CHAT:
        raise Conflict(f"The name {name!r} is that of a workflow that comes with Weft; choose another one.")


def patched(document: Json, patch: builtins.list[dict[str, Any]]) -> Json:
    """The document after the patch; the one given stays as it is. Raises Invalid naming the operation that does not apply."""
    changed = copy.deepcopy(document)
    for number, operation in enumerate(patch):
        try:
            changed = jsonpatch.JsonPatch([operation]).apply(changed, in_place=True)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise Invalid(
                f"Operation {number} of the patch does not apply: {str(wrong)[:300]}. Nothing was changed.", operation=operation
            ) from None
        if operation.get("op") == "copy" and len(jsontext.text(changed)) > MAX_CHARACTERS:  # a few copies of everything fill the memory
            raise Invalid(f"Operation {number} makes the definition longer than {MAX_CHARACTERS:,} characters. Nothing was changed.")
    return changed


async def get(runtime: Runtime, actor: Actor, name_or_id: str) -> Workflow:
    """Raises NotFound, alike for what is not there and what belongs to somebody else, with the nearest names."""
    found = await workflows.find(actor.tenant, name_or_id)
    if found is None:
        names = await workflows.names(actor.tenant)
        raise NotFound(f"There is no workflow {name_or_id!r}. {nearest(name_or_id, names, 'There are')}")
    return found


async def list(runtime: Runtime, actor: Actor, *, limit: int = 20, cursor: str | None = None, search: str | None = None) -> Page[Listed]:
    """By name. Raises Invalid for a cursor that no list has given out."""
    return await workflows.list_page(actor.tenant, limit=limit, cursor=cursor, search=search)


async def document(runtime: Runtime, actor: Actor, workflow: Workflow, version: int | None) -> Json:
    """The definition of a version, or of the draft. Raises NotFound."""
    if version is None:
        return workflow.draft
    return (await _version(actor, workflow, version)).definition


async def versions(runtime: Runtime, actor: Actor, workflow: Workflow) -> builtins.list[ListedVersion]:
    """Newest first."""
    return await workflows.list_versions(actor.tenant, workflow.id)


async def _version(actor: Actor, workflow: Workflow, number: int) -> Version:
    try:
        return await workflows.get_version(actor.tenant, workflow.id, number)
    except NotFound:
        newest = [item.number for item in await workflows.list_versions(actor.tenant, workflow.id)][:5]
        there = f"the newest are {', '.join(map(str, newest))}" if newest else "it was never published"
        raise NotFound(f"{workflow.name!r} has no version {number}; {there}.") from None


async def publish(runtime: Runtime, actor: Actor, name_or_id: str, note: str = "", *, revision: int | None = None) -> Version:
    """The draft becomes the next version. Raises Invalid when it does not pass the checks of today, Conflict when it changed meanwhile, or
    is not at the `revision` that is given."""
    workflow = await get(runtime, actor, name_or_id)
    report = await check(runtime, actor, workflow.draft)
    if not report.ok:
        first = next(item for item in report.diagnostics if item.severity == "error")
        raise Invalid(
            f"The draft of {workflow.name!r} is not valid any more: {first.message} (at {first.pointer}). "
            "validate_workflow shows all problems."
        )
    return await workflows.publish(
        actor.tenant, workflow.id, user_id=actor.user_id, note=note, revision=workflow.revision if revision is None else revision
    )


def diff(before: Json, after: Json) -> builtins.list[dict[str, Any]]:
    """The JSON Patch that makes one definition of the other."""
    return patches.patch(before, after)


async def published(runtime: Runtime, actor: Actor, *, limit: int | None = None) -> builtins.list[Published]:
    """Workflows that can be started, by name."""
    return [_published(row) for row in (await workflows.published(actor.tenant))[:limit]]


async def names(runtime: Runtime, actor: Actor) -> builtins.list[str]:
    """Of all workflows, published or not."""
    return await workflows.names(actor.tenant)


async def find_published(runtime: Runtime, actor: Actor, name: str) -> Published | None:
    """By its exact name; None when there is none or it is not published."""
    row = await workflows.find_published(actor.tenant, name)
    return _published(row) if row else None


def _published(row: workflows.Published) -> Published:
    return Published(
        name=row.name,
        description=row.description,
        version=row.version,
        input=row.definition.get("input") or {"type": "object"},
        effects=_effects_of(row.digest, row.definition),
    )


def _effects_of(digest: bytes, document: Json) -> frozenset[Effect]:
    if digest not in _effects:
        if len(_effects) >= MAX_EFFECTS:
            _effects.clear()
        _effects[digest] = effects(document)
    return _effects[digest]


def effects(document: Json) -> frozenset[Effect]:
    """What the steps of a definition may do to the world. A child workflow may be published anew at any time, so it may do anything."""
    try:
        return frozenset(_walk(Definition.model_validate(document)))
    except ValueError:  # published by an older version of Weft whose node types were others
        return frozenset({Effect.WRITE_ONCE})


def _walk(body: Body) -> Iterator[Effect]:
    for node in body.nodes:
        kind = node_types().get(node.type)
        if kind is None or node.type == "subflow":
            yield Effect.WRITE_ONCE
            continue
        config = kind.config.model_validate(node.config)
        yield effect_of(kind, config)
        if kind.inner:
            yield from may_do(cast(Settings, config))
        for inner in kind.bodies(config).values():
            yield from _walk(inner)
