"""The command line's `weft circuits …`: circuit breakers and rate limits of targets that steps call."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.terminal import DataDir, perform, settings_of

circuits_app = typer.Typer(rich_markup_mode=None, help="Targets that steps call: circuit breakers and rate limits.")


Target = Annotated[str, typer.Argument(help="the origin of what is called, such as https://api.example.com")]


@circuits_app.callback(invoke_without_command=True)
def circuits(context: typer.Context, data_dir: DataDir = None) -> None:
    """Show targets that failed of late or have a rate limit; also `weft circuits list`."""
    if context.invoked_subcommand is None:
        circuits_list(data_dir)


@circuits_app.command("list")
def circuits_list(data_dir: DataDir = None) -> None:
    """Show targets that failed of late or have a rate limit."""
    from server.commands import breakers

    settings = settings_of(data_dir)
    perform(lambda: breakers.show(settings))


@circuits_app.command("reset")
def circuits_reset(target: Target, data_dir: DataDir = None) -> None:
    """Let calls to a target through again, at the latest a second from now."""
    from server.commands import breakers

    settings = settings_of(data_dir)
    perform(lambda: breakers.reset(settings, target))


@circuits_app.command("limit")
def circuits_limit(
    target: Target,
    rate: Annotated[str, typer.Argument(help="10/s, 600/min, 1000/h; or none")],
    burst: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="calls at once; without it those of one second")] = None,
    data_dir: DataDir = None,
) -> None:
    """Limit how often a target is called, over all runs and workers."""
    from server.commands import breakers

    settings = settings_of(data_dir)
    perform(lambda: breakers.limit(settings, target, rate, burst))
