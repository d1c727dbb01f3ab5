"""The command line's `weft key …`: API keys of this installation."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from server.cli.terminal import DataDir, perform, settings_of

key_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys of this installation.")


@key_app.command("create")
def key_create(
    name: Annotated[str, typer.Argument(help="what the key is for")],
    role: Annotated[Literal["owner", "builder", "operator", "viewer"], typer.Option(help="of the user the key stands for")] = "builder",
    user: Annotated[str | None, typer.Option(help="the user, made when new; without it the role's name")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="valid for so many days; without it until revoked")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make an API key and print it, once."""
    from server.commands import keyring

    settings = settings_of(data_dir)
    perform(lambda: keyring.create(settings, name=name, role=role, user=user, days=days))


@key_app.command("list")
def key_list(data_dir: DataDir = None) -> None:
    """Show the keys, without their secrets."""
    from server.commands import keyring

    settings = settings_of(data_dir)
    perform(lambda: keyring.show(settings))


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(help="the twelve characters `weft key list` shows")], data_dir: DataDir = None
) -> None:
    """Make a key useless, at the latest half a minute from now."""
    from server.commands import keyring

    settings = settings_of(data_dir)
    perform(lambda: keyring.revoke(settings, key_id))
