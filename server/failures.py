"""Failures as sentences: what a person at a terminal reads instead of a traceback."""

from __future__ import annotations

from store.errors import WeftError


def first(error: BaseException) -> BaseException:
    """The error inside the groups that task groups wrap around it; one of ours where there are several."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        inner: tuple[BaseException, ...] = error.exceptions
        error = next((each for each in inner if isinstance(first(each), WeftError)), inner[0])
    return error
