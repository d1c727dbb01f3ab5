"""chat: talks to the assistant in a terminal: words as they are written, tools as lines, changes in colour, y or n before an act."""

from __future__ import annotations

import asyncio
import base64
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from server.answers import compact
from server.commands.talking import Talk, over_http, within
from server.logs import start_logging
from server.settings import Settings
from store.errors import Invalid, WeftError

CODES = {"done": 0, "failed": 1, "stopped": 4}
WAITING = 3
SHOWN = 160  # characters of a tool's arguments on its line
NO_MODEL = "No model is set up, so this was a stand-in. Set OPENAI_API_KEY or ANTHROPIC_API_KEY, or: weft models set --help"
HELP = "/attach FILE · /new · /quit · Ctrl-C stops an answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for."""

    message: str | None
    resume: bool
    chat: str | None
    model: str | None
    attach: Sequence[Path]
    url: str | None
    key_file: Path | None


async def chat(settings: Settings, order: Order) -> int:
    """One question, or as many as the person has. The exit code says how the last answer ended."""
    start_logging("warning", settings.secrets())
    async with _talk(settings, order) as talk:
        terminal = Terminal(talk, order.model)
        terminal.chat = order.chat or (await talk.latest() if order.resume else None)
        terminal.attached = [attachment(path) for path in order.attach]
        return await (terminal.once(order.message) if order.message is not None else terminal.on())


@asynccontextmanager
async def _talk(settings: Settings, order: Order) -> AsyncGenerator[Talk]:
    async with AsyncExitStack() as stack:
        opened = over_http(settings, order.url, order.key_file) if order.url else within(settings)
        yield await stack.enter_async_context(opened)


def attachment(path: Path) -> dict[str, Any]:
    """A file as a message carries it. Raises Invalid."""
    try:
        return {"name": path.name, "data": base64.b64encode(path.read_bytes()).decode()}
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from None


