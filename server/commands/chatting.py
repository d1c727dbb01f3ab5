"""chat: talks to the assistant in a terminal: words as they are written, tools as lines, changes in colour, y or n before an act."""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from server.commands.keyboard import read_line, stopping
from server.commands.talking import Saying, Talk, Told, over_http, within
from server.excerpts import compact
from server.logs import start_logging
from server.settings import Settings
from store.errors import Conflict, Invalid, WeftError

CODES = {"done": 0, "failed": 1, "stopped": 4}
WAITING = 3
SHOWN = 160  # characters of a tool's arguments on its line
NO_MODEL = "No model is set up, so this was a stand-in. Set OPENAI_API_KEY or ANTHROPIC_API_KEY{where}, or: weft models set --help"
HELP = """\
/attach FILE  goes with your next message        /again       another answer, beside the last one
/edit WORDS   in the place of your last message  /chats WORDS your chats, or those with these words
/new          begins another chat                /chat ID     goes on with that one
/model NAME   who answers from now on            /quit        leaves (the chat is kept); Ctrl-C stops an answer"""
HINT = "/help shows what else can be said · Ctrl-C stops an answer · /quit"
EARLIER = 6  # messages that are shown of a chat that is taken up


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
        terminal.remote = order.url is not None
        terminal.attached = [attachment(path) for path in order.attach]
        chat = order.chat or (await terminal.latest() if order.resume else None)
        if chat is not None and order.message is None:
            return await terminal.on(chat)
        terminal.chat = chat
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
        self.message: str | None = None  # what was said last, and the answer to it
        self.answer: str | None = None
        self.remote = False
        self.attached: list[dict[str, Any]] = []
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._part = ""
        self._shown: dict[str, str] = {}

    async def latest(self) -> str | None:
        found = await self.talk.chats()
        return found[0]["id"] if found else None

    async def on(self, chat: str | None = None) -> int:
        """Until the person leaves; from where a chat has come to, if one is taken up."""
        self.err.print(f"[dim]{HINT}[/dim]")
        code = await self.take_up(chat) if chat else 0
        while (line := await read_line("> ")) is not None:
            try:
                match line.strip().split(maxsplit=1):
                    case []:
                        continue
                    case ["/quit" | "/exit", *_]:
                        break
                    case [word, *rest] if word.startswith("/"):
                        code = await self.ordered(word, rest[0] if rest else "", code)
                    case _:
                        code = await self.once(line)
            except WeftError as error:
                self.err.print(f"weft: {error.message}", markup=False)
        return code

    async def ordered(self, word: str, rest: str, code: int) -> int:
        """What begins with a slash; `code` is that of the last answer."""
        match word:
            case "/new":
                self.chat = self.message = self.answer = None
            case "/attach" if rest:
                self._attach(Path(rest))
            case "/edit" if rest:
                return await self.once(rest, instead_of=self._said(self.message))
            case "/again":
                return await self.hear(self.talk.again(str(self.chat), self._said(self.answer), self.model))
            case "/model":
                self.model = rest or None
                self.err.print(f"{rest or 'the default model'} answers from now on", style="dim", markup=False)
            case "/chats":
                for one in await self.talk.chats(rest or None):
                    self.err.print(f"{one['id']}  {one['updated_at'][:16].replace('T', ' ')}  {one['title']}", markup=False)
            case "/chat" if rest:
                return await self.take_up(rest)
            case "/stop":
                if self.chat is None:
                    raise Conflict("nothing is being written just now")
                await self.talk.stop(self.chat)
                self.err.print("(stopped)", style="dim")
            case _:
                self.err.print(HELP, markup=False)
        return code

    def _said(self, id: str | None) -> str:
        if self.chat is None or id is None:
            raise Conflict("nothing has been said in this chat yet")
        return id

    async def take_up(self, chat: str) -> int:
        """Shows how a chat stands, and goes on with the answer that is being written, or waits for a word."""
        found = await self.talk.chat(chat)
        by_id = {one["id"]: one for one in found["messages"]}
        self.chat, self.answer = chat, found["head"]
        self.message = by_id[self.answer]["parent"] if self.answer else None
        path: list[dict[str, Any]] = []
        at = by_id.get(str(self.answer))
        while at is not None and len(path) < EARLIER:
            path.append(at)
            at = by_id.get(str(at["parent"]))
        self.err.print(found["title"], style="bold", markup=False)
        for one in reversed(path):
            if one["state"] != "writing":
                self.err.print(f"{'> ' if one['role'] == 'user' else ''}{one['text']}", style="dim", markup=False)
        return await self.hear(self.talk.follow(chat)) if path and path[0]["state"] == "writing" else 0

    def _attach(self, path: Path) -> None:
        try:
            self.attached.append(attachment(path.expanduser()))
        except Invalid as wrong:
            self.err.print(wrong.message, markup=False)
        else:
            self.err.print(f"[dim]{escape(path.name)} goes with your next message[/dim]")

    async def once(self, message: str, *, instead_of: str | None = None) -> int:
        """Says it and shows the answer. What was attached goes with it; where it is refused it stays for the next try."""
        saying = Saying(message=message, chat=self.chat, instead_of=instead_of, attachments=self.attached, model=self.model)
        return await self.hear(self.talk.say(saying))

    async def hear(self, told: Told) -> int:
        """Shows an answer as it comes. Ctrl-C stops it, and keeps what was said."""
        self._part, state = "", "failed"
        with stopping(self._stop):
            async for name, data in told:
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
                self.chat, self.message, self.answer = data["chat"], data["message"], data["answer"]
                self.attached = []
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
                where = " where the server runs" if self.remote else ""
                self.err.print(f"\n[dim]{NO_MODEL.format(where=where)}[/dim]")
            case "message" if data["error"]:
                self.err.print(f"\n[red]{escape(str(data['error'].get('message', data['error'])))}[/red]")
            case _:
                pass

    def _write(self, data: dict[str, Any]) -> None:
        if self._part and (data["part"] != self._part or "text" in data):  # another part, or this one from its beginning
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
