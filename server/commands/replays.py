"""runs replay, cassette and fix: past runs run again from what they left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from graphs import cassettes, fixing, replaying
from graphs.cassettes import Recording
from graphs.definition import Json
from graphs.documents import is_array, is_object
from server.commands.running import read_value
from server.logs import start_logging
from server.process import house, local_owner
from server.settings import Settings
from store.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for, read and parsed. Either `run_id` or `recording`."""

    run_id: str
    recording: Recording | None
    definition: Json
    version: Any
    on_divergence: Literal["stop", "simulate"]
    mocks: dict[str, Json] | None


def read_order(run: str, on: str | None, version: str | None, on_divergence: Any, mocks: str | None) -> Order:
    """Raises Invalid with file and line when something cannot be read."""
    recording = cassettes.of_lines(_lines(run)) if Path(run).is_file() else None
    if recording and version:
        raise Invalid("--version is of the run's workflow, and a file has none: give --on.")
    return Order(
        run_id=run,
        recording=recording,
        definition=None if on is None else read_value(f"@{on}", "--on"),
        version=_version(version),
        on_divergence=on_divergence,
        mocks=_mocks(mocks),
    )


def _mocks(text: str | None) -> dict[str, Json] | None:
    outputs = None if text is None else read_value(text, "--mocks")
    if outputs is not None and not is_object(outputs):
        raise Invalid('--mocks must be an object: {"node id": output}.')
    return outputs


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as wrong:
        raise Invalid(f"{file} cannot be read: {wrong}.") from None


def _version(text: str | None) -> Any:
    if text is None or text in ("active", "draft"):
        return text
    if text.isdecimal() and 0 < int(text) < 2**31:
        return int(text)
    raise Invalid(f"--version is a number, active or draft, not {text!r}")


def _print(value: Json) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


async def replay(settings: Settings, order: Order) -> int:
    """Prints what differed; the exit code says whether anything did."""
    start_logging("warning", settings.secrets())
    async with house(settings, drive=True) as runtime:
        actor = await local_owner(runtime.database)
        how: dict[str, Any] = {"on_divergence": order.on_divergence, "mocks": order.mocks}
        if order.recording:
            found = await replaying.replay_recording(runtime, actor, order.recording, order.definition, **how)
        else:
            on = await replaying.target(runtime, actor, order.run_id, definition=order.definition, version=order.version)
            found = await replaying.replay(runtime, actor, order.run_id, on, **how)
    _print(replaying.report_of(found))
    return 0 if found.equal else 1


async def cassette(settings: Settings, run_id: str, *, redact: bool, mask: list[str]) -> None:
    start_logging("warning", settings.secrets())
    async with house(settings) as runtime:
        recording = await replaying.recording_of(runtime, await local_owner(runtime.database), run_id)
    if redact or mask:
        recording = cassettes.redacted(recording, mask)
    for line in cassettes.lines(recording):
        typer.echo(line)


async def fix(
    settings: Settings, run_id: str, patch: str | None, *, live_reads: bool = False, mocks: str | None = None, model: str | None = None
) -> int:
    outputs = _mocks(mocks)
    if outputs and patch is None:
        raise Invalid("--mocks goes with --patch: what the model proposes is not known before.")
    given = None if patch is None else read_value(patch, "--patch")
    if given is not None and not (is_array(given) and all(is_object(item) for item in given)):
        raise Invalid('--patch is a JSON Patch: [{"op": "replace", "path": "/nodes/0/config/url", "value": "…"}].')
    start_logging("warning", settings.secrets())
    async with house(settings, drive=True) as runtime:
        actor = await local_owner(runtime.database)
        if given is None:
            found = await fixing.ask(runtime, actor, run_id, model=model, live_reads=live_reads)
        else:
            found = await fixing.propose(runtime, actor, run_id, given, live_reads=live_reads, mocks=outputs)
    _print(fixing.proposal_of(found))
    return 0 if found.ok else 1
