"""Operations on tasks: list the questions to people, and answer them."""

from __future__ import annotations

from graphs.definition import Json
from graphs.documents import is_object
from graphs.inputs import check_input
from graphs.runtime import Actor, Runtime
from store import pages
from store import runs as run_rows
from store import tasks as rows
from store.errors import Conflict, Denied, Invalid, NotFound
from store.ids import is_id
from store.pages import Page
from store.tasks import Task

STATES = ("open", "answered", "expired", "cancelled")


async def get(runtime: Runtime, actor: Actor, task_id: str) -> Task:
    """Raises NotFound, alike for what is not there and what belongs to somebody else."""
    task = await rows.get(actor.tenant, task_id, viewer=actor.user_id)
    if task is None:
        raise NotFound(f"there is no task {task_id!r} here; list_tasks shows the open ones")
    return task


async def page(
    runtime: Runtime,
    actor: Actor,
    *,
    state: str | None = "open",
    run_id: str | None = None,
    assigned_to: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Task]:
    """Newest first. `assigned_to` matches the user or group a task is assigned to."""
    if state is not None and state not in STATES:
        raise Invalid(f"state {state!r} is none of {', '.join(STATES)}")
    if run_id is not None and not is_id(run_id):
        return Page(items=[], next_cursor=None, total=0)
    (place,) = pages.place(cursor, str)
    before = None if place is None else str(place)
    limit = pages.limited(limit)
    wanted = {"state": state, "run_id": run_id, "assigned_to": assigned_to, "viewer": actor.user_id}
    found, total = await rows.page(actor.tenant, **wanted, before=before, limit=limit)
    return Page(items=found[:limit], next_cursor=pages.cursor(found[limit - 1].id) if len(found) > limit else None, total=total)


async def answer(runtime: Runtime, actor: Actor, task_id: str, answer: Json, comment: str | None = None) -> Task:
    """Answers a task; the first valid answer wins. Raises Invalid with the fields that do not fit, Conflict when it is no longer open,
    Denied for what an agent asks somebody else before it acts."""
    task = await get(runtime, actor, task_id)
    await _check_approver(actor, task)
    if task.state != "open":
        raise Conflict(_closed(task))
    check_input(task.form, answer, what="answer")
    async with actor.tenant.transaction() as transaction:
        run_id = await rows.answer(
            transaction, task_id, answer=answer, comment=comment, user_id=actor.user_id, user_name=actor.user_name, via=actor.via
        )
        if run_id:
            await run_rows.notify(transaction, run_id)
    if run_id is None:
        raise Conflict(_closed(await get(runtime, actor, task_id)))
    runtime.engine.look(actor.tenant.org_id, run_id)
    return await get(runtime, actor, task_id)


async def _check_approver(actor: Actor, task: Task) -> None:
    """May a call of an agent be made: only who is named in its `approvers` says so. There are no groups of people yet, so one that is named
    is a hint to them, as for any task."""
    named = task.assign_to.get("user") if is_object(task.assign_to) else None
    if named in (None, actor.user_name, actor.user_id) or await rows.call(actor.tenant, task.id) is None:
        return
    raise Denied(f"an agent asks {named} before it acts, and nobody else can answer that.")


def _closed(task: Task) -> str:
    if task.state == "answered":
        return f"this task was answered already by {task.answered_by} ({task.answered_via}); the first answer stands"
    return f"this task is {task.state}" if task.state != "open" else "this task's time is up, or its run has ended"
