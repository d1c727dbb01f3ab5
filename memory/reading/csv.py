"""csv: a table with a row of names above it; commas, semicolons, tabs or bars between the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from memory.reading import Passage, encoding_of, row
from store.errors import Invalid

ENDINGS = (".csv", ".tsv")
LIST = True
BETWEEN = ",;\t|"


def read(path: Path) -> Iterator[Passage]:
    with path.open(encoding=encoding_of(path), errors="replace", newline="") as file:
        first = file.readline(100_000)
        file.seek(0)
        between = max(BETWEEN, key=first.count)
        try:
            for number, found in enumerate(csv.DictReader(file, delimiter=between), 1):
                fields = {name: value for name, value in found.items() if name and isinstance(value, str)}  # surplus columns have no name
                yield row(number, fields)
        except csv.Error as wrong:
            raise Invalid(f"{path.name} is not a table: {wrong}.") from None
