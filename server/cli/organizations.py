"""The command line's `weft org …`: the organizations of this installation."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.terminal import DataDir, perform, settings_of

org_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The organizations of this installation.")


@org_app.command("limit")
def org_limit(
    slug: Annotated[str, typer.Argument(help="the organization; the first one is called default")],
    most: Annotated[str | None, typer.Argument(help="a number, or none; without it the limit is shown")] = None,
    data_dir: DataDir = None,
) -> None:
    """Limit how many runs of an organization are driven at once, over all workers."""
    from server.commands import workforce

    settings = settings_of(data_dir)
    perform(lambda: workforce.limit(settings, slug, most))
