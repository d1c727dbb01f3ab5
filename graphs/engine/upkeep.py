"""What an engine does beside driving runs: it says that it lives, keeps its leases, and does the chores of the house."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

from store import checkpoints, identities, payloads, runs, spending, voice_calls, workers
from store.errors import Unavailable
from store.workers import Post

if TYPE_CHECKING:
    from graphs.engine.dispatch import Engine

BEATS = 5  # heartbeats in a lease
SWEEP_SECONDS = 1.0
TIDY_SECONDS = 3600.0
LOOKS = 20  # for memories that are due to be consolidated, in the time between two consolidations,
LOOK_SECONDS = (1.0, 1800.0)  # but so often at most and at least
TIDY_AFTER = 60  # sweeps from the start to the first time: it reads much, and starting is busy enough
CHECKPOINTS_KEPT = timedelta(days=7)  # of runs that are over; were one retried, its journal knows all it did
CALLS_KEPT = timedelta(days=400)  # of models: what was spent in a year can be told by day

log = logging.getLogger(__name__)


class Upkeep:
    """The loops of a serving engine besides the one that claims."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._looking = False
        self._ending: asyncio.Future[None] | None = None
        self.post = Post(
            worker=engine.worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version("weft"),
            lease=engine.lease,
            slots=engine.slots,
        )

    async def live(self) -> None:
        """Heartbeats and leases, for ever."""
        while True:
            await attempt("look at the clock of Postgres", self._mind_clock())
            await self.beat()
            await attempt("renew leases", self._renew())
            await asyncio.sleep(self.engine.lease.total_seconds() / BEATS)

    async def beat(self) -> None:
        engine = self.engine
        driving = len(engine.driving)
        said = workers.beat(engine.database, self.post, driving=driving, draining=engine.draining, at=engine.clock())
        await attempt("say that this worker lives", said)

    async def leave(self) -> None:
        await attempt("take this worker off the register", workers.leave(self.engine.database, self.post.worker))

    async def _mind_clock(self) -> None:
        if seconds := await workers.mind_clock(self.engine.database, at=self.engine.clock()):
            log.warning("the clock of Postgres has been set back by %.0f s; what waits for some time waits no longer for that", seconds)
            self.engine.wake()

    async def _renew(self) -> None:
        """A run that another worker has taken is let go, one that was signalled is told."""
        engine = self.engine
        before = dict(engine.driving)
        if not before:
            return
        rows = await runs.renew(engine.database, worker=engine.worker, run_ids=[*before], lease=engine.lease, at=engine.clock())
        kept = {row.id: row for row in rows}
        for run_id, (drive, task) in before.items():
            row = kept.get(run_id)
            if drive is None or drive.settled or engine.driving.get(run_id, (None, None))[1] is not task:
                continue  # the answer says nothing of a drive that has begun since it was asked for
            if row is None or row.fence != drive.claimed.fence:
                drive.unloading = True
                task.cancel()
                continue
            drive.set_clock(row.now)
            if row.signal > drive.signal:
                drive.tell()

    async def tidy(self) -> None:
        """The chores, for ever. Whichever process does them, they are done for all."""
        rounds = int(TIDY_SECONDS / SWEEP_SECONDS)
        every = self.engine.consolidation
        looks = int(min(max(every.total_seconds() / LOOKS, LOOK_SECONDS[0]), LOOK_SECONDS[1]) / SWEEP_SECONDS) if every else 0
        turn = 0
        while True:
            await attempt("wake runs in line", self._sweep())
            self._look_at_calls()
            if turn % rounds == TIDY_AFTER:
                await attempt("tidy up", self._tidy())
            if every and turn % looks == min(looks, TIDY_AFTER) - 1:
                self._look(every)
            turn += 1
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep(self) -> None:
        if await workers.wake_lines(self.engine.database, at=self.engine.clock()):
            self.engine.wake()

    def _look_at_calls(self) -> None:
        """Beside the sweep, which does not wait for telephone companies; one look at a time."""
        if self._ending is None or self._ending.done():
            self._ending = asyncio.ensure_future(attempt("end calls that nobody waits for", self._end_calls()))
            self.engine.background(self._ending)

    async def _end_calls(self) -> None:
        if found := await voice_calls.to_end(self.engine.database):
            from graphs.voice import ending  # of no use to who never calls anybody

            await ending.end_all(self.engine, found)

    def _look(self, every: timedelta) -> None:
        """Beside the sweep, which does not wait for thousands of organizations; one look at a time."""
        if not self._looking:
            self._looking = True
            self.engine.background(attempt("look which memories are due", self._consolidate(every)))

    async def _consolidate(self, every: timedelta) -> None:
        from graphs import housekeeping  # it starts runs, which the engine knows nothing of

        try:
            await housekeeping.look(self.engine, every)
        finally:
            self._looking = False

    async def _tidy(self) -> None:
        """What has grown old: lost workers, checkpoints of runs that are over, and values that nothing refers to any more."""
        await workers.forget(self.engine.database, at=self.engine.clock())
        for org_id in await identities.all_organizations(self.engine.database):
            tenant = self.engine.database.tenant(org_id)
            left = 1
            while left:
                left = await checkpoints.compact(tenant, age=CHECKPOINTS_KEPT)
            await payloads.purge(tenant)
            await spending.expire(tenant)
            await spending.purge(tenant, age=CALLS_KEPT)


async def attempt(what: str, work: Awaitable[None]) -> None:
    """A loop that looks alive must not stop: what fails now is done the next time."""
    try:
        await work
    except Unavailable as error:
        log.warning("cannot %s: %s", what, error.message)
    except Exception:
        log.exception("cannot %s", what)
