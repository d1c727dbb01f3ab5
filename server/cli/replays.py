"""The command line's `weft runs replay`, `cassette` and `fix`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.runs import RunId, runs_app
from server.cli.terminal import DataDir, perform, settings_of

if TYPE_CHECKING:
    pass

On = Annotated[str | None, typer.Option("--on", help="a definition file to replay on; without it what the run ran", show_default=False)]
Version = Annotated[str | None, typer.Option("--version", help="or a version of its workflow: number, active or draft", show_default=False)]


@runs_app.command("replay")
def runs_replay(
    run: Annotated[str, typer.Argument(help="run id, or a cassette file")],
    on: On = None,
    version: Version = None,
    on_divergence: Annotated[Literal["stop", "simulate"], typer.Option(help="where something else is asked")] = "stop",
    mocks: Annotated[str | None, typer.Option("--mocks", help="JSON or @file, node id -> output", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Run a past run again from its recording; nothing is done for real. Exit code: 0 the same happened, 1 not, 2 not replayed."""
    from server.commands import replays

    settings = settings_of(data_dir)
    order = replays.read_order(run, on, version, on_divergence, mocks)
    raise SystemExit(perform(lambda: replays.replay(settings, order)))


@runs_app.command("cassette")
def runs_cassette(
    run_id: RunId,
    redact: Annotated[bool, typer.Option("--redact", help="mask e-mail addresses and phone numbers")] = False,
    mask: Annotated[
        list[str] | None, typer.Option("--mask", help="mask the text at this JSON pointer, like /input/customer", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Print the recording of a run as lines of JSON, for `weft runs replay FILE`."""
    from server.commands import replays

    settings = settings_of(data_dir)
    perform(lambda: replays.cassette(settings, run_id, redact=redact, mask=mask or []))


@runs_app.command("fix")
def runs_fix(
    run_id: RunId,
    patch: Annotated[
        str | None, typer.Option("--patch", help="JSON Patch or @file; without it the model is asked", show_default=False)
    ] = None,
    live_reads: Annotated[
        bool, typer.Option("--live-reads", help="make the failing call when it is another one now and only reads")
    ] = False,
    mocks: Annotated[
        str | None, typer.Option("--mocks", help="with --patch: JSON or @file, node id -> output, for steps of which nothing is recorded")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="vendor:name; without it the default", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Try a patch for a failed run on its recording, and print it as JSON. Exit code: 0 it holds, 1 it does not."""
    from server.commands import replays

    settings = settings_of(data_dir)
    raise SystemExit(perform(lambda: replays.fix(settings, run_id, patch, live_reads=live_reads, mocks=mocks, model=model)))
