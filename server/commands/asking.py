"""Asks the person at this terminal what a run asks, and gives the answer to the task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from graphs import tasks
from graphs.definition import Json, Schema
from store.errors import Conflict, Invalid

if TYPE_CHECKING:
    from graphs.runtime import Actor, Runtime


async def ask(runtime: Runtime, actor: Actor, task_id: str) -> None:
    """Returns when the task is answered, here or elsewhere meanwhile."""
    task = await tasks.get(runtime, actor, task_id)
    while True:
        answer = await asyncio.to_thread(_fill_in, task.title, task.description, task.form)
        try:
            await tasks.answer(runtime, actor, task_id, answer)
        except Invalid as wrong:
            typer.echo(wrong.message, err=True)
        except Conflict:  # somebody else was first
            return
        else:
            return


def _fill_in(title: str, description: str, form: Schema) -> dict[str, Json]:
    typer.echo(f"\n{title}", err=True)
    if description:
        typer.echo(description, err=True)
    required = form.get("required", [])
    found = {name: _field(name, schema, name in required) for name, schema in form.get("properties", {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def _field(name: str, schema: Schema, needed: bool) -> Json:
    label = schema.get("title", name)
    if schema.get("type") == "boolean":
        return typer.confirm(label, default=None if needed else False, err=True)
    kind: Any = {"integer": int, "number": float}.get(schema.get("type", ""), str)
    if "enum" in schema:
        label = f"{label} ({', '.join(map(str, schema['enum']))})"
    text = typer.prompt(label, default=None if needed else "", show_default=False, type=kind if needed else str, err=True)
    if text == "" and not needed:
        return None
    return kind(text)
