"""Patches that write something better for what code refers to, or declare it."""

from __future__ import annotations

import re

from graphs.checks.diagnostic import Operation, add, joined, replace
from graphs.checks.sites import Site
from graphs.checks.view import View
from graphs.documents import is_object


def declared(view: View, name: str) -> tuple[Operation, ...]:
    """The patch that declares a run variable."""
    if is_object(view.document.get("vars")):
        return (add(joined("/vars", name), None),)
    return (add("/vars", {name: None}),)


def chain(root: str, steps: tuple[str | int, ...]) -> re.Pattern[str]:
    """Finds a chain in code, however its steps are written."""
    pattern = rf"(?<![\w.'\"]){re.escape(root)}"
    for step in steps:
        if isinstance(step, int):
            pattern += rf"\s*\[\s*{step}\s*\]"
        else:
            name = re.escape(step)
            pattern += rf"(?:\s*\.\s*{name}(?!\w)|\s*\[\s*(?:'{name}'|\"{name}\")\s*\])"
    return re.compile(pattern + r"(?!\w)")


def swapped(site: Site, root: str, steps: tuple[str | int, ...], better: str) -> tuple[Operation, ...]:
    """The patch that writes something better for a chain, wherever it occurs in this piece of code."""
    fixed = chain(root, steps).sub(lambda _: better, site.text.strip() if site.kind != "code" else site.text)
    return (replace(site.pointer, site.with_code(fixed)),) if fixed != site.text else ()
