"""The fixtures of the engine tests, for runs whose calls the gate holds back."""

from tests.engine.conftest import actor, evaluator, house

__all__ = ["actor", "evaluator", "house"]
