"""How models, usage and budgets look from outside: plain JSON, the same at every door."""

from __future__ import annotations

from graphs.modelling import Registry, Shown
from server.views import View, filled, stamp
from store.spending import Budget, CallRow, Used


def registry_view(registry: Registry) -> View:
    return {
        "default": registry.default,
        "fallbacks": list(registry.fallbacks),
        "only_listed": registry.only_listed,
        "priced": registry.priced,
        "models": [model_view(shown) for shown in registry.models],
    }


def model_view(shown: Shown) -> View:
    """Prices are USD for a million tokens, and none where nobody knows them. `listed`: the organization has said something of it."""
    listed, known = shown.listed, shown.known
    price = known.price
    view: View = {
        "name": shown.name,
        "listed": listed is not None,
        "enabled": listed is None or listed.enabled,
        "kind": known.kind,
        "alias": listed and listed.alias,
        "connection": listed and listed.connection,
        "base_url": listed and listed.base_url,
        "context": known.context,
        "max_output": known.max_output,
        "tools": known.tools,
        "vision": known.vision,
        "json_schema": known.json_schema,
        "streaming": known.streaming,
        "input_price": price and price.input,
        "output_price": price and price.output,
        "cached_price": price and price.cached,
        "written_price": price and price.written,
        "unverified": shown.unverified or None,
        "turns": len(listed.script) if listed and listed.script is not None else None,
    }
    return filled(view)


def used_view(used: Used, by: str) -> View:
    names = ("calls", "failed", "unknown", "unpriced", "input_tokens", "output_tokens", "cached_tokens", "cost_usd")
    return {by: used.mark, **{name: getattr(used, name) for name in names}}


def call_view(row: CallRow) -> View:
    names = (
        *("id", "state", "run_id", "position", "attempt", "workflow", "agent", "model", "vendor", "input_tokens", "output_tokens"),
        *("cached_tokens", "cost_usd", "estimated", "outcome", "duration_ms"),
    )
    return {"at": stamp(row.at), "user": row.user_name, **{name: getattr(row, name) for name in names}}


def budget_view(budget: Budget) -> View:
    names = ("usd_limit", "token_limit", "usd", "tokens", "usd_reserved", "tokens_reserved")
    subject = budget.user_name or budget.subject
    shown = {"kind": budget.kind, "subject": subject, "period": budget.period, "since": stamp(budget.since)}
    return {**shown, **{name: getattr(budget, name) for name in names}}
