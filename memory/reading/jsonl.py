"""jsonl: one JSON value a line: an object, or a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from memory.reading import Passage, encoding_of, row
from store.errors import Invalid

ENDINGS = (".jsonl", ".ndjson")
LIST = True


def read(path: Path) -> Iterator[Passage]:
    with path.open(encoding=encoding_of(path), errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value: Any = json.loads(line)
            except (ValueError, RecursionError) as wrong:
                raise Invalid(f"{path.name}, line {number} is not JSON: {str(wrong)[:200]}.") from None
            if isinstance(value, dict):
                yield row(number, cast("dict[str, Any]", value))
            elif isinstance(value, str):
                yield Passage(text=value, row=number)
            else:
                raise Invalid(f"{path.name}, line {number} is neither an object nor a text.")
