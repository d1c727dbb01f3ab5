"""What the operator set about models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from graphs.definition import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Keys are secret and do not show. `scripts` are turns that scripted:<name> answers with."""

    default: str | None = None  # "openai:gpt-5-mini"
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    memory: str = "none"  # what reads and sums up memories: none, auto (the default model) or "vendor:name"
    scripts: Mapping[str, Sequence[Mapping[str, Json]]] = field(default_factory=dict[str, Sequence[Mapping[str, Json]]])
