"""The node types, found by folder: a module graphs/nodes/<type>.py is the node type <type>."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any

import graphs.nodes
from graphs.nodetype import Effect, NodeType


def _describe(name: str, module: ModuleType) -> NodeType:
    effect: Any = getattr(module, "effect", None) or (lambda config, fixed=module.EFFECT: fixed)  # pyright: ignore[reportUnknownLambdaType]
    return NodeType(
        name=name,
        summary=module.SUMMARY,
        family=module.FAMILY,
        labels=getattr(module, "LABELS", frozenset[str]()),
        waits=getattr(module, "WAITS", False),
        config=module.Config,
        effect=effect,
        retry=getattr(module, "RETRY", None),
        examples=module.EXAMPLES,
        output=module.output,
        branches=getattr(module, "branches", lambda config: ()),
        taken=getattr(module, "taken", None),
        bodies=getattr(module, "bodies", lambda config: {}),
        scope=getattr(module, "scope", lambda config, key: {}),
        run=module.run,
    )


@cache
def node_types() -> Mapping[str, NodeType]:
    """Every node type by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(graphs.nodes.__path__))
    return MappingProxyType({name: _describe(name, importlib.import_module(f"graphs.nodes.{name}")) for name in names})


def effect_of(kind: NodeType, config: Any) -> Effect:
    """The effect class of a node with this (validated) config."""
    return kind.effect(config)
