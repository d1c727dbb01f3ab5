"""Recordings: read from the journal of a run, or from the lines of a file, and handed to the drive that replays them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from graphs.definition import Definition, Json
from graphs.documents import is_object
from graphs.engine.cassette import Fired, Head, Recording, Tried, Waited, cassette
from graphs.engine.patience import patiently
from graphs.engine.plan import plan
from graphs.engine.playing import Player
from store import jsontext, replays, waits
from store import runs as run_rows
from store.errors import Conflict, Invalid, NotFound
from store.node_runs import NodeRun
from store.postgres import Tenant
from store.replays import Mark
from store.runs import Loaded, Run

if TYPE_CHECKING:
    from graphs.engine.drive import Drive

MAX_ATTEMPTS = 20_000
MAX_CHARACTERS = 50_000_000
FORMAT = 1


async def begin(drive: Drive, order: dict[str, Any]) -> Player:
    """The player of a replay: of the run the order names, or of the recording it brings along."""
    recording = await patiently(lambda: _of(drive.tenant, order))
    played = cassette(recording, plan(Definition.model_validate(recording.definition)))
    return Player(drive, played, order["on_divergence"], live=order.get("live"), answers=order.get("answers"))


async def _of(tenant: Tenant, order: dict[str, Any]) -> Recording:
    return of_lines(order["lines"]) if "lines" in order else await read(tenant, order["of"])


# -- from the journal ------------------------------------------------------------------------------------------------------------


async def read(tenant: Tenant, run_id: str) -> Recording:
    """What a run has left behind. Raises NotFound; Conflict for one that is too large, or whose journal is not whole any more."""
    run, loaded = await run_rows.get(tenant, run_id), await run_rows.load_run(tenant, run_id)
    if run is None or loaded is None:
        raise NotFound(f"there is no run {run_id!r} here; list_runs shows the runs there are")
    weight = await replays.weight(tenant, run_id)
    if weight.attempts > MAX_ATTEMPTS or weight.characters > MAX_CHARACTERS:
        raise Conflict(
            f"the run has {weight.attempts:,} attempts of steps with {weight.characters:,} characters; at most {MAX_ATTEMPTS:,} with "
            f"{MAX_CHARACTERS:,} are replayed"
        )
    rows, marks = await replays.tried(tenant, run_id, limit=MAX_ATTEMPTS), await replays.marks(tenant, run_id)
    definition = await run_rows.definition(tenant, loaded.digest)
    _whole(run, definition, rows, marks)
    return Recording(
        head=_head(run, loaded, marks),
        definition=definition,
        tried=tuple(_tried(row, loaded, marks) for row in rows),
        waits=tuple(Waited(place=w.position, kind=w.kind, state=w.state, payload=w.payload) for w in await waits.of_run(tenant, run_id)),
        fired=tuple(Fired(position=m.position or "", message=m.message, after=m.after) for m in marks if m.type == "boundary.fired"),
        simulated=tuple(m.position or "" for m in marks if m.type == "step.progress"),
    )


def _whole(run: Run, definition: Json, rows: list[NodeRun], marks: list[Mark]) -> None:
    if any(mark.type == "run.redacted" for mark in marks):
        raise Conflict("words of this run were forgotten, so its journal no longer says what happened: it cannot be replayed")
    error: dict[str, Json] = run.error or {}
    if definition is None or (not rows and (run.state == "succeeded" or error.get("position"))):
        raise Conflict("the journal of this run is not kept any more (retention): it cannot be replayed")
    if any(row.position.startswith("#vars") for row in rows):
        raise Conflict("this run is a fork that began with other variables, which its journal does not show: replay the run it comes from")


def _head(run: Run, loaded: Loaded, marks: list[Mark]) -> Head:
    began: Json = next((mark.data for mark in marks if mark.type == "run.started" and is_object(mark.data)), None)
    return Head(
        id=run.id,
        workflow=loaded.name,
        version=loaded.version,
        mode=loaded.mode,
        started_at=loaded.started_at.isoformat() if loaded.started_at else None,
        input=loaded.input,
        state=run.state,
        output=run.output,
        error=run.error,
        mocks=loaded.mocks,
        env=began["env"] if began else None,
    )


def _tried(row: NodeRun, loaded: Loaded, marks: list[Mark]) -> Tried:
    """What a person said was done, or what a fork took over, is given: nothing computed it in this run."""
    said = row.effect is None and any(mark.type == "run.skip_requested" and mark.position == row.position for mark in marks)
    taken_over = loaded.forked_from is not None and row.finished_at is not None and row.finished_at < loaded.created_at
    return Tried(
        position=row.position,
        attempt=row.attempt,
        series=row.series,
        type=row.node_type,
        state=row.state,
        seq=row.seq,
        input=row.input,
        output=row.output,
        error=row.error,
        taken=row.taken,
        undo=row.undo,
        began=row.started_at.isoformat(),
        ended=row.finished_at.isoformat() if row.finished_at else None,
        given=row.state == "succeeded" and (said or taken_over),
    )


# -- as lines of a file ----------------------------------------------------------------------------------------------------------


def lines(recording: Recording) -> Iterator[str]:
    """The recording as JSON Lines: the run, then a line for each attempt, wait and boundary."""
    head = {"weft": "cassette", "format": FORMAT, "run": asdict(recording.head), "definition": recording.definition}
    yield jsontext.text(head)
    for kind, items in (("step", recording.tried), ("wait", recording.waits), ("boundary", recording.fired)):
        for item in items:
            yield jsontext.text({kind: asdict(item)})


def of_lines(given: Iterable[str]) -> Recording:
    """Reads a file that `lines` has written. Raises Invalid with the number of the line."""
    made: dict[str, list[Any]] = {"step": [], "wait": [], "boundary": []}
    kinds: dict[str, type] = {"step": Tried, "wait": Waited, "boundary": Fired}
    head: dict[str, Any] | None = None
    number = 0
    try:
        for text in given:
            number += 1
            if not text.strip():
                continue
            found: dict[str, Any] = json.loads(text)
            if head is None:
                if found.get("weft") != "cassette" or found.get("format") != FORMAT:
                    raise Invalid(f"this is no cassette of format {FORMAT}: `weft runs cassette RUN` writes one")
                head = found
                continue
            ((kind, fields),) = found.items()
            made[kind].append(kinds[kind](**fields))
        if head is None:
            raise Invalid("the cassette is empty: `weft runs cassette RUN` writes one")
        Definition.model_validate(head["definition"])
        return Recording(
            head=Head(**head["run"]),
            definition=head["definition"],
            tried=tuple(made["step"]),
            waits=tuple(made["wait"]),
            fired=tuple(made["boundary"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, ValidationError) as wrong:
        raise Invalid(f"line {number} of the cassette cannot be read: {wrong!s:.200}") from None