class Terminal:
    """A person at a terminal, in a chat."""

    def __init__(self, talk: Talk, model: str | None) -> None:
        self.talk, self.model = talk, model
        self.chat: str | None = None
        self.attached: list[dict[str, Any]] = []
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._part = ""
        self._shown: dict[str, str] = {}

    async def on(self) -> int:
        """Until the person leaves."""
        code = 0
        self.err.print(f"[dim]{HELP}[/dim]")
        while (line := await read_line("> ")) is not None:
            match line.strip().split(maxsplit=1):
                case []:
                    continue
                case ["/quit" | "/exit", *_]:
                    break
                case ["/new", *_]:
                    self.chat = None
                case ["/attach", name]:
                    self._attach(Path(name))
                case [word, *_] if word.startswith("/"):
                    self.err.print(HELP, markup=False)
                case _:
                    try:
                        code = await self.once(line)
                    except WeftError as error:
                        self.err.print(f"weft: {error.message}", markup=False)
        return code

    def _attach(self, path: Path) -> None:
        try:
            self.attached.append(attachment(path.expanduser()))
        except Invalid as wrong:
            self.err.print(wrong.message, markup=False)
        else:
            self.err.print(f"[dim]{escape(path.name)} goes with your next message[/dim]")

    async def once(self, message: str) -> int:
        """Says it and shows the answer. Ctrl-C stops the answer, and keeps what was said."""
        attached, self.attached = self.attached, []
        self._part, state = "", "failed"
        with stopping(self._stop):
            async for name, data in self.talk.say(message, chat=self.chat, attachments=attached, model=self.model):
                if name == "end":
                    state = data["state"]
                elif name == "approval" and data["state"] == "open" and not sys.stdin.isatty():
                    self._ask_elsewhere(data)
                    return WAITING
                else:
                    await self._show(name, data)
        typer.echo("")
        if state == "stopped":
            self.err.print("[dim](stopped)[/dim]")
        return CODES.get(state, 1)

    async def _stop(self) -> None:
        if self.chat is not None:
            with suppress(WeftError):
                await self.talk.stop(self.chat)

    # -- what is shown -----------------------------------------------------------------------------------------------------------

    async def _show(self, name: str, data: dict[str, Any]) -> None:
        match name:
            case "chat":
                self.chat = data["chat"]
            case "text":
                self._write(data)
            case "tool":
                self._tool(data)
            case "diff":
                self._diff(str(data["diff"]))
            case "approval" if data["state"] == "open":
                await self._approve(data)
            case "run" if data["position"]:
                self.err.print(f"  [dim]{escape(data['position'])}: {escape(data['message'])}[/dim]")
            case "deaf":
                self.err.print(f"[dim]{escape(data['message'])}[/dim]")
            case "usage" if data["model"] == "scripted" and self.model is None:
                self.err.print(f"\n[dim]{NO_MODEL}[/dim]")
            case "message" if data["error"]:
                self.err.print(f"\n[red]{escape(str(data['error'].get('message', data['error'])))}[/red]")
            case _:
                pass

    def _write(self, data: dict[str, Any]) -> None:
        if self._part and data["part"] != self._part:
            typer.echo("\n")
        self._part = data["part"]
        typer.echo(data.get("delta") or data.get("text") or "", nl=False)
        sys.stdout.flush()

    def _tool(self, data: dict[str, Any]) -> None:
        given = compact(data["arguments"])
        about = given if len(given) <= SHOWN else given[:SHOWN] + "…"
        if data["state"] in ("running", "waiting"):
            return
        self._end_line()
        mark = {"succeeded": "[green]✓[/green]", "failed": "[red]✗[/red]"}.get(data["state"], "·")
        error = f" [red]{escape(str(data['error'].get('message', ''))[:300])}[/red]" if data.get("error") else ""
        self.err.print(f"{mark} [bold]{escape(data['name'])}[/bold] [dim]{escape(about)}[/dim]{error}")

    def _end_line(self) -> None:
        """What follows does not stand behind the words of the assistant."""
        if self._part:
            typer.echo("")
            self._part = ""

    def _diff(self, text: str) -> None:
        self._end_line()
        colours = {"+": "green", "-": "red", "@": "cyan"}
        for line in text.splitlines():
            colour = colours.get(line[:1])
            self.err.print(f"[{colour}]{escape(line)}[/{colour}]" if colour else escape(line))

    async def _approve(self, data: dict[str, Any]) -> None:
        """y or n, by the person; anything else is asked again."""
        self._end_line()
        self.err.print(f"\n[bold yellow]{escape(data['title'])}[/bold yellow]\n{escape(compact(data['arguments']))}")
        while (line := await read_line("Allow it? [y/n] ")) is not None:
            if (word := line.strip().lower()) in ("y", "yes", "n", "no"):
                await self.talk.approve(str(self.chat), data["task_id"], word.startswith("y"))
                return
        raise Invalid("nobody is here to answer; the assistant waits. Go on with: weft chat --continue")

    def _ask_elsewhere(self, data: dict[str, Any]) -> None:
        typer.echo("")
        self.err.print(f"{data['title']} {compact(data['arguments'])}", markup=False)
        self.err.print(f"weft: the assistant waits for your word (task {data['task_id']}, chat {self.chat}).", markup=False)


async def read_line(prompt: str) -> str | None:
    """A line from the terminal, read beside the event loop by a thread that holds nobody up; None at its end."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str | None] = loop.create_future()

    def done(line: str | None) -> None:
        if not answered.done():
            answered.set_result(line)

    def read() -> None:
        try:
            line: str | None = input(prompt) if sys.stdin.isatty() else (sys.stdin.readline() or None)
        except (EOFError, KeyboardInterrupt):
            line = None
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done, line)

    threading.Thread(target=read, daemon=True).start()
    return await answered


class stopping:  # a context manager that reads like one
    """Ctrl-C during the block does this instead of ending the program."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._hit)

    def _hit(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._act())

    def __exit__(self, *exc: object) -> None:
        with suppress(NotImplementedError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
