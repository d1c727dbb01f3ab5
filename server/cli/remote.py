"""The command line's `weft connections tools` and more: tools of other servers, looked at and approved by a person."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.connections import connections_app
from server.cli.terminal import DataDir, perform, settings_of

Name = Annotated[str, typer.Argument(help="of the connection, or of a local server")]


@connections_app.command("tools")
def connections_tools(name: Name, data_dir: DataDir = None) -> None:
    """Show the tools of a connection, and what has changed since they were approved."""
    from server.commands import tooling

    settings = settings_of(data_dir)
    perform(lambda: tooling.show(settings, name))


@connections_app.command("refresh")
def connections_refresh(name: Name, data_dir: DataDir = None) -> None:
    """Ask an MCP server for its tools. New and changed ones wait for approval."""
    from server.commands import tooling

    settings = settings_of(data_dir)
    perform(lambda: tooling.refresh(settings, name))


@connections_app.command("discover")
def connections_discover(
    url: Annotated[str, typer.Argument(help="of an MCP server that wants OAuth", show_default=False)], data_dir: DataDir = None
) -> None:
    """Ask an MCP server where it wants to be authorized, and print the settings for a connection."""
    from server.commands import tooling

    settings = settings_of(data_dir)
    perform(lambda: tooling.discover(settings, url))


@connections_app.command("approve")
def connections_approve(
    name: Name,
    tools: Annotated[list[str] | None, typer.Argument(help="by name [default: all that wait]", show_default=False)] = None,
    effect: Annotated[str | None, typer.Option("--effect", help="read, write-idempotent or write-once", show_default=False)] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask for each")] = False,
    data_dir: DataDir = None,
) -> None:
    """Let tools be called, exactly as they are shown."""
    from server.commands import tooling

    settings = settings_of(data_dir)
    perform(lambda: tooling.approve(settings, name, tools or [], effect, yes=yes))


@connections_app.command("disable")
def connections_disable(
    name: Name, tools: Annotated[list[str], typer.Argument(help="by name", show_default=False)], data_dir: DataDir = None
) -> None:
    """End the calls of tools until they are approved again."""
    from server.commands import tooling

    settings = settings_of(data_dir)
    perform(lambda: tooling.disable(settings, name, tools))


@connections_app.command("upload")
def connections_upload(
    name: Name,
    file: Annotated[str, typer.Argument(help="an OpenAPI 3.0 or 3.1 document, JSON or YAML", show_default=False)],
    include: Annotated[
        list[str] | None, typer.Option("--include", help="only operations with this tag or name; may be repeated", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Upload the document of an API. New and changed operations wait for approval."""
    from server.commands import tooling

    settings = settings_of(data_dir)
    perform(lambda: tooling.upload(settings, name, file, include or []))
