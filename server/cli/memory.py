"""The command line's `weft memory …`: import files, list, export, make vectors anew, keep in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from server.cli.terminal import DataDir, perform, settings_of

memory_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Memories: import, list, export, quarantine, policy, embed anew, keep in order."
)

Where = Annotated[
    str | None, typer.Option("--scope", help="user, organization, or agent:, conversation:, workflow: and a name", show_default=False)
]


@memory_app.command("import")
def memory_import(
    paths: Annotated[list[Path], typer.Argument(help="files, or folders of them: text, Markdown, HTML, CSV, JSONL, DOCX, PDF")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="of documents")] = "documents",
    scope: Annotated[
        str | None,
        typer.Option("--scope", help="whose memories [default: user; of an export: as they were]", show_default=False),
    ] = None,
    origin: Annotated[
        Literal["document", "web", "tool", "agent", "user"] | None,
        typer.Option("--origin", help="whose words [default: document; of an export: as they were]", show_default=False),
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="a label; may be repeated", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Remember what is in files, or in an export. Again, or after it was stopped, only what is new or has changed is added."""
    from graphs.memories import Source
    from server.commands import remembering

    settings = settings_of(data_dir)
    source = Source(name="", title="", collection=collection, labels=tuple(label or ()))
    raise SystemExit(perform(lambda: remembering.bring_in(settings, paths, source, scope=scope, origin=origin)))


@memory_app.command("list")
def memory_list(
    scope: Where = None,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="only of this kind", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="rows")] = 20,
    data_dir: DataDir = None,
) -> None:
    """Show memories, newest first, one line each."""
    from server.commands import remembering

    settings = settings_of(data_dir)
    perform(lambda: remembering.show_list(settings, scope=scope, kind=kind, limit=limit))


@memory_app.command("export")
def memory_export(
    subject: Annotated[str | None, typer.Option("--subject", "-s", help="only what is about, by or with this", show_default=False)] = None,
    scope: Where = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="a new file; without it stdout", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Write memories as JSON, one a line."""
    from server.commands import remembering

    settings = settings_of(data_dir)
    perform(lambda: remembering.export(settings, subject=subject, scope=scope, out=out))


@memory_app.command("reembed")
def memory_reembed(data_dir: DataDir = None) -> None:
    """Make vectors by the configured embedder (WEFT_EMBEDDER) for all memories, then use them."""
    from server.commands import remembering

    settings = settings_of(data_dir)
    raise SystemExit(perform(lambda: remembering.reembed(settings)))


@memory_app.command("quarantine")
def memory_quarantine(
    ids: Annotated[list[str] | None, typer.Argument(help="ids of memories", show_default=False)] = None,
    source: Annotated[str | None, typer.Option("--source", help="what came from there or from below it", show_default=False)] = None,
    subject: Annotated[str | None, typer.Option("--subject", "-s", help="what is about, by or with this", show_default=False)] = None,
    query: Annotated[str | None, typer.Option("--query", "-q", help="what holds all of these words", show_default=False)] = None,
    scope: Where = None,
    expect: Annotated[int | None, typer.Option("--expect", min=0, help="do it, if there are so many", show_default=False)] = None,
    reason: Annotated[str, typer.Option("--reason", help="is noted with each")] = "not trusted",
    release: Annotated[bool, typer.Option("--release", help="the other way round: show them again")] = False,
    data_dir: DataDir = None,
) -> None:
    """Hide memories and all that rests on them. Without --expect they are only counted."""
    from graphs.memories import Selection
    from server.commands import caring

    settings = settings_of(data_dir)
    chosen = Selection(ids=tuple(ids or ()), source=source, subject=subject, query=query, scope=scope)
    perform(lambda: caring.quarantine(settings, chosen, expect=expect, reason=reason, release=release))


@memory_app.command("policy")
def memory_policy(
    scope: Annotated[str, typer.Argument(help="user, organization, or agent:, conversation:, workflow: and a name")] = "user",
    put: Annotated[str | None, typer.Option("--set", help='JSON, such as {"keep_days": {"turn": 90}}', show_default=False)] = None,
    reset: Annotated[bool, typer.Option("--reset", help="back to the defaults")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show what a scope keeps for how long, or set it."""
    from server.commands import caring

    settings = settings_of(data_dir)
    perform(lambda: caring.policy(settings, scope, put=put, reset=reset))


@memory_app.command("consolidate")
def memory_consolidate(data_dir: DataDir = None) -> None:
    """Keep memories in order now: sum up conversations, merge what is the same, forget what is no longer kept."""
    from server.commands import remembering

    settings = settings_of(data_dir)
    raise SystemExit(perform(lambda: remembering.consolidate(settings)))
