"""The command line's `weft models …`: which models may be asked and at what price, what was spent, and budgets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from server.cli.terminal import DataDir, perform, settings_of

models_app = typer.Typer(rich_markup_mode=None, help="Models: which may be asked and at what price, what was spent, budgets.")

Kind = Literal["chat", "embedding"]
Name = Annotated[str, typer.Argument(help='"vendor:name", such as openai:gpt-5-mini')]
Ability = Annotated[bool | None, typer.Option(show_default=False)]
Price = Annotated[float | None, typer.Option(min=0, help="USD for a million tokens", show_default=False)]
Filter = Annotated[str | None, typer.Option(show_default=False)]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, data_dir: DataDir = None) -> None:
    """Show the models that are listed; also `weft models list`."""
    if context.invoked_subcommand is None:
        models_list(everything=False, data_dir=data_dir)


@models_app.command("list")
def models_list(
    everything: Annotated[bool, typer.Option("--all", help="also those that are only shipped")] = False, data_dir: DataDir = None
) -> None:
    """Show the models that are listed, with prices, and the default."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.show(settings, everything=everything))


@models_app.command("set")
def models_set(
    name: Name,
    alias: Annotated[str | None, typer.Option(help="another name for steps, which write @alias", show_default=False)] = None,
    connection: Annotated[str | None, typer.Option(help="whose key and address are used", show_default=False)] = None,
    base_url: Annotated[str | None, typer.Option(help="of a server that wants no key", show_default=False)] = None,
    context: Annotated[int | None, typer.Option(help="tokens", show_default=False)] = None,
    max_output: Annotated[int | None, typer.Option(help="tokens of an answer", show_default=False)] = None,
    tools: Ability = None,
    vision: Ability = None,
    json_schema: Ability = None,
    streaming: Ability = None,
    input_price: Price = None,
    output_price: Price = None,
    cached_price: Price = None,
    written_price: Price = None,
    enabled: Ability = None,
    kind: Annotated[Kind | None, typer.Option(help="what it does: answer (chat) or make vectors (embedding)", show_default=False)] = None,
    script: Annotated[str | None, typer.Option(help="turns of a model scripted:<name>: JSON or @file", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """List a model, or change what is said of it; what is not given stays."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    given: dict[str, Any] = {
        "kind": kind, "alias": alias, "connection": connection, "base_url": base_url, "context": context, "max_output": max_output,
        "tools": tools, "vision": vision, "json_schema": json_schema, "streaming": streaming, "input_price": input_price,
        "output_price": output_price, "cached_price": cached_price, "written_price": written_price, "enabled": enabled,
        "script": modelling.script(script) if script is not None else None,
    }  # fmt: skip
    perform(lambda: modelling.put(settings, name, {key: value for key, value in given.items() if value is not None}))


@models_app.command("remove")
def models_remove(name: Name, data_dir: DataDir = None) -> None:
    """Take a model off the list; what was spent on it stays on the books."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.remove(settings, name))


@models_app.command("default")
def models_default(
    name: Annotated[str, typer.Argument(help='"vendor:name", or operator for what the settings say')],
    fallback: Annotated[list[str] | None, typer.Option("--fallback", "-f", help="asked when it does not answer; may be repeated")] = None,
    only_listed: Annotated[
        bool | None, typer.Option("--only-listed/--any", help="whether nothing else may be asked", show_default=False)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Choose the model of steps that name none, and what is asked in its place."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.choose(settings, name, fallback or [], only_listed=only_listed))


@models_app.command("test")
def models_test(name: Name, data_dir: DataDir = None) -> None:
    """Ask a model for one word."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.test(settings, name))


@models_app.command("usage")
def models_usage(
    by: Annotated[
        Literal["day", "model", "vendor", "user", "workflow", "agent", "run", "outcome"], typer.Option(help="what is summed up")
    ] = "day",
    days: Annotated[int, typer.Option(min=1, max=400, help="back from now")] = 30,
    model: Filter = None,
    user: Filter = None,
    workflow: Filter = None,
    agent: Filter = None,
    run: Filter = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show calls, tokens and cost."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    filters = {"model": model, "user": user, "workflow": workflow, "agent": agent, "run_id": run}
    perform(lambda: modelling.usage(settings, by, days, filters, as_json=as_json))


@models_app.command("calls")
def models_calls(
    run: Filter = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    data_dir: DataDir = None,
) -> None:
    """Show single calls, newest first, one JSON object a line."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.calls(settings, run, limit))


@models_app.command("budgets")
def models_budgets(data_dir: DataDir = None) -> None:
    """Show budgets, with what is spent of them."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.budgets(settings))


@models_app.command("budget")
def models_budget(
    kind: Annotated[Literal["organization", "user", "agent", "workflow"], typer.Argument(help="whose")],
    subject: Annotated[str, typer.Argument(help="name of the user, agent or workflow")] = "",
    period: Annotated[Literal["day", "month", "total"], typer.Option(help="of UTC")] = "month",
    usd: Annotated[float | None, typer.Option(min=0, show_default=False)] = None,
    tokens: Annotated[int | None, typer.Option(min=0, show_default=False)] = None,
    gone: Annotated[bool, typer.Option("--remove", help="remove it")] = False,
    data_dir: DataDir = None,
) -> None:
    """Set or remove what may be spent on models."""
    from server.commands import modelling

    settings = settings_of(data_dir)
    perform(lambda: modelling.set_budget(settings, kind, subject, period, usd, tokens, gone=gone))
