"""The command line's `weft connections …`: what workflows call by name, and its secrets, which are never an argument."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.terminal import DataDir, perform, settings_of

connections_app = typer.Typer(rich_markup_mode=None, help="Connections: what workflows call by name, with its secrets.")

Name = Annotated[str, typer.Argument(help="of the connection")]
SettingsOption = Annotated[str | None, typer.Option("--settings", help="JSON, @file, or - for stdin", show_default=False)]
Roles = Annotated[list[str] | None, typer.Option("--role", help="who may use it; may be repeated [default: everybody]", show_default=False)]
New = Annotated[str, typer.Option("--kind", "-k", help="what it is made as when it is not there yet")]


@connections_app.callback(invoke_without_command=True)
def connections(context: typer.Context, data_dir: DataDir = None) -> None:
    """Show the connections; also `weft connections list`."""
    if context.invoked_subcommand is None:
        connections_list(data_dir)


@connections_app.command("list")
def connections_list(data_dir: DataDir = None) -> None:
    """Show the connections, one line each."""
    from server.commands import connecting

    settings = settings_of(data_dir)
    perform(lambda: connecting.show_all(settings))


@connections_app.command("kinds")
def connections_kinds() -> None:
    """Show the kinds of connection there are, with their settings and secrets."""
    from server.commands import connecting

    connecting.show_kinds()


@connections_app.command("add")
def connections_add(
    name: Name,
    kind: Annotated[str, typer.Option("--kind", "-k", help="`weft connections kinds` shows them")] = "http",
    url: Annotated[str | None, typer.Option("--url", help="the setting base_url (url of kind mcp)", show_default=False)] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            help="the setting auth: bearer, basic:<user>, header:<name>, query:<name> or sign_in[:<client id>]",
            show_default=False,
        ),
    ] = None,
    settings: SettingsOption = None,
    description: Annotated[str, typer.Option(help="what it is for")] = "",
    role: Roles = None,
    data_dir: DataDir = None,
) -> None:
    """Make a connection. Its secrets are set afterwards, with set-secret or authorize."""
    from server.commands import connecting

    given = connecting.read_settings(settings, url, auth, kind)
    chosen = settings_of(data_dir)
    perform(lambda: connecting.add(chosen, name, kind, given, description, role))


@connections_app.command("change")
def connections_change(
    name: Name,
    settings: SettingsOption = None,
    description: Annotated[str | None, typer.Option(help="what it is for", show_default=False)] = None,
    role: Roles = None,
    data_dir: DataDir = None,
) -> None:
    """Replace its settings, description or who may use it. A new origin removes its secrets: they were meant for the old one."""
    from server.commands import connecting

    given = connecting.read_settings(settings, None, None) if settings is not None else None
    chosen = settings_of(data_dir)
    perform(lambda: connecting.change(chosen, name, given, description, role))


@connections_app.command("show")
def connections_show(name: Name, data_dir: DataDir = None) -> None:
    """Show a connection as JSON: settings, which secrets are set and when, what uses it, who changed it."""
    from server.commands import connecting

    settings = settings_of(data_dir)
    perform(lambda: connecting.show(settings, name))


@connections_app.command("set-secret")
def connections_set_secret(
    name: Name,
    field: Annotated[str, typer.Argument(help="such as token, password, value, client_secret")],
    source: Annotated[
        str | None, typer.Option("--from", help="@file, or - for stdin; without it you are asked, and it is not shown", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Set or replace a secret. It is read from a hidden prompt, stdin or a file, never from the command line, and never shown again."""
    from server.commands import connecting

    value = connecting.read_secret(name, field, source)
    settings = settings_of(data_dir)
    perform(lambda: connecting.set_secret(settings, name, field, value))


@connections_app.command("test")
def connections_test(name: Name, data_dir: DataDir = None) -> None:
    """Try whether it works. Exit code 0: it does, 1: it does not."""
    from server.commands import connecting

    settings = settings_of(data_dir)
    raise SystemExit(perform(lambda: connecting.test(settings, name)))


@connections_app.command("authorize")
def connections_authorize(
    name: Name,
    kind: New = "http",
    scope: Annotated[list[str] | None, typer.Option("--scope", help="ask for this too; may be repeated", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Print a link that opens a page of `weft serve` once, to set it up in a browser, or to agree that Weft may use it (OAuth)."""
    from server.commands import connecting

    settings = settings_of(data_dir)
    perform(lambda: connecting.authorize(settings, name, kind, scope or []))


@connections_app.command("remove")
def connections_remove(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="also when workflows use it")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove a connection and its secrets."""
    from server.commands import connecting

    settings = settings_of(data_dir)
    perform(lambda: connecting.remove(settings, name, force=force))


@connections_app.command("rotate-key")
def connections_rotate_key(data_dir: DataDir = None) -> None:
    """Make a new master key and put every secret under it. The key before stays in the file until the next time."""
    from server.commands import connecting

    settings = settings_of(data_dir)
    perform(lambda: connecting.rotate_key(settings))
