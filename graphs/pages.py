"""A page of a list, as every operation that lists gives it."""

from __future__ import annotations

from store.pages import Page

__all__ = ["Page"]
