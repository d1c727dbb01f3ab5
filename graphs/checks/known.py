"""What a check knows of the organization besides the document: whatever a definition may name that lives outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphs.definition import Json, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Each part by name; None leaves what names it unchecked."""

    workflows: Mapping[str, Schema | None] | None = None  # published -> input schema
    connections: Mapping[str, str] | None = None  # -> kind
    tools: Mapping[str, Mapping[str, Schema]] | None = None  # connection -> tool -> input schema
    agents: Mapping[str, Json] | None = None  # profile -> what its owner knows of it


NOTHING_KNOWN: Final = Known()
