"""Named SQL from the .sql file beside a module: `SQL = load(__file__)`, then `SQL.claim`. Loaded once, commented, PREPAREd by a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HEADER = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
COMMENT_LINE = re.compile(r"^\s*--.*\n?", re.MULTILINE)
PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Query:
    """One statement with %(name)s parameters. `text` carries no whole-line comments: they would be sent with every call.

    `planned_once`: Postgres plans it once per connection, for all parameters: what is for statements that are large and find little.
    """

    name: str
    text: bytes
    planned_once: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters in order of first use."""
        return tuple(dict.fromkeys(PARAMETER.findall(self.text.decode())))


class Queries:
    """The queries of one file as attributes; an unknown name raises AttributeError naming the file."""

    def __init__(self, path: Path, queries: dict[str, Query]) -> None:
        self.path = path
        self.by_name = queries

    def __getattr__(self, name: str) -> Query:
        try:
            return self.by_name[name]
        except KeyError:
            raise AttributeError(f"{self.path.name} has no query named {name}") from None


def load(module_file: str) -> Queries:
    """Reads the .sql file of the same name. Sections start with `-- name: words`, then comment lines that say why, then one statement."""
    path = Path(module_file).with_suffix(".sql")
    return Queries(path, parse(path.read_text(encoding="utf-8"), path.name))


def parse(source: str, file_name: str) -> dict[str, Query]:
    queries: dict[str, Query] = {}
    _, *sections = HEADER.split(source)
    for name, section in zip(sections[::2], sections[1::2], strict=True):
        statement = COMMENT_LINE.sub("", section).strip().removesuffix(";")
        if not statement or name in queries:
            raise ValueError(f"{file_name}: the query {name!r} is {'there twice' if name in queries else 'empty'}")
        queries[name] = Query(name, statement.encode())
    return queries
