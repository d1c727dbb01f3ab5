"""Failures as sentences: what a person at a terminal reads instead of a traceback."""

from __future__ import annotations

from typing import cast

from store.errors import WeftError


def first(error: BaseException) -> BaseException:
    """The error inside the groups that task groups wrap around it; one of ours where there are several."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [first(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions]
    return next((each for each in inner if isinstance(each, WeftError)), inner[0])
