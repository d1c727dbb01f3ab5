"""The dedicated connection: what is sent is heard, the lock shows that we live, and a cut is noticed and mended."""

from __future__ import annotations

import anyio
import psycopg
import pytest

from store import listener
from store.listener import Beacon, listen

pytestmark = pytest.mark.anyio


class Ear:
    """Collects what a beacon hears and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.lost = 0
        self.changed = anyio.Event()

    def notify(self, payload: str) -> None:
        self.heard.append(payload)
        self._wake()

    def lose(self) -> None:
        self.lost += 1
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, **wanted: object) -> None:
        with anyio.fail_after(10):
            while any(getattr(self, name) != value for name, value in wanted.items()):
                await self.changed.wait()


@pytest.fixture
def ear() -> Ear:
    return Ear()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone() or (None,)
        return row[0]


HOLDERS = """FROM pg_locks WHERE locktype = 'advisory'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
LOCKS = f"SELECT count(*)::int {HOLDERS}"
CUT = f"SELECT pg_terminate_backend(pid, 5000) {HOLDERS}"


async def test_what_is_sent_is_heard_in_order(app_url: str, ear: Ear) -> None:
    async with Beacon(app_url, None, ear.notify, ear.lose).open() as beacon:
        assert await beacon.wait_lit(10)
        for payload in ("a", "b", "c"):
            ask(app_url, f"SELECT pg_notify('weft', '{payload}')")
        await ear.until(heard=["", "a", "b", "c"])
    assert ear.lost == 1


async def test_the_lock_is_held_exactly_while_the_beacon_is_open(app_url: str) -> None:
    number = listener.worker_number()
    async with Beacon(app_url, number).open() as beacon:
        assert await beacon.wait_lit(10)
        assert ask(app_url, f"SELECT pg_try_advisory_lock({number})") is False
        assert ask(app_url, LOCKS) == 1
    assert ask(app_url, f"SELECT pg_try_advisory_lock({number})") is True


async def test_a_cut_connection_is_told_once_and_comes_back_with_lock_and_ear(app_url: str, admin_url: str, ear: Ear) -> None:
    number = listener.worker_number()
    async with Beacon(app_url, number, ear.notify, ear.lose).open() as beacon:
        assert await beacon.wait_lit(10)
        assert ask(admin_url, CUT) is True
        await ear.until(heard=["", ""])
        assert (ear.lost, beacon.lit) == (1, True)
        assert ask(app_url, f"SELECT pg_try_advisory_lock({number})") is False
        ask(app_url, "SELECT pg_notify('weft', 'again')")
        await ear.until(heard=["", "", "again"])


async def test_while_another_session_has_the_lock_the_beacon_is_dark_and_takes_it_as_soon_as_it_is_free(app_url: str) -> None:
    number = listener.worker_number()
    with psycopg.connect(app_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (number,))
        async with Beacon(app_url, number).open() as beacon:
            assert not await beacon.wait_lit(0.3)
            holder.execute("SELECT pg_advisory_unlock(%s)", (number,))
            assert await beacon.wait_lit(10)


async def test_without_a_database_the_beacon_stays_dark_and_closes(app_url: str, ear: Ear) -> None:
    nowhere = app_url.replace("host=", "host=/nowhere")
    async with Beacon(nowhere, 1, ear.notify, ear.lose).open() as beacon:
        assert not await beacon.wait_lit(0.3)
    assert (ear.heard, ear.lost) == ([], 0)


async def test_a_silent_connection_that_no_longer_answers_is_given_up(app_url: str, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the network goes without a word: the probe after a silence gets no answer in time."""
    monkeypatch.setattr(listener, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(listener, "ANSWER_SECONDS", 0.0)
    async with Beacon(app_url, None, ear.notify, ear.lose).open():
        await ear.until(heard=["", ""])
        assert ear.lost >= 1


async def test_listening_yields_payloads(app_url: str) -> None:
    payloads = listen(app_url)
    assert await anext(payloads) == ""
    ask(app_url, "SELECT pg_notify('weft', 'hello')")
    assert await anext(payloads) == "hello"
    await payloads.aclose()


def test_worker_numbers_are_positive_and_differ() -> None:
    numbers = {listener.worker_number() for _ in range(1000)}
    assert len(numbers) == 1000
    assert all(0 < number < 2**63 for number in numbers)
