"""The engine: plans, drives and dispatches runs. LangGraph walks the segments of a workflow; inside one, steps run under a journal."""

from __future__ import annotations

from graphs.engine.dispatch import Engine

__all__ = ["Engine"]
