"""models list, set, remove, default, test, usage, calls, budgets, budget: of the first organization, on this machine."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from graphs import modelling
from graphs.definition import Json
from server.commands.home import home
from server.settings import Settings
from server.views.models import budget_view, call_view, model_view, registry_view, used_view
from store.errors import Invalid

if TYPE_CHECKING:
    pass


CORRECT = "To correct one: weft models set openai:gpt-5-mini --input-price 0.25 --output-price 2 (USD for a million tokens)."


async def show(settings: Settings, *, everything: bool) -> None:
    """One line per model: those that are listed, and with `everything` those that are only shipped."""
    async with home(settings) as (runtime, actor):
        view = registry_view(await modelling.registry(runtime, actor))
    chain = " then ".join([view["default"], *view["fallbacks"]])
    typer.echo(f"default: {chain}" + ("; only listed models may be asked" if view["only_listed"] else ""))
    for model in view["models"]:
        if everything or model["listed"]:
            typer.echo(_line(model))
    if not everything:
        typer.echo(f"`weft models list --all` also shows what is shipped, with prices of {view['priced']}.", err=True)
    if any(model.get("unverified") and (everything or model["listed"]) for model in view["models"]):
        typer.echo(
            f"Prices that are not verified are as noted on {view['priced']}: compare them with the vendor's list. {CORRECT}", err=True
        )


async def put(settings: Settings, name: str, changes: dict[str, Json]) -> None:
    """Only what is given is changed. Raises Invalid, NotFound, Conflict."""
    async with home(settings) as (runtime, actor):
        typer.echo(_line(model_view(await modelling.change(runtime, actor, name, changes))))


async def remove(settings: Settings, name: str) -> None:
    async with home(settings) as (runtime, actor):
        await modelling.remove(runtime, actor, name)
    typer.echo(f"{name} is not listed any more.")


async def choose(settings: Settings, name: str, fallbacks: list[str], *, only_listed: bool | None) -> None:
    """`name` operator: the default is the operator's again."""
    async with home(settings) as (runtime, actor):
        before = await modelling.registry(runtime, actor)
        chosen = before.only_listed if only_listed is None else only_listed
        default = None if name == "operator" else name
        after = await modelling.choose(runtime, actor, default=default, fallbacks=fallbacks, only_listed=chosen)
    typer.echo(f"default: {' then '.join([after.default, *after.fallbacks])}" + ("; only listed models may be asked" if chosen else ""))


async def test(settings: Settings, name: str) -> None:
    async with home(settings) as (runtime, actor):
        typer.echo(await modelling.test(runtime, actor, name))


async def usage(settings: Settings, by: str, days: int, filters: dict[str, Any], *, as_json: bool) -> None:
    since = datetime.now(UTC) - timedelta(days=days)
    async with home(settings) as (runtime, actor):
        found = await modelling.usage(actor, by=by, since=since, **filters)
        unverified = await modelling.unverified(runtime, actor, since)
    if as_json:
        typer.echo(json.dumps([used_view(used, by) for used in found]))
        return
    for used in found:
        cost = (
            "cost unknown"
            if used.cost_usd is None
            else f"${used.cost_usd:.6f}" + (f" and {used.unpriced} calls unpriced" if used.unpriced else "")
        )
        failed = f", {used.failed} failed" if used.failed else ""
        tokens = f"{used.input_tokens:,} in ({used.cached_tokens:,} cached), {used.output_tokens:,} out"
        typer.echo(f"{used.mark or '(none)':40}  {used.calls} calls{failed}  {tokens}  {cost}")
    if not found:
        typer.echo("No model was asked in that time.", err=True)
    if unverified:
        typer.echo(f"The cost of {', '.join(unverified)} goes by shipped prices that nobody has verified. {CORRECT}", err=True)


async def calls(settings: Settings, run_id: str | None, limit: int) -> None:
    """One JSON object a line."""
    async with home(settings) as (_, actor):
        found, _ = await modelling.calls(actor, run_id=run_id, limit=limit)
    for row in found:
        typer.echo(json.dumps(call_view(row)))


async def budgets(settings: Settings) -> None:
    async with home(settings) as (_, actor):
        found = [budget_view(budget) for budget in await modelling.budgets(actor)]
    for budget in found:
        typer.echo(_spent(budget))
    if not found:
        typer.echo("There are no budgets. A workflow may set one of its own for each run: settings.budget.", err=True)


async def set_budget(
    settings: Settings, kind: str, subject: str, period: str, usd: float | None, tokens: int | None, *, gone: bool
) -> None:
    """Raises Invalid, NotFound."""
    if gone and (usd is not None or tokens is not None):
        raise Invalid("--remove takes no amount.")
    async with home(settings) as (_, actor):
        if gone:
            await modelling.remove_budget(actor, kind=kind, subject=subject, period=period)
        else:
            await modelling.set_budget(actor, kind=kind, subject=subject, period=period, usd=usd, tokens=tokens)
        found = [budget_view(budget) for budget in await modelling.budgets(actor)]
    for budget in found:
        typer.echo(_spent(budget))


def script(text: str) -> Json:
    """Turns from @file or JSON. Raises Invalid."""
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except OSError as wrong:
        raise Invalid(f"{text[1:]} cannot be read: {wrong.strerror}.") from None
    except ValueError as wrong:
        raise Invalid(f"The script is not JSON: {wrong}.") from None


def _line(model: dict[str, Any]) -> str:
    price = f"${model['input_price']:g} in, ${model['output_price']:g} out" if "input_price" in model else "price unknown"
    price += " (not verified)" if model.get("unverified") else ""
    parts = [f"{model['name']:36}", f"{price:39}"]
    parts += [f"@{model['alias']}"] if "alias" in model else []
    parts += [f"connection {model['connection']}"] if "connection" in model else []
    parts += [model["base_url"]] if "base_url" in model else []
    parts += [f"{model['context']:,} tokens"] if "context" in model else []
    parts += [f"no {ability}" for ability in ("tools", "vision", "json_schema", "streaming") if model.get(ability) is False]
    parts += [f"{model['turns']} turns"] if "turns" in model else []
    parts += [] if model["enabled"] else ["switched off"]
    return "  ".join(parts).rstrip()


def _spent(budget: dict[str, Any]) -> str:
    whose = f"{budget['kind']} {budget['subject']}".strip()
    parts = [f"{whose:32}", f"{budget['period']:5}"]
    if budget["usd_limit"] is not None:
        parts.append(f"${budget['usd']:.6f} of ${budget['usd_limit']:g}")
    if budget["token_limit"] is not None:
        parts.append(f"{budget['tokens']:,} of {budget['token_limit']:,} tokens")
    if budget["tokens_reserved"]:
        parts.append(f"calls under way hold ${budget['usd_reserved']:.6f}, {budget['tokens_reserved']:,} tokens")
    return "  ".join(parts).rstrip()
