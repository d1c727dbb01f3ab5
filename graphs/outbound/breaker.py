"""The circuit breaker as a pure function: a circuit, what happened and the time make the next circuit.

closed ── 5 failures in a row within a minute ──> open ── its time is up, one call may try ──> half open
  ^                                                ^ ────────── that call fails ──────────────── │
  └──────────────────────────────── that call is answered ───────────────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from store.circuits import Circuit

THRESHOLD = 5
WINDOW = timedelta(seconds=60)
FIRST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(minutes=10)
LONGEST_HOLD = timedelta(minutes=10)  # a Retry-After binds other runs no longer than this
MAX_ERROR = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The target answered, in whatever words. `wait`: the seconds for which it wants to be left alone."""

    call: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No connection, no answer in time, an answer cut off, or one of its own trouble (5xx)."""

    call: str
    error: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """A call asks to be the one that tries an open circuit; it ends within `lease` seconds, whatever happens."""

    call: str
    lease: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """A call was cancelled before it could tell anything."""

    call: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Somebody says that the target is well again."""


Event = Answered | Failed | Probing | Abandoned | Reset


def blocked(circuit: Circuit, now: datetime) -> datetime | None:
    """Until when nobody may call; None when a call may go out, or try to become the probe."""
    if circuit.state == "open" and circuit.retry_at and now < circuit.retry_at:
        return circuit.retry_at
    if circuit.state == "half_open" and circuit.probe_until and now < circuit.probe_until:
        return circuit.probe_until
    return None


def held(circuit: Circuit, now: datetime) -> datetime | None:
    """Until when the target itself asked to be left alone."""
    return circuit.hold_until if circuit.hold_until and now < circuit.hold_until else None


def after(circuit: Circuit, event: Event, now: datetime) -> Circuit:
    """The circuit once `event` has happened. Calls that began before it opened no longer count: only the probe decides."""
    match event:
        case Probing():
            return _probed(circuit, event, now)
        case Answered():
            return _answered(_holding(circuit, event.wait, now), event)
        case Failed():
            return _failed(_holding(circuit, event.wait, now), event, now)
        case Abandoned():
            return replace(circuit, state="open", retry_at=now, probe=None, probe_until=None) if _decides(circuit, event.call) else circuit
        case Reset():
            return replace(_closed(circuit), hold_until=None)


def _decides(circuit: Circuit, call: str) -> bool:
    return circuit.state == "half_open" and circuit.probe == call


def _probed(circuit: Circuit, event: Probing, now: datetime) -> Circuit:
    if circuit.state == "closed" or blocked(circuit, now):
        return circuit
    return replace(circuit, state="half_open", probe=event.call, probe_until=now + timedelta(seconds=event.lease))


def _answered(circuit: Circuit, event: Answered) -> Circuit:
    if circuit.state == "closed" or _decides(circuit, event.call):
        return _closed(circuit)
    return circuit


def _failed(circuit: Circuit, event: Failed, now: datetime) -> Circuit:
    if circuit.state != "closed" and not _decides(circuit, event.call):
        return circuit
    told = replace(circuit, last_error=event.error[:MAX_ERROR], last_error_at=now)
    recent = [*(moment for moment in circuit.failed_at if now - moment < WINDOW), now]
    if circuit.state == "half_open" or len(recent) >= THRESHOLD:
        return _opened(told, recent, event.wait, now)
    return replace(told, failed_at=recent)


def _opened(circuit: Circuit, recent: list[datetime], wait: float, now: datetime) -> Circuit:
    rest = max(min(FIRST_REST * 2 ** min(circuit.openings, 16), LONGEST_REST), min(timedelta(seconds=wait), LONGEST_HOLD))
    return replace(
        circuit,
        state="open",
        failed_at=recent[-THRESHOLD:],
        openings=circuit.openings + 1,
        times_opened=circuit.times_opened + 1,
        opened_at=circuit.opened_at or now,
        retry_at=now + rest,
        probe=None,
        probe_until=None,
    )


def _closed(circuit: Circuit) -> Circuit:
    return replace(circuit, state="closed", failed_at=[], openings=0, opened_at=None, retry_at=None, probe=None, probe_until=None)


def _holding(circuit: Circuit, wait: float, now: datetime) -> Circuit:
    if wait <= 0:
        return circuit
    until = now + min(timedelta(seconds=wait), LONGEST_HOLD)
    return replace(circuit, hold_until=max(until, circuit.hold_until or until))
