"""HTTP operations on tasks: what runs ask people."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import tasks
from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.tasks import TaskDetail, TaskPage, TaskState
from server.views.tasks import task_view

PATH = "/api/v1/tasks"


class ListQuery(Query):
    state: TaskState = "open"
    run_id: str | None = Field(default=None, max_length=64)
    assigned_to: str | None = Field(default=None, max_length=100, description="user or group")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=200)


class TaskAnswer(Body):
    answer: dict[str, Any] = Field(description="fields of the task's form")
    comment: str | None = Field(default=None, max_length=2000)


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await tasks.page(call.caller.runtime, call.caller.actor, **call.query.model_dump())
    return {"tasks": [task_view(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}


async def get(call: Call[None, Query]) -> Json:
    return task_view(await tasks.get(call.caller.runtime, call.caller.actor, call.path["task_id"]))


async def answer(call: Call[TaskAnswer, Query]) -> Json:
    body = call.body
    return task_view(await tasks.answer(call.caller.runtime, call.caller.actor, call.path["task_id"], body.answer, body.comment))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=PATH,
        name="listTasks",
        summary="List questions to people",
        scope=Scope.READ,
        run=listed,
        answer=TaskPage,
        query=ListQuery,
    ),
    Operation(
        method="GET", path=f"{PATH}/{{task_id}}", name="getTask", summary="Read a task", scope=Scope.READ, run=get, answer=TaskDetail
    ),
    Operation(
        method="POST",
        path=f"{PATH}/{{task_id}}/answer",
        name="answerTask",
        summary="Answer a task; the first valid answer wins",
        scope=Scope.TASK,
        run=answer,
        answer=TaskDetail,
        body=TaskAnswer,
    ),
)
