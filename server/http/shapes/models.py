"""The shapes of HTTP answers about models, usage and budgets. What is sent is built in server/views/models.py."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.http.shapes import Shape


class ModelDetail(Shape):
    """A model that may be asked. What is missing is not known; prices are USD for a million tokens."""

    name: str
    listed: bool = Field(description="whether the organization has said something of it; else it is only shipped")
    enabled: bool
    kind: Literal["chat", "embedding"] = Field(description="whether it answers or makes vectors")
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
    unverified: bool | None = Field(default=None, description="true: its price is as shipped, and nobody has compared it with the vendor's")
    turns: int | None = Field(default=None, description="of the script of a scripted model")


class ModelRegistry(Shape):
    default: str = Field(description="what a step asks that names no model")
    fallbacks: list[str] = Field(description="asked in turn when the default does not answer")
    only_listed: bool = Field(description="nothing else may be asked")
    priced: str = Field(description="the day of the prices that are shipped")
    models: list[ModelDetail]


class ModelTested(Shape):
    name: str
    said: str


class ModelRemoved(Shape):
    removed: str


class UsageLine(Shape):
    """Calls that share a mark, which is in the field it was asked `by`."""

    day: str | None = None
    model: str | None = None
    vendor: str | None = None
    user: str | None = None
    workflow: str | None = None
    agent: str | None = None
    run: str | None = None
    outcome: str | None = None
    calls: int
    failed: int
    unknown: int = Field(description="ended with their process; they count as what was set aside for them")
    unpriced: int = Field(description="of a price that nobody knows; not in cost_usd")
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None


class ModelUsage(Shape):
    by: str
    usage: list[UsageLine]


class ModelCallLine(Shape):
    """One call to a vendor."""

    id: str
    at: str
    state: Literal["reserved", "settled", "unknown"]
    user: str | None
    run_id: str | None
    position: str | None
    attempt: int | None
    workflow: str | None
    agent: str | None
    model: str
    vendor: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    estimated: bool = Field(description="the vendor did not say what it counted")
    outcome: str | None = Field(description="ok, or the code of the failure")
    duration_ms: int | None


class ModelCallPage(Shape):
    calls: list[ModelCallLine]
    next_cursor: str | None = None


class BudgetLine(Shape):
    kind: Literal["organization", "user", "agent", "workflow"]
    subject: str
    period: Literal["day", "month", "total"]
    since: str
    usd_limit: float | None
    token_limit: int | None
    usd: float = Field(description="spent since then")
    tokens: int
    usd_reserved: float = Field(description="what calls under way may spend yet")
    tokens_reserved: int


class BudgetList(Shape):
    budgets: list[BudgetLine]
