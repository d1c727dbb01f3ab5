"""How workflows, runs, tasks and problems look from outside: plain JSON, the same at every door."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from graphs.authoring import Line, VersionLine, Workflow
from graphs.checks import Report
from graphs.conversations import chat_of
from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine.configs import DECIDED
from graphs.history import Difference, Past, in_words
from graphs.runs import FINISHED, Run
from server.answers import compact, preview
from store.circuits import Circuit
from store.events import Event
from store.history import Effect
from store.node_runs import NodeRun
from store.tasks import Task

View = dict[str, Any]
PROBLEMS_ROOM = 6_500  # characters
LINE = 160  # characters of a description in a list
PREVIEW = 200  # characters of a value that is kept elsewhere


def _at(moment: datetime | None) -> str | None:
    """Milliseconds are enough for people and models."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _without_nothing(view: View) -> View:
    return {key: value for key, value in view.items() if value is not None}


def remarks_view(report: Report) -> View:
    """What there is to say about a definition that was saved: nothing, or warnings."""
    return problems_view(report) if report.diagnostics else {}


def problems_view(report: Report) -> View:
    """Errors first. What does not fit is counted, since fixing the first ones often fixes the rest."""
    found = sorted(report.diagnostics, key=lambda item: item.severity != "error")
    problems = [item.as_json() for item in found]
    errors = sum(item.severity == "error" for item in found)
    return {
        "errors": errors,
        "warnings": len(found) - errors,
        "problems": preview(problems, PROBLEMS_ROOM, "fix these first, then check again"),
    }


def workflow_line(workflow: Line) -> View:
    """One line of a list."""
    return _without_nothing(
        {
            "name": workflow.name,
            "description": preview(workflow.description, LINE, "get_workflow") or None,
            "active_version": workflow.active_version,
            "revision": workflow.revision,
            "updated_at": _at(workflow.updated_at),
        }
    )


def workflow_view(workflow: Workflow, document: Json, version: int | None) -> View:
    """The summary of a draft or version: what goes in, the steps and how they hang together."""
    nodes = [{"id": node["id"], "type": node["type"]} for node in document["nodes"]]
    return {
        "name": workflow.name,
        "id": workflow.id,
        "description": preview(workflow.description, 500, 'view="definition"'),
        "revision": workflow.revision,
        "active_version": workflow.active_version,
        "showing": f"version {version}" if version else "draft",
        "input": preview(document.get("input", {"type": "object"}), 2_000, 'view="definition"'),
        "nodes": preview(nodes, 2_500, 'view="definition"'),
        "edges": preview([_edge_line(edge) for edge in document.get("edges", [])], 2_000, 'view="diagram"'),
        "updated_at": _at(workflow.updated_at),
    }


def _edge_line(edge: View) -> str:
    condition = edge.get("branch") or edge.get("when")
    return f"{edge['from']} -> {edge['to']}" + (f" [{condition}]" if condition else "")


def version_view(version: VersionLine) -> View:
    return {
        "version": version.number,
        "note": preview(version.note, LINE, "…"),
        "published_at": _at(version.published_at),
        "published_by": version.published_by,
    }


def run_line(run: Any) -> View:
    """One line of a list of runs."""
    error: Any = run.error["message"] if run.error else None
    return _without_nothing(
        {
            "run_id": run.id,
            "workflow": run.workflow,
            "version": run.version,
            "mode": run.mode if run.mode != "production" else None,
            "state": run.state,
            "requested": run.request,
            "error": preview(error, LINE, "get_run") if error else None,
            "dead_at": _at(run.dead_at),
            "forked_from": run.forked_from,
            "created_at": _at(run.created_at),
            "finished_at": _at(run.finished_at),
        }
    )


