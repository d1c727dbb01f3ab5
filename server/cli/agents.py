"""The command line's `weft agents …`: profiles in their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.terminal import DataDir, perform, settings_of

agents_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Agent profiles: list, show, save.")


@agents_app.command("list")
def agents_list(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="rows")] = 50,
    data_dir: DataDir = None,
) -> None:
    """Show the profiles, one line each."""
    from server.commands import profiling

    settings = settings_of(data_dir)
    perform(lambda: profiling.show_list(settings, limit=limit))


@agents_app.command("show")
def agents_show(
    name: Annotated[str, typer.Argument(help='name, or "name@version"')],
    versions: Annotated[bool, typer.Option("--versions", help="its versions instead, newest first")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show a profile as YAML."""
    from server.commands import profiling

    settings = settings_of(data_dir)
    perform(lambda: profiling.show(settings, name, versions=versions))


@agents_app.command("save")
def agents_save(
    name: Annotated[str, typer.Argument(help="name of the profile")],
    file: Annotated[Path, typer.Argument(help="JSON or YAML; - reads stdin")],
    description: Annotated[str | None, typer.Option("--description", "-d", help="what it is good for", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Save the next version of a profile. The same as the newest makes none."""
    from server.commands import profiling

    settings = settings_of(data_dir)
    perform(lambda: profiling.save(settings, name, file, description=description))
