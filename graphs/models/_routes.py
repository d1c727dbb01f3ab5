"""Which model is asked, and which in its place when it does not answer: by the organization's registry, else by the operator's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphs.definition import Json
from graphs.models._known import Model
from graphs.models._messages import Endpoint
from graphs.nodetype import Failure
from store.models import Choices, Listed

if TYPE_CHECKING:
    from graphs.models import Vendor
    from graphs.models._settings import ModelSettings

SCRIPTED = "scripted"
INSTEAD = frozenset({"model_unavailable", "model_rate_limited", "model_timeout", "model_connect", "circuit_open"})
"""Failures after which the next model of the chain is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One model to ask. `full` is "vendor:name" or "scripted"; `model` the vendor's own name."""

    full: str
    vendor: Vendor
    name: str
    model: str
    known: Model
    endpoint: Endpoint
    script: tuple[Mapping[str, Json], ...] | None
    embeds: bool = False  # it is asked for vectors


def chain(choices: Choices, asked: str | None, default: Callable[[], str]) -> list[str]:
    """Names in the order in which they are asked. A model that is not of the organization's chain has nobody to take its place. Raises
    Failure for one that it does not know or allow."""
    first = _named(choices, asked) if asked else choices.default or default()
    _allow(choices, first, choices.models.get(first))
    line = [choices.default or default(), *choices.fallbacks] if choices.fallbacks else []
    after = line[line.index(first) + 1 :] if first in line else []
    return [first, *(name for name in dict.fromkeys(after) if name != first and allowed(choices, name))]


def _named(choices: Choices, asked: str) -> str:
    """The name behind an alias, written @alias."""
    if not asked.startswith("@"):
        return asked
    found = next((listed.name for listed in choices.models.values() if listed.alias == asked[1:]), None)
    if found is None:
        there = ", ".join(f"@{listed.alias}" for listed in choices.models.values() if listed.alias) or "none"
        raise Failure("model_unknown", f"no model is called {asked!r} here; there are {there}")
    return found


def allowed(choices: Choices, full: str) -> bool:
    """Whether the organization lets its steps ask this model."""
    listed = choices.models.get(full)
    return listed.enabled if listed is not None else not choices.only_listed


def open_ones(choices: Choices) -> list[str]:
    return [name for name, listed in choices.models.items() if listed.enabled]


def _allow(choices: Choices, full: str, listed: Listed | None) -> None:
    if allowed(choices, full):
        return
    why = "is switched off here" if listed is not None else "is not on the list of models that may be asked here"
    raise Failure("model_not_allowed", f"{full} {why}; {_hint(choices)}")


def _hint(choices: Choices) -> str:
    names = open_ones(choices)[:5]
    return f"ask {' or '.join(names)}" if names else "an owner can list it: weft models set"


def choose(vendors: Mapping[str, Vendor], full: str) -> tuple[str, Vendor, str]:
    """Vendor and the vendor's own name of "vendor:name". Raises Failure."""
    name, _, bare = full.partition(":")
    vendor = vendors.get(name)
    if vendor is None or (not bare and name != SCRIPTED):
        there = ", ".join(f"{other}:<model>" for other in vendors if other != SCRIPTED)
        raise Failure("model_unknown", f"{full!r} is not a model; write {there} or scripted")
    return name, vendor, bare


def operators(settings: ModelSettings, full: str, vendor: Vendor) -> Endpoint:
    """Raises Failure when the operator has not set the vendor up."""
    endpoint = vendor.endpoint(settings)
    if endpoint is None:
        raise Failure("model_missing", f"{full} is not set up; the operator must set {vendor.NEEDS}")
    return endpoint


def fits(route: Route, *, images: bool, tools: bool) -> None:
    """Raises Failure for what the model is known not to be able to."""
    if route.known.kind == "embedding":
        raise Failure("model_embeds", f"{route.full} makes vectors and answers nothing; choose a model that answers")
    if images and route.known.vision is False:
        raise Failure("model_no_images", f"{route.full} sees no images; leave them out, or choose a model that does")
    if tools and route.known.tools is False:
        raise Failure("model_no_tools", f"{route.full} calls no tools; choose a model that does")
