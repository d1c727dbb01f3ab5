"""A model server on loopback, fresh for every test, and the asking of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.models.loopback import ModelServer, model_server


@pytest.fixture(scope="module")
def running() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def loopback(running: ModelServer) -> ModelServer:
    for record in (running.turns, running.asked, running.headers, running.thought):
        record.clear()
    return running
