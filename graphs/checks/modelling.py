"""Models that steps name: whether the organization knows the alias, and lets the model be asked."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.checks.diagnostic import Diagnostic, replace
from graphs.checks.repairs import meant
from graphs.checks.view import NodeView, View
from graphs.models._routes import allowed, open_ones
from store.models import Choices


def check_modelling(view: View, choices: Choices | None) -> Iterator[Diagnostic]:
    """Node by node. `choices` None: not known."""
    for node in view.nodes:
        name = node.raw_config.get("model")
        if choices is not None and node.kind is not None and isinstance(name, str) and name and "{{" not in name:
            yield from _check(node, name, choices)


def _check(node: NodeView, name: str, choices: Choices) -> Iterator[Diagnostic]:
    pointer = f"{node.pointer}/config/model"
    aliases = {f"@{listed.alias}": listed.name for listed in choices.models.values() if listed.alias}
    if name.startswith("@") and name not in aliases:
        close = meant(name, aliases) or sorted(aliases)[:3]
        hint = f"there are {', '.join(sorted(aliases)[:10])}" if aliases else "no model has an alias here: write vendor:name"
        patch = (replace(pointer, close[0]),) if close else ()
        message = f"no model is called {name!r}; {hint}"
        yield Diagnostic(code="unknown_model", pointer=pointer, message=message, suggestions=tuple(close), patch=patch)
    elif not allowed(choices, aliases.get(name, name)):
        fitting = open_ones(choices)
        close = meant(name, fitting) or fitting[:3]
        hint = f"ask {' or '.join(fitting[:5])}" if fitting else "an owner can list it: weft models set"
        patch = (replace(pointer, close[0]),) if close else ()
        message = f"the organization does not let steps ask {name}; {hint}"
        yield Diagnostic(code="model_not_allowed", pointer=pointer, message=message, suggestions=tuple(close), patch=patch)