def run_view(run: Run) -> View:
    """A run without its input and output."""
    return _without_nothing(
        {
            **run_line(run),
            "error": run.error,
            "steps_done": run.steps_done,
            "spent": run.spent,
            "waiting_for": run.waiting_for or None,
            "parent_run_id": run.parent_run_id,
            "forked_at": run.forked_at,
            "started_at": _at(run.started_at),
            "deadline_at": _at(run.deadline_at),
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
    return _without_nothing({"digest": digest, "size": size, "preview": None if value is None else compact(value)[:PREVIEW]})


def _shown(input: Json) -> Json:
    """The input of a step without what a group has noted beside it about its own going on."""
    return {name: value for name, value in input.items() if not name.startswith(DECIDED)} if is_object(input) else input


def step_line(step: NodeRun) -> View:
    """One attempt of a step in a trace."""
    taken = (step.finished_at - step.started_at).total_seconds() if step.finished_at else None
    return _without_nothing(
        {
            "position": step.position,
            "type": step.node_type,
            "state": step.state,
            "attempt": step.attempt if step.attempt > 1 else None,
            "output": preview(step.output, 240, 'view="node"'),
            "output_ref": _reference(step.output_digest, step.output_size, None),
            "error": preview(step.error, 400, 'view="node"'),
            "seconds": round(taken, 3) if taken is not None else None,
            "retry_at": _at(step.retry_at),
        }
    )


def step_view(step: NodeRun) -> View:
    """One attempt of a step with all it was given and gave."""
    return _without_nothing(
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
            "started_at": _at(step.started_at),
            "finished_at": _at(step.finished_at),
            "retry_at": _at(step.retry_at),
        }
    )


def effect_view(effect: Effect) -> View:
    """A call that changes something outside, and what is known of it."""
    return _without_nothing(
        {
            "position": effect.position,
            "attempt": effect.attempt,
            "type": effect.node_type,
            "effect": effect.effect,
            "idempotency_key": effect.effect_key,
            "known": in_words(effect),
            "state": effect.state,
            "began_at": _at(effect.started_at),
            "ended_at": _at(effect.finished_at),
            "answered_by": effect.answered_by,
            "answered_at": _at(effect.answered_at),
            "undone_at": _at(effect.undone_at),
            "error": preview(effect.error, 300, 'view="node"'),
        }
    )


def difference_view(found: Difference) -> View:
    return {"first": found.first.as_json(), "second": found.second.as_json(), "patch": found.patch}


def past_view(found: Past) -> View:
    return {"at": found.at.as_json(), **found.state}


def event_view(event: Event) -> View:
    return _without_nothing(
        {
            "seq": event.seq,
            "at": _at(event.at),
            "type": event.type,
            "level": event.level,
            "position": event.position,
            "message": event.message,
            "data": event.data,
        }
    )


def task_view(task: Task) -> View:
    return _without_nothing(
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
            "due_at": _at(task.due_at),
            "answer": task.answer,
            "answered_by": task.answered_by,
            "answered_via": task.answered_via,
            "comment": task.comment,
            "created_at": _at(task.created_at),
            "answered_at": _at(task.answered_at),
        }
    )


PERIODS = {1: "s", 60: "min", 3600: "h"}


def circuit_view(circuit: Circuit) -> View:
    """A target: whether it may be called, why not, and how often."""
    holding = circuit.hold_until is not None and circuit.hold_until > circuit.now
    return _without_nothing(
        {
            "target": circuit.target,
            "state": circuit.state,
            "failures": len(circuit.failed_at),
            "opened_at": _at(circuit.opened_at),
            "retry_at": _at(circuit.retry_at),
            "times_opened": circuit.times_opened,
            "last_error": circuit.last_error,
            "last_error_at": _at(circuit.last_error_at),
            "held_until": _at(circuit.hold_until) if holding else None,
            "rate": f"{circuit.limit_calls}/{PERIODS[circuit.limit_seconds]}" if circuit.limit_seconds else None,
            "burst": circuit.limit_burst,
        }
    )
