"""The engine's house serves the tests of replays too."""

from __future__ import annotations

from tests.engine.conftest import actor, evaluator, house, running

__all__ = ["actor", "evaluator", "house", "running"]
