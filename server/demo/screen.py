"""How the demo looks: numbered acts, ticks and crosses, 80 columns, with or without a terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from server.progress import MARKS

WIDTH = 80


class Screen:
    """Prints the story. Every act says how long it took."""

    def __init__(self) -> None:
        plain = Console(highlight=False)
        self.console = Console(highlight=False, width=min(WIDTH, plain.width), soft_wrap=False)
        self._number = 0
        self._began = self._act_began = time.monotonic()

    def title(self, text: str, under: str) -> None:
        self.console.print()
        self.console.rule(Text(text, "bold"), style="dim")
        self.console.print(Text(under, "dim"), justify="center")

    def act(self, text: str) -> None:
        self._number += 1
        self._act_began = time.monotonic()
        self.console.print()
        self.console.print(Text.assemble((f" {self._number} ", "reverse"), " ", (text, "bold")))

    def good(self, text: str) -> None:
        self._line("✓", "green", text)

    def bad(self, text: str) -> None:
        self._line("✗", "red", text)

    def say(self, text: str) -> None:
        self._line(" ", "", text)

    def crash(self, text: str) -> None:
        self._line("☠", "bold red", text)

    def took(self) -> str:
        return f"{time.monotonic() - self._act_began:.1f} s"

    @property
    def total(self) -> float:
        return time.monotonic() - self._began

    def _line(self, mark: str, style: str, text: str) -> None:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=4, justify="right")
        row.add_column()
        row.add_row(Text(mark, style), Text(text))
        self.console.print(row)

    def trace(self, steps: list[dict[str, Any]]) -> None:
        """The run's steps as the server tells them."""
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        table.add_column("step", header_style="dim", no_wrap=True)
        table.add_column("type", header_style="dim")
        table.add_column("state", header_style="dim")
        table.add_column("try", header_style="dim", justify="right")
        table.add_column("ms", header_style="dim", justify="right")
        for step in steps:
            glyph, style = MARKS.get(step["state"], ("?", ""))
            seconds = step.get("seconds")
            took = f"{seconds * 1000:.0f}" if seconds is not None else ""
            table.add_row(
                step["position"],
                step["type"],
                Text(f"{glyph} {step['state']}", style),
                str(step.get("attempt", 1)),
                took,
            )
        self.console.print(Padding(table, (0, 0, 0, 5)))

    def code(self, text: str) -> None:
        """Something to copy: whole lines, however long."""
        for line in text.splitlines():
            self.console.print(Text(f"     {line}", "cyan"), soft_wrap=True)
