"""What the operations stand on: the parts of a running house, and who acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphs.connections import Connections
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models
from graphs.outbound import Outbound
from graphs.pinning import Pins
from memory.embedding import Embedder
from store.postgres import Database, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    database: Database
    evaluator: Evaluator
    outbound: Outbound
    models: Models
    variables: Mapping[str, str]  # `env` of expressions: set by the operator, not secret
    engine: Engine
    pins: Pins = field(default_factory=Pins)
    connections: Connections | None = None  # None: this house has no key folder, and so no connections
    public_url: str | None = None  # where browsers reach this house, when it is not where its doors are asked
    embedder: Embedder | None = None  # None: memories are found by their words alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, through which door. The tenant comes from the authenticated key and from nowhere else."""

    tenant: Tenant
    user_id: str
    user_name: str
    role: str
    via: str  # "mcp", "http", "cli" or "chat"
