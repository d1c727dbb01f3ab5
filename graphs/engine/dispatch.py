"""The engine of a process: claims runs that are due, drives them side by side, keeps their leases, and hands them back when it stops."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from graphs.definition import Definition
from graphs.engine.drive import Drive
from graphs.engine.plan import Plan, plan
from graphs.engine.upkeep import Upkeep
from graphs.expressions import Evaluator
from graphs.live import Bus
from store import runs
from store.errors import LeaseLost, NotFound, Unavailable
from store.journal import Entry, Journal
from store.postgres import Database, Tenant
from store.runs import Claimed, Loaded, NewRun, Started

if TYPE_CHECKING:
    from graphs.compiler import Graph
    from graphs.connections import Connections
    from graphs.definition import Json
    from graphs.models import Models
    from graphs.outbound import Outbound
    from graphs.remote.calling import Remote
    from graphs.runtime import House
    from memory.embedding import Embedder

LEASE = timedelta(seconds=7)  # a host that vanished is replaced within 10 s
CACHED_PLANS = 256
MAX_RECOVERIES = 5  # claims after a dead worker that a run survives without progress
SUSPECT = 2  # such claims after which no other suspect is driven beside a run,
HEAD_START = 2.0  # for so many seconds: what has not killed its worker by then has made progress
ASIDE = 1.0  # seconds that another suspect is put back for

log = logging.getLogger(__name__)
tenant_now: ContextVar[Tenant] = ContextVar("tenant_now")


class Engine:
    """`async with Engine(…)` opens the journal; `serving()` around it also claims and drives runs. `clock` stands in for the database's
    clock in tests, where it gives a time."""

    def __init__(
        self,
        database: Database,
        evaluator: Evaluator,
        outbound: Outbound,
        models: Models,
        *,
        variables: Mapping[str, str],
        slots: int = 64,
        lease: timedelta = LEASE,
        poll: float = 0.5,
        clock: Callable[[], datetime | None] = lambda: None,
        fused: bool = True,
        checkpoint_keys: Sequence[bytes] = (),
        connections: Connections | None = None,
        remote: Remote | None = None,
        embedder: Embedder | None = None,
        consolidation: timedelta | None = None,
        public_url: str | None = None,
    ) -> None:
        self.database, self.evaluator, self.outbound, self.models, self.variables = database, evaluator, outbound, models, variables
        self.slots, self.lease, self.poll, self.clock = slots, lease, poll, clock
        self.checkpoint_keys = checkpoint_keys
        self.connections = connections
        self.remote = remote
        self.embedder = embedder
        self.consolidation = consolidation  # of memories, so often; None: only by hand
        self.public_url = public_url  # where others reach this house; None: nowhere
        self.fused = fused  # False: a LangGraph node per step; what a user sees is the same
        self.worker = -secrets.randbits(62) - 1  # positive once a session lock stands for it: then its death is noticed at once
        self.journal = Journal(database, on_woken=self.look)
        self.bus = Bus(database, drives=self.drives)
        self.house: House | None = None  # Weft's own tools, where a server lends them to runs
        self.serving_now = False
        self.draining = False
        self.driving: dict[str, tuple[Drive | None, asyncio.Task[None]]] = {}
        self._alone: dict[str, str] = {}  # runs begun here at once, outside of all queues -> their organization
        self._plans: OrderedDict[str, tuple[Plan, Graph]] = OrderedDict()
        self._suspected_until = 0.0
        self._work = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._background: set[asyncio.Future[object]] = set()

    async def __aenter__(self) -> Engine:
        await self.journal.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in list(self._background):
            task.cancel()
        await self.bus.close()
        await self.journal.__aexit__(*exc)

    # -- serving -----------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self, *, worker: int | None = None, grace: float = 10.0) -> AsyncGenerator[None]:
        """Claims and drives runs during the block, then hands back what is still under way. `worker`: number of a session lock held."""
        self.worker = worker if worker is not None else self.worker
        self.serving_now, self.draining = True, False
        upkeep = Upkeep(self)
        claiming, tidying, living = (asyncio.create_task(loop) for loop in (self._claim_for_ever(), upkeep.tidy(), upkeep.live()))
        try:
            yield
        finally:
            self.serving_now, self.draining = False, True
            claiming.cancel()
            tidying.cancel()
            await upkeep.beat()
            await self._drain(grace)
            living.cancel()
            await asyncio.wait([claiming, tidying, living])
            await upkeep.leave()

    async def _drain(self, grace: float) -> None:
        """Steps under way may finish; then their runs go back to the queue for another worker."""
        for drive, _ in self.driving.values():
            if drive:
                drive.halt()
        tasks = [task for _, task in self.driving.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for drive, task in self.driving.values():
                if drive and task in late:
                    drive.unloading = True  # nothing is recorded: a write under way stays an intent without a receipt
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _claim_for_ever(self) -> None:
        while True:
            free = self.slots - len(self.driving)
            claimed: list[Claimed] = []
            if free > 0:
                try:
                    claimed = await runs.claim(self.database, slots=min(free, 32), worker=self.worker, lease=self.lease, at=self.clock())
                except Unavailable as error:
                    log.warning("cannot claim runs: %s", error.message)
                except Exception:  # a server that looks alive must not stop driving
                    log.exception("cannot claim runs")
            for claim in await self._one_suspect(claimed):
                self._begin(claim, None)
            if not claimed or free <= 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.poll):
                        await self._work.wait()
                self._work.clear()

    async def _one_suspect(self, claimed: list[Claimed]) -> list[Claimed]:
        """Of runs whose workers die and die, one at a time, and the others put back: so it shows which of them kills, and the rest come
        through."""
        suspects = [claim for claim in claimed if claim.claims > SUSPECT]
        if not suspects:
            return claimed
        now, chosen = asyncio.get_running_loop().time(), None
        if now >= self._suspected_until:
            chosen = secrets.choice(suspects)
            self._suspected_until = now + HEAD_START
        for claim in suspects:
            if claim is not chosen:
                with suppress(Unavailable):  # then its lease does it
                    await runs.hand_back(self.database.tenant(claim.org_id), claim.id, claim.fence, after=ASIDE)
        return [claim for claim in claimed if claim is chosen or claim not in suspects]

    # -- one run -----------------------------------------------------------------------------------------------------------------

    async def start(self, tenant: Tenant, new: NewRun, loaded: Loaded | None = None) -> Started:
        """Starts a run: here and at once when this process serves, has room, and the run need not wait its turn; else as a row in the
        queue."""
        inline = self.serving_now and not self.draining and len(self.driving) < self.slots
        started = await runs.start(tenant, replace(new, worker=self.worker if inline else None, lease=self.lease, at=self.clock()))
        if started.leased:
            claim = Claimed(org_id=tenant.org_id, id=started.run_id, fence=1, signal=0, claims=0, recovered=False, now=started.now)
            self._alone[started.run_id] = tenant.org_id
            self._begin(claim, loaded or runs.as_loaded(new, started))
        elif started.created:
            await runs.notify(tenant, started.run_id)
            self.wake()
        return started

    def _begin(self, claim: Claimed, loaded: Loaded | None) -> None:
        before = self.driving.get(claim.id)
        if before and before[0]:
            before[0].unloading = True  # our lease had run out and nobody else has taken it: the old drive ends before the new one begins
        if before:
            before[1].cancel()
        task = asyncio.create_task(self._run(claim, loaded, before[1] if before else None), name=f"run {claim.id}")
        self.driving[claim.id] = (None, task)
        task.add_done_callback(lambda _: self._ended(claim.id, task))

    def _ended(self, run_id: str, task: asyncio.Task[None]) -> None:
        if self.driving.get(run_id, (None, None))[1] is task:
            del self.driving[run_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("run %s was dropped; its lease will run out", run_id, exc_info=error)
        self.changed(run_id)
        if run_id not in self._alone or len(self.driving) >= self.slots - 1:  # one that was free to begin at once leaves nobody a place
            self.wake()
        self._alone.pop(run_id, None)

    async def _run(self, claim: Claimed, loaded: Loaded | None, after: asyncio.Task[None] | None) -> None:
        if after:
            await asyncio.wait([after])
        tenant = self.database.tenant(claim.org_id)
        tenant_now.set(tenant)
        try:
            await self._conduct(tenant, claim, loaded)
        except Unavailable as error:
            log.warning("run %s is put down, Postgres does not answer: %s", claim.id, error.message)
            await self._hand_back(tenant, claim)

    async def _hand_back(self, tenant: Tenant, claim: Claimed) -> None:
        """As soon as Postgres answers again; if that takes longer than the lease, the lease does it."""
        for _ in range(int(self.lease.total_seconds() / self.poll)):
            await asyncio.sleep(self.poll)
            with suppress(Unavailable):
                await runs.hand_back(tenant, claim.id, claim.fence)
                return

    async def _conduct(self, tenant: Tenant, claim: Claimed, loaded: Loaded | None) -> None:
        loaded = loaded or await runs.load_run(tenant, claim.id)
        if loaded is None:
            return  # purged meanwhile
        try:
            ready, graph = await self.prepared(tenant, loaded.digest)
        except Unavailable:
            raise
        except Exception:  # the worker loop: whatever is wrong with this definition here, the run must not stay "running"
            await self._refuse(claim)
            return
        drive = Drive(self, tenant, claim, loaded, ready)
        self.driving[claim.id] = (drive, self.driving[claim.id][1])
        from graphs.engine.conduct import conduct

        await conduct(drive, graph, recoveries=MAX_RECOVERIES)

    async def _refuse(self, claim: Claimed) -> None:
        """Fails a run whose definition this version of Weft cannot prepare. Retrying it after an upgrade goes on where it was."""
        number = secrets.token_hex(4)
        log.exception("error %s while preparing run %s", number, claim.id)
        error = {"code": "unprepared", "message": f"this version of Weft cannot run this definition; the log has it under {number}"}
        entry = Entry(org_id=claim.org_id, run_id=claim.id, fence=claim.fence)
        entry.events.append({"type": "run.failed", "level": "business", "message": error["message"], "data": error})
        entry.settle = {"state": "failed", "error": error}
        with suppress(LeaseLost):
            await self.journal.submit(entry)

    async def prepared(self, tenant: Tenant, digest: str) -> tuple[Plan, Graph]:
        """The plan and graph of a definition, compiled once per process. Raises NotFound."""
        if digest in self._plans:
            self._plans.move_to_end(digest)
            return self._plans[digest]
        body = await runs.definition(tenant, digest)
        if body is None:
            raise NotFound("the definition of this run is gone")
        from graphs.compiler import compile_graph  # LangGraph takes a second to import: not before the doors are open
        from graphs.saver import PostgresSaver

        ready = plan(Definition.model_validate(body))
        self._plans[digest] = ready, compile_graph(ready.body, PostgresSaver(tenant_now.get, keys=self.checkpoint_keys), fused=self.fused)
        if len(self._plans) > CACHED_PLANS:
            self._plans.popitem(last=False)
        return self._plans[digest]

    # -- news --------------------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to claim."""
        self._work.set()

    def look(self, org_id: str, run_id: str) -> None:
        """A run was signalled: tell its driver if that is us, otherwise look at the queue."""
        drive, _ = self.driving.get(run_id, (None, None))
        if drive:
            drive.tell()
        self.wake()

    def changed(self, run_id: str) -> None:
        for event in self._watchers.get(run_id, ()):
            event.set()

    def live(self, org_id: str, run_id: str, position: str, name: str, data: Json) -> None:
        """Shows something to whoever watches the run right now; recorded nowhere, and lost when nobody does."""
        self.bus.show(org_id, run_id, position, name, data)

    @asynccontextmanager
    async def watching(self, run_id: str) -> AsyncGenerator[asyncio.Event]:
        """An event that is set whenever this process has put the run down."""
        event = asyncio.Event()
        self._watchers.setdefault(run_id, set()).add(event)
        try:
            yield event
        finally:
            self._watchers[run_id].discard(event)
            if not self._watchers[run_id]:
                del self._watchers[run_id]

    def drives(self, run_id: str, org_id: str) -> bool:
        """Whether this process drives the run of this organization now."""
        drive, _ = self.driving.get(run_id, (None, None))
        return drive.claimed.org_id == org_id if drive else self._alone.get(run_id) == org_id

    def background(self, work: Awaitable[object]) -> None:
        """Small database work that nobody waits for; kept until done."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
