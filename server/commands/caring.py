"""memory quarantine and memory policy: hides memories and shows them again, and says what a scope keeps for how long."""

from __future__ import annotations

import json
from typing import Any

import typer

from graphs import memories
from graphs.documents import is_object
from graphs.memories import Selection
from server.commands.remembering import home
from server.settings import Settings
from store.errors import Invalid


async def quarantine(settings: Settings, chosen: Selection, *, expect: int | None, reason: str, release: bool) -> None:
    """Counts them, or with `expect` hides or shows them."""
    async with home(settings) as access:
        if release:
            found = await memories.release(access, chosen, expect=expect)
        else:
            found = await memories.hide(access, chosen, expect=expect, reason=reason)
    for kind, number in found.kinds.items():
        typer.echo(f"{number:>8,}  {kind}")
    what = "seen again" if release else "hidden"
    typer.echo(f"{found.count:,} memories {'are' if found.done else 'would be'} {what}")
    if not found.done:
        typer.echo(f"nothing is changed yet: --expect {found.count} does it", err=True)


async def policy(settings: Settings, scope: str, *, put: str | None, reset: bool) -> None:
    """The scope's policy as JSON, after it was set if it is to be."""
    given = _read(put) if put is not None else None
    if given is not None and reset:
        raise Invalid("--set and --reset are two different things; give one")
    async with home(settings) as access:
        change = given is not None or reset
        kept = await memories.put_policy(access, scope, given) if change else await memories.policy(access, scope)
    typer.echo(json.dumps(kept.policy.model_dump(), indent=2))
    typer.echo(f"{scope} has {'a policy of its own' if kept.own else 'the defaults'}", err=True)


def _read(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as wrong:
        raise Invalid(f"--set is not JSON: {wrong}") from None
    if not is_object(given):
        raise Invalid('--set is an object, such as {"keep_days": {"turn": 90}}')
    return given
