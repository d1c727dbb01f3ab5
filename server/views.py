"""How workflows, runs, tasks and problems look from outside: plain JSON, the same at every door."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from graphs.authoring import Line, VersionLine, Workflow
from graphs.checks import Report
from graphs.definition import Json
from graphs.runs import Run
from server.answers import preview
from store.events import Event
from store.node_runs import NodeRun
from store.tasks import Task

View = dict[str, Any]
PROBLEMS_ROOM = 6_500  # characters
LINE = 160  # characters of a description in a list


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
            "waiting_for": run.waiting_for or None,
            "parent_run_id": run.parent_run_id,
            "started_at": _at(run.started_at),
            "deadline_at": _at(run.deadline_at),
        }
    )


def next_for(run: Run) -> str:
    """The call that usually follows, given the state a run is in."""
    by_kind = {wait["kind"]: wait for wait in reversed(run.waiting_for)}
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
            "input": step.input,
            "output": step.output,
            "error": step.error,
            "vars": step.vars,
            "started_at": _at(step.started_at),
            "finished_at": _at(step.finished_at),
            "retry_at": _at(step.retry_at),
        }
    )


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
