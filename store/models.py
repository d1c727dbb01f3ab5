"""Models of an organization: which may be asked, by whose key, what they can and cost, and which comes first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from store.errors import Conflict
from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
Kind = Literal["chat", "embedding"]
"""Whether a model answers or makes vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model as an organization has listed it. What is None is as shipped, or unknown; prices are USD for a million tokens."""

    name: str
    kind: Kind | None = None
    alias: str | None = None
    connection: str | None = None
    base_url: str | None = None
    context: int | None = None
    max_output: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    streaming: bool | None = None
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    written_price: float | None = None
    enabled: bool = True
    script: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    default_model: str | None
    fallbacks: list[str]
    only_listed: bool
    models: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """`models` by name. `only_listed`: nothing else may be asked."""

    default: str | None = None
    fallbacks: tuple[str, ...] = ()
    only_listed: bool = False
    models: dict[str, Listed] = field(default_factory=dict[str, Listed])


ROWS = {"known": Row}


async def known(session: Session) -> Choices:
    row = await session.one(SQL.known, Row)
    if row is None:
        return Choices()
    names = {part.name for part in fields(Listed)}
    listed = [Listed(**{name: value for name, value in one.items() if name in names}) for one in row.models]
    return Choices(
        default=row.default_model, fallbacks=tuple(row.fallbacks), only_listed=row.only_listed, models={one.name: one for one in listed}
    )


async def put(session: Session, model: Listed) -> None:
    """Raises Conflict when another model has its alias."""
    try:
        await session.execute(SQL.put, **{**asdict(model), "script": None if model.script is None else Json(model.script)})
    except Conflict:
        raise Conflict(f"another model is called @{model.alias} already") from None


async def remove(session: Session, name: str) -> bool:
    """Whether it was there."""
    return bool(await session.execute(SQL.remove, name=name))


async def choose(session: Session, *, default: str | None, fallbacks: tuple[str, ...], only_listed: bool) -> None:
    await session.execute(SQL.choose, default_model=default, fallbacks=list(fallbacks), only_listed=only_listed)
