"""How tasks of people look from outside."""

from __future__ import annotations

from server.views import View, filled, stamp
from store.tasks import Task


def task_view(task: Task) -> View:
    return filled(
        {
            "task_id": task.id,
            "run_id": task.run_id,
            "workflow": task.workflow,
            "position": task.position,
            "kind": task.kind,
            "channel": task.channel,
            "state": task.state,
            "title": task.title,
            "description": task.description or None,
            "form": task.form,
            "assign_to": task.assign_to,
            "priority": task.priority,
            "due_at": stamp(task.due_at),
            "answer": task.answer,
            "answered_by": task.answered_by,
            "answered_via": task.answered_via,
            "comment": task.comment,
            "created_at": stamp(task.created_at),
            "answered_at": stamp(task.answered_at),
        }
    )
