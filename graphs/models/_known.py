"""Well-known models as shipped: prices in USD for a million tokens as they were noted on PRICED, context and abilities.

VERIFIED says of which prices somebody has compared them with the vendor's own list, and when; docs/models.md tells it of each row. An
organization's own registry overrides any of it. A model that is not here has no known price, and its cost is told as unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphs.models._messages import Usage
from store.models import Kind, Listed

PRICED = "2026-11-05"
VERIFIED: dict[str, str] = {}
"""Model -> the day its price was compared with the vendor's list. None so far: there was no way to ask the vendors."""
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """For a million tokens. `cached`: read from the vendor's cache; `written`: put into it. With more than `long_from` tokens of input the
    whole call costs `long` times as much, the output `long_output` times."""

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    long_from: int | None = None
    long: float = 1.0
    long_output: float = 1.0

    def cost(self, usage: Usage) -> float:
        """USD."""
        here = self.at(usage.input_tokens)
        plain = max(usage.input_tokens - usage.cached_tokens - usage.written_tokens, 0)
        cached = usage.cached_tokens * (here.input if here.cached is None else here.cached)
        written = usage.written_tokens * (here.input if here.written is None else here.written)
        return (plain * here.input + cached + written + usage.output_tokens * here.output) / MILLION

    def at(self, input_tokens: int) -> Price:
        """The prices of a call with so much input."""
        if self.long_from is None or input_tokens <= self.long_from:
            return self
        return replace(
            self,
            input=self.input * self.long,
            output=self.output * self.long_output,
            cached=None if self.cached is None else self.cached * self.long,
            written=None if self.written is None else self.written * self.long,
        )

    def worst(self, input_tokens: int) -> tuple[float, float]:
        """Of input and output, for a call whose input may turn out somewhat larger than it was taken for."""
        here = self.at(input_tokens)
        return max(here.input, here.written or 0.0), here.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a model. None: not known."""

    kind: Kind = "chat"
    price: Price | None = None
    context: int | None = None
    max_output: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    streaming: bool | None = None


def _claude(input: float, output: float, cached: float, *, context: int = 1_000_000, max_output: int = 128_000) -> Model:
    price = Price(input=input, output=output, cached=cached, written=input * 1.25)
    return Model(price=price, context=context, max_output=max_output, tools=True, vision=True, json_schema=True, streaming=True)


def _gpt(
    input: float,
    output: float,
    cached: float,
    *,
    context: int = 1_050_000,
    max_output: int = 128_000,
    long: bool = False,
    written: float | None = None,
) -> Model:
    price = Price(input=input, output=output, cached=cached, written=written)
    if long:
        price = replace(price, long_from=272_000, long=2.0, long_output=1.5)
    return Model(price=price, context=context, max_output=max_output, tools=True, vision=True, json_schema=True, streaming=True)


def _vectors(input: float) -> Model:
    return Model(kind="embedding", price=Price(input=input, output=0.0), context=8_191)


_HAIKU = _claude(0.10, 0.50, 0.01)

SHIPPED: dict[str, Model] = {
    "scripted": Model(price=Price(input=0.0, output=0.0), tools=True, vision=True, json_schema=True, streaming=True),
    "anthropic:claude-fable-5-1": _claude(10.0, 50.0, 1.0),
    "anthropic:claude-opus-5-5": _claude(4.0, 20.0, 0.20),
    "anthropic:claude-opus-5": _claude(5.0, 25.0, 0.50),
    "anthropic:claude-sonnet-5-5": _claude(2.0, 10.0, 0.20),
    "anthropic:claude-sonnet-5": _claude(2.0, 10.0, 0.20),
    "anthropic:claude-haiku-5-5": replace(
        _HAIKU, price=Price(input=0.10, output=0.50, cached=0.01, written=0.125, long_from=100_000, long=5.0, long_output=5.0)
    ),
    "anthropic:claude-haiku-4-5": _claude(1.0, 5.0, 0.10, context=200_000, max_output=64_000),
    "anthropic:claude-sonnet-4-5": _claude(3.0, 15.0, 0.30, context=200_000, max_output=64_000),
    "anthropic:claude-opus-4-5": _claude(5.0, 25.0, 0.50, context=200_000, max_output=64_000),
    "openai:gpt-6-astra": _gpt(10.0, 50.0, 1.0, long=True),
    "openai:gpt-6.1-sol": _gpt(2.0, 10.0, 0.10, long=True, written=2.50),
    "openai:gpt-6-sol": _gpt(2.0, 10.0, 0.20, long=True, written=2.50),
    "openai:gpt-6-luna": _gpt(0.10, 0.50, 0.01, long=True, written=0.125),
    "openai:gpt-5": _gpt(1.25, 10.0, 0.125, context=400_000),
    "openai:gpt-5-mini": _gpt(0.25, 2.0, 0.025, context=400_000),
    "openai:gpt-5-nano": _gpt(0.05, 0.40, 0.005, context=400_000),
    "openai:gpt-4.1": _gpt(2.0, 8.0, 0.50, context=1_047_576, max_output=32_768),
    "openai:gpt-4.1-mini": _gpt(0.40, 1.60, 0.10, context=1_047_576, max_output=32_768),
    "openai:gpt-4.1-nano": _gpt(0.10, 0.40, 0.025, context=1_047_576, max_output=32_768),
    "openai:gpt-4o": _gpt(2.50, 10.0, 1.25, context=128_000, max_output=16_384),
    "openai:gpt-4o-mini": _gpt(0.15, 0.60, 0.075, context=128_000, max_output=16_384),
    "openai:text-embedding-3-small": _vectors(0.02),
    "openai:text-embedding-3-large": _vectors(0.13),
    "openai:text-embedding-ada-002": _vectors(0.10),
}


def known(full: str, listed: Listed | None, *, elsewhere: bool = False) -> Model:
    """What is known of "vendor:name": as the organization lists it, else as shipped. `elsewhere`: it is asked at another server than the
    vendor's own, where a name need not mean the same model, nor cost the same."""
    shipped = Model() if elsewhere else SHIPPED.get(full) or (SHIPPED["scripted"] if full.startswith("scripted:") else Model())
    if listed is None:
        return shipped
    own = {name: getattr(listed, name) for name in ("kind", "context", "max_output", "tools", "vision", "json_schema", "streaming")}
    if listed.input_price is not None and listed.output_price is not None:
        own["price"] = Price(input=listed.input_price, output=listed.output_price, cached=listed.cached_price, written=listed.written_price)
    return replace(shipped, **{name: value for name, value in own.items() if value is not None})
