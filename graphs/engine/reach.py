"""What a running step may reach for outside of its run: the network, models, connections, memories, tools, and whoever watches it live."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine.patience import patiently
from graphs.engine.record import Record, Unloaded
from graphs.models import Caller, Limit
from graphs.nodetype import Failure
from graphs.voice import PROVIDERS
from memory.scopes import Principal
from store import identities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphs.connections import Connection
    from graphs.engine.step import Step
    from graphs.memories import Access
    from graphs.models import Models
    from graphs.outbound import Outbound
    from graphs.remote.calling import Bound
    from graphs.voice.calls import Calls


class Reach:
    """What StepContext is built on: which step this is, and what lies outside of its run."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._drive = step.drive
        self._held = ""  # the end of the text that is shown live, where a secret may begin

    @property
    def run_id(self) -> str:
        return self._drive.shown_id

    @property
    def mode(self) -> Literal["production", "test"]:
        return self._drive.mode

    @property
    def node_id(self) -> str:
        return self._step.plan.id

    @property
    def position(self) -> str:
        return self._step.position

    @property
    def attempt(self) -> int:
        return self._step.record.attempt if self._step.record else 1

    @property
    def idempotency_key(self) -> str:
        return self._record.key or f"{self._drive.run_id}/{self.position}"

    @property
    def _record(self) -> Record:
        if self._step.record is None:
            raise Unloaded
        return self._step.record

    @property
    def limits(self) -> Sequence[Mapping[str, Json]]:
        return self._step.plan.inner.limits if self._step.plan.inner else ()

    def _place(self, key: str) -> str:
        attempt = f"~{self.attempt}" if self.attempt > 1 else ""
        return f"{self.position}{attempt}" + (f"#{key}" if key else "")

    # -- outside -----------------------------------------------------------------------------------------------------------------

    @property
    def outbound(self) -> Outbound:
        self._reach()
        return self._drive.engine.outbound.of(self._drive.tenant)

    @property
    def models(self) -> Models:
        self._reach()
        models = self._drive.engine.models
        self._drive.redactor.add(*models.secrets())  # some servers repeat the key in their answer
        policy, record, loaded = self._step.plan.retry, self._record, self._drive.loaded
        tried = record.attempt - record.series + 1
        caller = Caller(
            user_id=loaded.created_by,
            run_id=self._drive.run_id,
            position=self.position,
            attempt=record.attempt,
            workflow=loaded.name,
            last=policy is None or tried >= policy.max_attempts,
            limits=tuple(Limit(**limit) for limit in self.limits),
            redactor=self._drive.redactor,
        )
        return models.of(self._drive.tenant, caller)

    @property
    def remote(self) -> Bound:
        remote = self._drive.engine.remote
        if remote is None:
            raise Failure("connection_missing", "this process reaches no tools of other servers")
        return remote.of(self._drive.tenant, self.connection)

    async def connection(self, name: str, *, kind: str | Collection[str] | None = None) -> Connection:
        self._reach()
        connections, tenant, loaded = self._drive.engine.connections, self._drive.tenant, self._drive.loaded
        if connections is None:
            raise Failure("connection_missing", f"there is no connection {name!r}: this process has no key folder")
        redactor = self._drive.redactor
        return await patiently(lambda: connections.open(tenant, name, kind=kind, user_id=loaded.created_by, redactor=redactor))

    async def memories(self) -> Access:
        from graphs.memories import Access

        self._reach()
        tenant, user_id = self._drive.tenant, self._drive.loaded.created_by
        user = await patiently(lambda: identities.get_user(tenant, user_id))
        principal = Principal(user_id=user.id, role=user.role)
        models = self.models
        embedder = models.embedder(self._drive.engine.embedder)
        return Access(tenant=tenant, principal=principal, embedder=embedder, run_id=self._drive.run_id, models=models)

    def _reach(self) -> None:
        """A replay reaches outside nowhere, whatever a step tries."""
        if self._drive.player and not self._step.live:
            raise Failure("replayed", "this is a replay: what reaches outside is answered from the recording, and this is not in it")

    def calls(self) -> Calls:
        from graphs.voice.calls import Calls

        engine = self._drive.engine
        return Calls(
            tenant=self._drive.tenant,
            run_id=self._drive.run_id,
            position=self.position,
            attempt=self.attempt,
            wait=self._place(""),
            outbound=self.outbound,
            connect=partial(self.connection, kind=PROVIDERS),
            public_url=engine.public_url,
            progress=self.progress,
        )

    def live(self, name: str, data: Json) -> None:
        redactor = self._drive.redactor
        kind = "text" if is_object(data) and "text" in data else "delta"
        if name == "text" and is_object(data) and isinstance(piece := data.get(kind), str):
            shown, self._held = redactor.split(piece if kind == "text" else self._held + piece)  # a secret may come in several pieces
            if not shown and kind == "delta":
                return
            data = {**data, kind: shown}
        data = redactor.clean(data)
        self._drive.engine.live(self._drive.tenant.org_id, self._drive.run_id, self.position, name, data)

    async def house(self, tool: str, arguments: dict[str, Json]) -> Json:
        self._reach()
        drive = self._drive
        if drive.engine.house is None:
            raise Failure("no_house", "this process lends runs none of Weft's own tools")
        return await drive.engine.house.call(
            drive.tenant,
            drive.loaded.created_by,
            self._drive.run_id,
            tool,
            arguments,
            depth=drive.loaded.depth,
            key=self.idempotency_key,
            show=self.live,
        )

    async def preview(self, node: Mapping[str, Json]) -> str:
        from graphs import previews

        config: Any = node["config"]
        if node["type"] != "house_tool" or self._drive.player:  # a replay shows what was shown
            return ""
        return await previews.preview(self._drive.tenant, config["tool"], config.get("arguments") or {}, run_id=self._drive.run_id)

    async def permit(self, key: str, node: Mapping[str, Json]) -> None:
        from graphs import fixes

        config: Any = node["config"]
        if node["type"] == "house_tool":
            drive, place = self._drive, f"{self.position}/{key}"
            await patiently(lambda: fixes.check(drive.tenant, drive.run_id, place, config["tool"], config.get("arguments") or {}))

    async def progress(self, message: str, *, current: int | None = None, total: int | None = None) -> None:
        data: dict[str, Any] = {"current": current, "total": total}
        self._drive.outbox.tell(("step.progress", message[:500]), position=self.position, level="business", data=data)
        self._drive.outbox.send()
