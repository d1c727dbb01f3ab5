"""How workflows and the problems of a definition look from outside."""

from __future__ import annotations

from graphs.authoring import Line, VersionLine, Workflow
from graphs.checks import Report
from graphs.definition import Json
from server.excerpts import preview
from server.views import LINE, View, filled, stamp

PROBLEMS_ROOM = 6_500  # characters


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
    return filled(
        {
            "name": workflow.name,
            "description": preview(workflow.description, LINE, "get_workflow") or None,
            "active_version": workflow.active_version,
            "revision": workflow.revision,
            "updated_at": stamp(workflow.updated_at),
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
        "updated_at": stamp(workflow.updated_at),
    }


def _edge_line(edge: View) -> str:
    condition = edge.get("branch") or edge.get("when")
    return f"{edge['from']} -> {edge['to']}" + (f" [{condition}]" if condition else "")


def version_view(version: VersionLine) -> View:
    return {
        "version": version.number,
        "note": preview(version.note, LINE, "…"),
        "published_at": stamp(version.published_at),
        "published_by": version.published_by,
    }
