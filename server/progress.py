"""Live progress of a run in a terminal: one line per step, dots for what a group does inside; plain lines where nobody watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "cancelled": ("–", "yellow"),
    "waiting": ("◷", "yellow"),
    "retrying": ("↻", "yellow"),
    "running": ("•", "cyan"),
}
DONE = frozenset({"succeeded", "failed", "skipped", "cancelled"})
DOTS = 40  # more inner steps than this are counted and not drawn


@dataclass(slots=True)
class Line:
    """A top-level step: its state and the states of the steps inside it, by position."""

    name: str
    kind: str = ""
    state: str = "running"
    inner: dict[str, str] = field(default_factory=dict[str, str])
    printed: str = ""  # the row as it was last left on the screen


class Progress:
    """Shows what `step` is told. A context manager: in a terminal it redraws in place, elsewhere it prints each change once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, Line] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(self, console=console, refresh_per_second=10, transient=True) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
            self._leave(set(MARKS))

    def step(self, position: str, state: str, *, kind: str = "") -> None:
        """Takes in the state of the step at `position` ("ship", "each[3]/ship")."""
        head, _, rest = position.partition("/")
        name = head.partition("[")[0]
        line = self._lines.setdefault(name, Line(name=name))
        if rest:
            line.inner[position] = state
        else:
            line.kind, line.state = kind or line.kind, state

    def show(self) -> None:
        """Brings what was taken in to the screen; a terminal does that by itself."""
        if self._live is None:
            self._leave({*DONE, "waiting"})

    def _leave(self, states: set[str]) -> None:
        """Prints the rows that have changed since they were last printed, and stay."""
        for line in self._lines.values():
            row = f"{line.state} {self._tail(line)}"
            if line.state in states and row != line.printed:
                line.printed = row
                self._console.print(self._row(line))

    def __rich__(self) -> Group:
        return Group(*(self._row(line) for line in self._lines.values()))

    def _row(self, line: Line) -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=4, justify="right")
        row.add_column(width=14, no_wrap=True)
        row.add_column(width=11, no_wrap=True, style="dim")
        row.add_column(overflow="ellipsis", no_wrap=True)
        glyph, style = MARKS.get(line.state, ("?", ""))
        busy = line.state == "running" and self._live is not None and self._live.is_started
        row.add_row(self._spinner if busy else Text(glyph, style), line.name, line.kind, self._tail(line))
        return row

    def _tail(self, line: Line) -> Text:
        if not line.inner:
            return Text()
        states = list(line.inner.values())
        done = sum(state in DONE for state in states)
        text = Text()
        if len(states) <= DOTS:
            for state in states:
                glyph, style = MARKS.get(state, ("?", ""))
                text.append(glyph, style)
            text.append(" ")
        return text.append(f"{done}/{len(states)} steps", "dim")
