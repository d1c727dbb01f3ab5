"""JSON that another server sent, as values: only what JSON can say, whatever Python's reader would let pass."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from graphs.definition import Json


def parse_json(text: str | bytes) -> Json:
    """Raises ValueError, with the place where it can be told. NaN, infinities and numbers beyond a float are refused."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number
