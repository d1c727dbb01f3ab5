"""The command line's `weft runs …`: list, show and steer runs, repeat them, compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli.terminal import DataDir, perform, settings_of

if TYPE_CHECKING:
    from pathlib import Path

runs_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Runs: list, show, steer, repeat, compare.")

RunId = Annotated[str, typer.Argument(help="run id, from `weft runs list`")]
OneRun = Annotated[str | None, typer.Argument(help="run id; without it say by options which runs", show_default=False)]
Node = Annotated[str, typer.Argument(help="a step: node id or position, like each[3]/ship")]
SomeNode = Annotated[str | None, typer.Argument(help="a step: node id or position, like each[3]/ship", show_default=False)]
Workflow = Annotated[str | None, typer.Option("--workflow", "-w", help="only runs of this workflow", show_default=False)]
State = Annotated[str | None, typer.Option("--state", "-s", help="only runs in this state; dead: given up by recovery", show_default=False)]
Code = Annotated[str | None, typer.Option("--error-code", help="only runs that failed with this code", show_default=False)]
Older = Annotated[str | None, typer.Option("--older-than", help='only runs created longer ago, like "7d"', show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
Input = Annotated[str | None, typer.Option("--input", "-i", help="another input: JSON, @file, or - for stdin", show_default=False)]
Version = Annotated[str | None, typer.Option("--version", help="a number, active or draft; without it the run's own", show_default=False)]


@runs_app.command("list")
def runs_list(
    workflow: Workflow = None,
    state: State = None,
    mode: Annotated[Literal["production", "test"], typer.Option(help="test: runs of test_workflow and weft run --test")] = "production",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="rows")] = 20,
    data_dir: DataDir = None,
) -> None:
    """Show runs, newest first, one line each."""
    from server.commands import steering

    settings = settings_of(data_dir)
    perform(lambda: steering.show_list(settings, workflow=workflow, state=state, mode=mode, limit=limit))


@runs_app.command("show")
def runs_show(
    run_id: RunId,
    view: Annotated[
        Literal["status", "trace", "node", "events", "effects", "state", "payload"], typer.Option(help="what to print as JSON")
    ] = "status",
    node: Annotated[
        str | None, typer.Option("--node", help="the step, or position@attempt; for payload the digest", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Print one run as JSON: its status, steps, one step, events, effects, the state at a step, or a large value."""
    from server.commands import steering

    settings = settings_of(data_dir)
    perform(lambda: steering.show(settings, run_id, view, node))


def _steer(
    action: Any, run_id: str | None, given: dict[str, Any], data_dir: Path | None, *, yes: bool, compensate: bool | None = None
) -> None:
    from server.commands import steering

    settings = settings_of(data_dir)
    raise SystemExit(perform(lambda: steering.steer(settings, action, run_id, given, yes=yes, compensate=compensate)))


@runs_app.command("cancel")
def runs_cancel(
    run_id: OneRun = None,
    workflow: Workflow = None,
    state: State = None,
    older_than: Older = None,
    compensate: Annotated[bool, typer.Option("--compensate", help="undo first what was done")] = False,
    yes: Yes = False,
    data_dir: DataDir = None,
) -> None:
    """Cancel a run, or all that the options find; those are counted first."""
    given = {"workflow": workflow, "state": state, "older_than": older_than}
    _steer("cancel", run_id, given, data_dir, yes=yes, compensate=compensate or None)


@runs_app.command("pause")
def runs_pause(
    run_id: OneRun = None,
    workflow: Workflow = None,
    state: State = None,
    older_than: Older = None,
    yes: Yes = False,
    data_dir: DataDir = None,
) -> None:
    """Hold a run, or all that the options find, after the steps under way."""
    _steer("pause", run_id, {"workflow": workflow, "state": state, "older_than": older_than}, data_dir, yes=yes)


@runs_app.command("resume")
def runs_resume(
    run_id: OneRun = None, workflow: Workflow = None, older_than: Older = None, yes: Yes = False, data_dir: DataDir = None
) -> None:
    """Let a paused run go on, or all that the options find."""
    given = {"workflow": workflow, "older_than": older_than}
    _steer("resume", run_id, given if run_id or any(given.values()) else {"state": "paused"}, data_dir, yes=yes)


@runs_app.command("retry")
def runs_retry(
    run_id: OneRun = None,
    workflow: Workflow = None,
    state: State = None,
    error_code: Code = None,
    older_than: Older = None,
    yes: Yes = False,
    data_dir: DataDir = None,
) -> None:
    """Go on with a failed or cancelled run from where it stopped, or with all that the options find."""
    given = {"workflow": workflow, "state": state, "error_code": error_code, "older_than": older_than}
    _steer("retry", run_id, given, data_dir, yes=yes)


@runs_app.command("requeue")
def runs_requeue(
    run_id: OneRun = None, workflow: Workflow = None, older_than: Older = None, yes: Yes = False, data_dir: DataDir = None
) -> None:
    """Try a run again that recovery has given up, or all of them."""
    _steer("requeue", run_id, {"workflow": workflow, "older_than": older_than, "state": None if run_id else "dead"}, data_dir, yes=yes)


@runs_app.command("skip")
def runs_skip(
    run_id: RunId,
    node: Node,
    output: Annotated[str, typer.Option("--output", "-o", help="the step's output: JSON, @file, or - for stdin")] = "null",
    data_dir: DataDir = None,
) -> None:
    """Make a step count as done with this output, and go on behind it."""
    from server.commands import steering

    settings = settings_of(data_dir)
    perform(lambda: steering.order(settings, run_id, "skip", node=node, output=output))


@runs_app.command("fork")
def runs_fork(
    run_id: RunId,
    node: SomeNode = None,
    edit: Annotated[list[str] | None, typer.Option("--edit", help="position=JSON: another output of a step", show_default=False)] = None,
    var: Annotated[list[str] | None, typer.Option("--var", help="name=JSON: another value of a run variable", show_default=False)] = None,
    input: Input = None,
    version: Version = None,
    data_dir: DataDir = None,
) -> None:
    """Start a run that continues this one from a step, with something changed; what came before the step stays."""
    from server.commands import steering

    settings = settings_of(data_dir)
    perform(lambda: steering.order(settings, run_id, "fork", node=node, edits=edit, vars=var, input=input, version=version))


@runs_app.command("rerun")
def runs_rerun(run_id: RunId, input: Input = None, version: Version = None, data_dir: DataDir = None) -> None:
    """Start the same once more, from the start."""
    from server.commands import steering

    settings = settings_of(data_dir)
    perform(lambda: steering.order(settings, run_id, "rerun", input=input, version=version))


@runs_app.command("diff")
def runs_diff(
    run_id: RunId,
    node: SomeNode = None,
    other: Annotated[str | None, typer.Argument(help="a position, a run id, or run id@position", show_default=False)] = None,
    after: Annotated[bool, typer.Option("--after", help="after the steps had ended, instead of when they began")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print what differs between two moments of a run, or of two runs, as JSON Patch."""
    from server.commands import steering

    settings = settings_of(data_dir)
    perform(lambda: steering.diff(settings, run_id, node, other, "after" if after else "before"))
