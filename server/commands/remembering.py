"""memory: brings files in, lists and exports what is remembered, makes vectors anew, keeps it in order."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from graphs import housekeeping, memories, runs
from graphs.definition import Json
from graphs.documents import is_object
from graphs.memories import Access, Source
from graphs.runtime import Actor, Runtime
from memory import reading
from memory.kinds import Outcome
from memory.restoring import is_export
from memory.restoring import read as read_export
from server.logs import start_logging
from server.process import house, local_owner
from server.settings import Settings
from store.errors import Invalid, Misconfigured
from store.runs import Run


@asynccontextmanager
async def home(settings: Settings) -> AsyncGenerator[Access]:
    start_logging("warning", settings.secrets())
    async with house(settings) as runtime:
        yield memories.access(runtime, await local_owner(runtime.database))


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files, and those below folders that there is a reader for, in order. Raises Invalid."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = (inner for inner in path.rglob("*") if inner.is_file() and reading.reader_of(inner))
            found += sorted(inner for inner in below if not any(part.startswith(".") for part in inner.relative_to(path).parts))
        elif not path.is_file():
            raise Invalid(f"there is no file {path}")
        elif reading.reader_of(path) is None:
            raise Invalid(f"{path}: there is no reader for this; there are readers for {', '.join(sorted(reading.readers()))}")
        else:
            found.append(path)
    if not found:
        raise Invalid(f"there is nothing to read there; there are readers for {', '.join(sorted(reading.readers()))}")
    return found


async def bring_in(settings: Settings, paths: Sequence[Path], source: Source, *, scope: str | None, origin: str | None) -> int:
    """Keeps what is in the files, and says how much of it was new. What was brought in before, whole or in part, is passed over. Without
    `scope` and `origin` an export's memories go to the scopes they are from, and are believed as they were.

    A file that cannot be read is named, and the others go on; the exit code is then 1.
    """
    files = files_of(paths)
    source = replace(source, scope=scope or source.scope, origin=origin or source.origin)
    memories.parse_scope(source.scope)
    new = known = old = failed = 0
    async with home(settings) as access:
        with Bar(Console(stderr=True)) as bar:
            for number, path in enumerate(files):
                bar.file(number, len(files))
                one = replace(source, name=path.absolute().as_uri(), title=path.stem)
                try:
                    async for outcome in _brought(access, path, one, scope, origin, bar):
                        new, known, old = new + len(outcome.created), known + len(outcome.known), old + len(outcome.superseded)
                except (Invalid, Misconfigured, OSError) as wrong:
                    failed += 1
                    bar.say(f"weft: {path}: {wrong}")
            bar.file(len(files), len(files))
            async for done, total in memories.make_vectors(access):
                bar.begin("vectors", total) if not done and total else bar.reach(done, total)
    replaced = f", {old:,} are superseded" if old else ""
    typer.echo(f"{len(files) - failed:,} files: {new:,} memories are new, {known:,} were known{replaced}")
    return 1 if failed else 0


async def _brought(access: Access, path: Path, one: Source, scope: str | None, origin: str | None, bar: Bar) -> AsyncGenerator[Outcome]:
    if path.suffix.lower() in (".jsonl", ".ndjson") and is_export(path):
        lines, restored = _lines(path), None
        bar.begin(path.name, lines)
        async for restored in memories.restore(access, lambda: read_export(path), scope=scope, origin=origin):
            bar.reach(restored.line, lines)
            yield restored.outcome
        if restored and restored.left_out:
            bar.say(f"weft: {path.name}: {restored.left_out:,} memories were left out: vectors of your own, and rules that no person made")
        return
    bar.begin(path.name, _rows(path))
    async for brought in memories.bring_in(access, one, reading.read(path)):
        bar.reach(brought.done, brought.total)
        yield brought.outcome


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


class Bar:
    """Progress through files and within the one at hand: drawn in a terminal, elsewhere a line for every twentieth part."""

    PARTS = 20

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn = Progress(console=console) if console.is_terminal else None
        self._tasks: dict[str, TaskID] = {}
        self._name, self._total, self._told = "", 0, 0

    def __enter__(self) -> Bar:
        if self._drawn:
            self._drawn.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._drawn:
            self._drawn.stop()

    def file(self, number: int, of: int) -> None:
        """So many files are done, of so many."""
        if of > 1 and self._drawn:
            self._draw("files", number, of)
        elif of > self.PARTS and number and number * self.PARTS // of > (number - 1) * self.PARTS // of:
            self.say(f"weft: {number:,} of {of:,} files")

    def begin(self, name: str, total: int) -> None:
        """A file of so many parts (0: it is not known yet)."""
        self._name, self._total, self._told = name, total, 0
        if self._drawn:
            self._draw("parts", 0, total, name[:40])

    def reach(self, done: int, total: int) -> None:
        """So many are done; of so many, where that is known only now."""
        self._total = total or self._total
        if self._drawn:
            self._draw("parts", done or self._total, self._total)
        elif done > self._told and self._total > self.PARTS and (done - self._told) * self.PARTS >= self._total:
            self.say(f"weft: {self._name}: {done:,} of {self._total:,}")
            self._told = done

    def _draw(self, row: str, done: int, total: int, name: str | None = None) -> None:
        assert self._drawn is not None  # noqa: S101 asked by who calls
        if row not in self._tasks:
            self._tasks[row] = self._drawn.add_task(name or row)
        self._drawn.update(self._tasks[row], completed=done, total=total or None, description=name)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _rows(path: Path) -> int:
    """Rows of a list; 0 for what is not one."""
    if not reading.is_list(path):
        return 0
    try:
        return sum(1 for _ in reading.read(path))
    except (Invalid, OSError):  # said when it is read
        return 0


async def show_list(settings: Settings, *, scope: str | None, kind: str | None, limit: int) -> None:
    """One line per memory, newest first."""
    async with home(settings) as access:
        page = await memories.page(access, scope=scope, kinds=[kind] if kind else None, limit=limit)
    for item in page.items:
        about = f"{item.speaker}: " if item.speaker else ""
        typer.echo(f"{item.id}  {item.kind:8}  {item.recorded_at:%Y-%m-%d %H:%M}  {about}{' '.join(item.body.split())[:100]}")
    if page.total > len(page.items):
        typer.echo(f"{len(page.items)} of {page.total:,} memories; --limit shows more.", err=True)


async def export(settings: Settings, *, subject: str | None, scope: str | None, out: Path | None) -> None:
    """One JSON object a line; a file is for its owner alone."""
    try:
        file = os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") if out else sys.stdout
    except FileExistsError:
        raise Invalid(f"{out} is there already; it is not overwritten") from None
    async with home(settings) as access:
        count = 0
        try:
            async for memory in memories.export(access, subject=subject, scope=scope):
                file.write(json.dumps(memory, ensure_ascii=False, default=str) + "\n")
                count += "id" in memory
        finally:
            if out is not None:
                file.close()
    typer.echo(f"{count:,} memories", err=True)


async def reembed(settings: Settings) -> int:
    """Starts the run that makes the missing vectors and then uses them, or takes up the one that is under way, and follows it."""
    return await _follow(
        settings, "embedding", lambda runtime, actor: housekeeping.reembed(runtime, actor, memories.access(runtime, actor))
    )


async def consolidate(settings: Settings) -> int:
    """Starts the run that keeps memories in order, and follows it."""
    return await _follow(settings, "consolidating", housekeeping.consolidate)


async def _follow(settings: Settings, what: str, start: Callable[[Runtime, Actor], Awaitable[Run]]) -> int:
    """To its end. Whatever becomes of this command, the run goes on with whoever drives runs."""
    start_logging("warning", settings.secrets())
    async with house(settings, drive=True) as runtime:
        actor = await local_owner(runtime.database)
        run = await start(runtime, actor)
        typer.echo(f"run {run.id}", err=True)
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task(what, total=None)
            async for event in runs.follow(runtime, actor, run.id):
                if event.type == "step.progress" and is_object(event.data):
                    progress.update(bar, completed=event.data.get("current"), total=event.data.get("total"), description=event.message[:60])
        run = await runs.get(runtime, actor, run.id)
    if run.state != "succeeded":
        typer.echo(f"weft: run {run.id} {run.state}: {run.error['message'] if is_object(run.error) else ''}", err=True)
        return 1
    typer.echo(_said(run.output))
    return 0


def _said(output: Json) -> str:
    if "total" in output:
        return f"{output['done']:,} of {output['total']:,} memories have vectors of this embedder"
    made, one, linked, gone = (f"{output[name]:,}" for name in ("summed_up", "merged", "linked", "forgotten"))
    return f"{made} summaries made, {one} entities merged, {linked} duplicates linked, {gone} memories forgotten"
