"""answer_task: answers a question that a run has put to people, if need be by asking the person at the client."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import AcceptedElicitation, CancelledElicitation, DeclinedElicitation, Elicit, Resolve
from mcp.types import CallToolResult
from pydantic import Field

from graphs import tasks
from server.answers import answer as told
from server.arguments import TaskId
from server.auth import Scope
from server.elicitation import Answer, can_ask, question
from server.excerpts import compact
from server.tools import Ctx, caller_of, hints
from server.views.tasks import task_view
from store.errors import Conflict, Invalid
from store.tasks import Task

DESCRIPTION = (
    "Answer an approval or other question of a waiting run. Leave out `answer` to have the client ask its user; "
    "never invent a person's decision. The first valid answer wins."
)
ANNOTATIONS = hints(read_only=False, destructive=True, idempotent=False)
SCOPE = Scope.TASK


async def ask(ctx: Ctx, task_id: str, answer: dict[str, Any] | None) -> Elicit[Answer] | dict[str, Any] | None:
    """The answer given; else a question to the person at the client; else None, when the client cannot ask."""
    if answer is not None or not can_ask(ctx.client_capabilities):
        return answer
    caller = caller_of(ctx)
    caller.need(SCOPE)
    task = await tasks.get(caller.runtime, caller.actor, task_id)
    return question(task) if task.state == "open" else None


Outcome = AcceptedElicitation[Answer] | DeclinedElicitation | CancelledElicitation


async def run(
    ctx: Ctx,
    task_id: TaskId,
    given: Annotated[Outcome, Resolve(ask)],
    answer: Annotated[dict[str, Any] | None, Field(description='fields of the task\'s form, e.g. {"approved": true}')] = None,
    comment: Annotated[str | None, Field(max_length=2000)] = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    if not isinstance(given, AcceptedElicitation):
        return _unanswered(
            task_id, "the person closed the question without answering" if given.action == "cancel" else "the person declined to answer"
        )
    value = _value(given.data, answer)
    if value is None:
        raise await _unasked(ctx, task_id)
    done = await tasks.answer(caller.runtime, caller.actor, task_id, value, comment)
    body = {"answered": True, "task_id": done.id, "run_id": done.run_id, "answer": done.answer}
    return told(body, next=f'get_run(run_id="{done.run_id}", wait_seconds=20)')


def _value(asked: object, answer: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the person said; else the argument, which `ask` passed on as it is."""
    return asked.model_dump() if isinstance(asked, Answer) else answer


def _unanswered(task_id: str, reason: str) -> CallToolResult:
    body = {"answered": False, "task_id": task_id, "reason": f"{reason}; the run keeps waiting"}
    return told(body, next=f'answer_task(task_id="{task_id}") to ask again, or with answer={{…}} once the person has told you')


async def _unasked(ctx: Ctx, task_id: str) -> Conflict | Invalid:
    caller = caller_of(ctx)
    task: Task = await tasks.get(caller.runtime, caller.actor, task_id)
    if task.state != "open":
        return Conflict(f"Task {task_id} is already {task.state}.", task=task_view(task))
    return Invalid(f"This client cannot ask its user, so pass `answer`, an object that fits this form: {compact(task.form)[:600]}")
