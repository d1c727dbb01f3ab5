"""The house of the door tests, for the conformance suite."""

from tests.server.conftest import evaluator, house, runtime, settings

__all__ = ["evaluator", "house", "runtime", "settings"]
