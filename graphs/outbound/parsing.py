"""JSON that another server sent, as values: only what JSON can say, whatever Python's reader would let pass."""

from __future__ import annotations

import json

from graphs.definition import Json
from graphs.documents import finite, refuse_constant


def parse_json(text: str | bytes) -> Json:
    """Raises ValueError, with the place where it can be told. NaN, infinities and numbers beyond a float are refused."""
    try:
        return json.loads(text, parse_constant=refuse_constant, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
