"""How runs, their steps, effects and events look from outside."""

from __future__ import annotations

from typing import Any

from graphs.chats import chat_of
from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine.configs import DECIDED
from graphs.history import Difference, Past, in_words
from graphs.runs import FINISHED, Run
from server.excerpts import compact, preview
from server.views import LINE, View, filled, stamp
from store.events import Event
from store.history import Effect
from store.node_runs import NodeRun

PREVIEW = 200  # characters of a value that is kept elsewhere


def run_line(run: Any) -> View:
    """One line of a list of runs."""
    error: Any = run.error["message"] if run.error else None
    return filled(
        {
            "run_id": run.id,
            "workflow": run.workflow,
            "version": run.version,
            "mode": run.mode if run.mode != "production" else None,
            "state": run.state,
            "requested": run.request,
            "error": preview(error, LINE, "get_run") if error else None,
            "dead_at": stamp(run.dead_at),
            "forked_from": run.forked_from,
            "created_at": stamp(run.created_at),
            "finished_at": stamp(run.finished_at),
        }
    )


def run_view(run: Run) -> View:
    """A run without its input and output."""
    return filled(
        {
            **run_line(run),
            "error": run.error,
            "steps_done": run.steps_done,
            "spent": run.spent,
            "waiting_for": run.waiting_for or None,
            "parent_run_id": run.parent_run_id,
            "forked_at": run.forked_at,
            "started_at": stamp(run.started_at),
            "deadline_at": stamp(run.deadline_at),
        }
    )


def next_for(run: Run) -> str:
    """The call that usually follows, given the state a run is in."""
    by_kind = {wait["kind"]: wait for wait in reversed(run.waiting_for)}
    if (chat := chat_of(run)) and (said := _next_in_chat(run, chat, by_kind.get("task"))):
        return said
    if run.dead_at is not None:
        return f'get_run(run_id="{run.id}", view="events") to see why · control_run(run_id="{run.id}", action="requeue")'
    if run.state == "failed":
        return f'get_run(run_id="{run.id}", view="trace") to see why · control_run(run_id="{run.id}", action="retry")'
    if run.state in ("succeeded", "cancelled"):
        return f'get_run(run_id="{run.id}", view="trace")'
    if run.state == "paused":
        return f'control_run(run_id="{run.id}", action="resume")'
    if task := by_kind.get("task"):
        return f'answer_task(task_id="{task.get("task_id")}")'
    if event := by_kind.get("event"):
        return f'send_event(name="{event["event_name"]}", correlation={event.get("correlation")!r}, payload=…)'
    return f'get_run(run_id="{run.id}", wait_seconds=20)'


def _next_in_chat(run: Run, chat: str, task: View | None) -> str:
    """A turn of a chat is followed by the next one."""
    if run.state == "waiting" and task:
        return f'list_tasks(run_id="{run.id}") shows your user the exact call · answer_task(task_id="{task.get("task_id")}")'
    on = f'start_run(workflow="{run.workflow}", input={{"chat": "{chat}", "message": "…"}})'
    if run.state == "failed":
        return f'{on} · control_run(run_id="{run.id}", action="retry")'
    return on if run.state in FINISHED else ""


def _reference(digest: str | None, size: int | None, value: Json) -> View | None:
    """What stands for a value that is too large for a row: its digest, by which it is read page by page, its size and its beginning."""
    if digest is None:
        return None
    return filled({"digest": digest, "size": size, "preview": None if value is None else compact(value)[:PREVIEW]})


def _shown(input: Json) -> Json:
    """The input of a step without what a group has noted beside it about its own going on."""
    return {name: value for name, value in input.items() if not name.startswith(DECIDED)} if is_object(input) else input


def step_line(step: NodeRun) -> View:
    """One attempt of a step in a trace."""
    taken = (step.finished_at - step.started_at).total_seconds() if step.finished_at else None
    return filled(
        {
            "position": step.position,
            "type": step.node_type,
            "state": step.state,
            "attempt": step.attempt if step.attempt > 1 else None,
            "output": preview(step.output, 240, 'view="node"'),
            "output_ref": _reference(step.output_digest, step.output_size, None),
            "error": preview(step.error, 400, 'view="node"'),
            "seconds": round(taken, 3) if taken is not None else None,
            "retry_at": stamp(step.retry_at),
        }
    )


def step_view(step: NodeRun) -> View:
    """One attempt of a step with all it was given and gave."""
    return filled(
        {
            "position": step.position,
            "node": step.node_id,
            "type": step.node_type,
            "state": step.state,
            "attempt": step.attempt,
            "input": None if step.input_digest else _shown(step.input),
            "input_ref": _reference(step.input_digest, step.input_size, step.input),
            "output": None if step.output_digest else step.output,
            "output_ref": _reference(step.output_digest, step.output_size, step.output),
            "error": step.error,
            "vars": step.vars,
            "effect": step.effect,
            "idempotency_key": step.effect_key,
            "started_at": stamp(step.started_at),
            "finished_at": stamp(step.finished_at),
            "retry_at": stamp(step.retry_at),
        }
    )


def effect_view(effect: Effect) -> View:
    """A call that changes something outside, and what is known of it."""
    return filled(
        {
            "position": effect.position,
            "attempt": effect.attempt,
            "type": effect.node_type,
            "effect": effect.effect,
            "idempotency_key": effect.effect_key,
            "known": in_words(effect),
            "state": effect.state,
            "began_at": stamp(effect.started_at),
            "ended_at": stamp(effect.finished_at),
            "answered_by": effect.answered_by,
            "answered_at": stamp(effect.answered_at),
            "undone_at": stamp(effect.undone_at),
            "error": preview(effect.error, 300, 'view="node"'),
        }
    )


def difference_view(found: Difference) -> View:
    return {"first": found.first.as_json(), "second": found.second.as_json(), "patch": found.patch}


def past_view(found: Past) -> View:
    return {"at": found.at.as_json(), **found.state}


def event_view(event: Event) -> View:
    return filled(
        {
            "seq": event.seq,
            "at": stamp(event.at),
            "type": event.type,
            "level": event.level,
            "position": event.position,
            "message": event.message,
            "data": event.data,
        }
    )
