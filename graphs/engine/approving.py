"""Approvals of a step that another one runs: bound to exactly that step in that run, answered by a person, used once.

What counts is the answer to the wait (weft.waits), which only answering its task sets, and the digest that was recorded with it. The output
of the approval's step counts for nothing: steps can be skipped, edited and taken over by forks, answers cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphs.definition import Json
from graphs.engine import inner
from graphs.nodetype import Failure

if TYPE_CHECKING:
    from graphs.engine.asking import OpenWait
    from graphs.engine.step import Step

TIMES = 20  # that a question is put again, because its step came to an end without an answer


def digest(step: Step, call: str, node: Mapping[str, Json]) -> str:
    """Names one call: what is run, with what, at which place of which run."""
    exact = [step.drive.shown_id, f"{step.position}/{call}", node["type"], node["config"]]
    return hashlib.sha256(json.dumps(exact, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


async def ask(step: Step, key: str, call: str, node: Mapping[str, Json], config: Mapping[str, Json]) -> Json:
    """The answer of a person, as the output of an approval."""
    wanted = digest(step, call, node)
    shown = {**config, "description": f"{config.get('description', '')}\n\nDigest of this call: {wanted}"}
    for number in range(1, TIMES + 1):
        place = _key(key, number)
        output: Any = await inner.run(step, place, {"type": "approval", "config": shown}, digest=wanted)
        if _is_done(step, call) or not output["approved"] or _given(step, place, wanted):
            return output
    raise Failure("not_approved", f"{step.position}/{key} counted as done {TIMES} times without an answer of a person")


def insist(step: Step, key: str, call: str, node: Mapping[str, Json]) -> None:
    """Raises Failure unless a person has approved of exactly this call."""
    if _is_done(step, call):
        return
    wanted = digest(step, call, node)
    if not any(_given(step, _key(key, number), wanted) for number in range(1, TIMES + 1)):
        raise Failure("not_approved", f"nobody has approved of {step.position}/{call} as it is; nothing was done")


def _is_done(step: Step, call: str) -> bool:
    """Nothing will happen: the call has ended, before a crash or in the run that this is a fork of; or this is a test run."""
    record = step.drive.records.get(f"{step.position}/{call}")
    return step.drive.mode == "test" or (record is not None and record.final)


def _key(key: str, number: int) -> str:
    return key if number == 1 else f"{key}_again{number}"


def _given(step: Step, key: str, wanted: str) -> bool:
    place = f"{step.position}/{key}"
    record = step.drive.records.get(place)
    if record is None:
        return False
    known: OpenWait | None = step.drive.waits.get(place if record.attempt == 1 else f"{place}~{record.attempt}")
    if known is None or known.state != "resolved" or known.correlation != wanted:
        return False
    answer: Any = (known.payload or {}).get("answer") or {}
    return answer.get("approved") is True
