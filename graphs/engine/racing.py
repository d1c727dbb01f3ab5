"""A race of bodies: the first to succeed wins; the others are cancelled, and what they have done is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphs.definition import Json
from graphs.engine.compensation import undo_within
from graphs.engine.record import StepFailed, gravest
from graphs.nodetype import BodyFailed
from graphs.quiet import settle_down

if TYPE_CHECKING:
    from graphs.engine.body import BodyRun
    from graphs.engine.step import Step


async def first(step: Step, keys: Sequence[str]) -> tuple[str, Json]:
    """The key and output of the body that wins. Raises BodyFailed with the last error when all have failed."""
    winner = step.context.known("winner")
    if winner is None:
        winner = await _run(step, keys)
        step.context.keep("winner", winner)
        await step.drive.outbox.send()
    output = await step.context.body(winner)  # all of it is in the journal
    for key in keys:
        if key != winner:
            step.drive.abandon(step.context.prefix(None), step.plan.bodies[key])
            await undo_within(step, step.context.prefix(None), step.plan.bodies[key])
    return winner, output


async def _run(step: Step, keys: Sequence[str]) -> str:
    bodies = {key: step.context.enter(key) for key in keys}  # they stay entered until it is decided: a race that is won is not parked
    tasks = {asyncio.create_task(_body(step, key, bodies)): key for key in bodies}
    try:
        return await _winner(step, tasks, bodies)
    finally:
        await settle_down(tasks)
        step.bodies.difference_update(bodies.values())


async def _body(step: Step, key: str, bodies: dict[str, BodyRun]) -> None:
    """Runs a body, again and again as the policy of the race allows."""
    while True:
        try:
            await bodies[key].run()
            if step.drive.player:
                await step.drive.player.arrived(step, key, bodies[key])
            return
        except StepFailed as failed:
            if not await step.context.again(key, None, failed, bodies[key]):
                raise
        bodies[key] = step.context.enter(key)


async def _winner(step: Step, tasks: dict[asyncio.Task[None], str], bodies: dict[str, BodyRun]) -> str:
    running = set(tasks)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if grave := [error for task in done if (error := task.exception()) and not isinstance(error, StepFailed)]:
            raise gravest(grave)
        failed: StepFailed | None = None
        for task in sorted(done, key=list(tasks).index):  # of several at once, the first in the author's order
            try:
                task.result()
            except StepFailed as error:
                failed = error
                step.bodies.discard(bodies[tasks[task]])
            else:
                return tasks[task]
        if not running and failed:
            raise BodyFailed(failed.error) from failed
        step.drive.look()
