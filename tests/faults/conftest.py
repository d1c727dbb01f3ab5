"""The fixtures of the engine tests, for the fault tests."""

from tests.engine.conftest import actor, evaluator, house

__all__ = ["actor", "evaluator", "house"]
