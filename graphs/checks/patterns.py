"""Regular expressions of authors, which Python's `re` will run on data: refused when their running time may explode."""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
import re._constants as regex
import re._parser as parser
from functools import lru_cache
from typing import Any

MAX_PATTERN = 500
MAX_LOOPS = 8  # a repetition of nearly any character counts for four


@lru_cache(maxsize=1024)
def slow_pattern(pattern: str) -> str | None:
    """Why a regular expression is refused: not one, or one whose running time may explode."""
    if len(pattern) > MAX_PATTERN:
        return f"has more than {MAX_PATTERN} characters"
    try:
        tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    if _loops(tree) > MAX_LOOPS:
        return "could take forever on some texts: no repetition or choice inside a repetition, and few of nearly any character"
    return None


def _loops(tree: Any, inside: bool = False) -> int:
    """How many unbounded repetitions stand one after another; too many where one stands in another, or a choice does."""
    count = 0
    for operation, argument in tree:
        if operation in (regex.MAX_REPEAT, regex.MIN_REPEAT):
            _, high, inner = argument
            if inside and high > 1:
                return MAX_LOOPS + 1
            weight = MAX_LOOPS // 2 if _is_wide(inner) else 1
            count += weight * (high is regex.MAXREPEAT or high > 50) + _loops(inner, inside or high > 1)
        elif operation is regex.SUBPATTERN:
            count += _loops(argument[-1], inside)
        elif operation is regex.BRANCH:
            count += MAX_LOOPS + 1 if inside else max(_loops(branch) for branch in argument[1])
        elif operation in (regex.ASSERT, regex.ASSERT_NOT):
            count += _loops(argument[1], inside)
        elif operation in (regex.GROUPREF, regex.GROUPREF_EXISTS):
            return MAX_LOOPS + 1
    return count


def _is_wide(inner: Any) -> bool:
    """Whether a repetition is of nearly any character, so that it overlaps with whatever comes next."""
    if len(inner) != 1:
        return False
    operation, argument = inner[0]
    if operation is regex.IN:
        return argument[0][0] is regex.NEGATE
    return operation in (regex.ANY, regex.NOT_LITERAL)
