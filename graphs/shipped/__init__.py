"""Workflows that come with Weft and run like any other: one YAML file each, started by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from graphs.definition import Json
from graphs.documents import parse

CHAT = "chat"  # what people start with the words of a message; the others are started by Weft itself


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in Path(__file__).parent.glob("*.yaml")))


@cache
def definition(name: str) -> Json:
    return parse((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
