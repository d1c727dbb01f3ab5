"""The circuit breaker as a state machine, under a clock that the test turns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from graphs.outbound.breaker import (
    FIRST_REST,
    LONGEST_HOLD,
    LONGEST_REST,
    THRESHOLD,
    Abandoned,
    Answered,
    Event,
    Failed,
    Probing,
    Reset,
    after,
    blocked,
    held,
)
from store.circuits import Circuit

START = datetime(2026, 1, 1, tzinfo=UTC)
CLOSED = Circuit(target="https://api.example.com", now=START, failed_at=[])


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def failed(call: str = "x", wait: float = 0.0) -> Failed:
    return Failed(call=call, error="no answer", wait=wait)


def play(circuit: Circuit, *events: tuple[float, Event]) -> Circuit:
    for at, event in events:
        circuit = after(circuit, event, later(at))
    return circuit


def opened(at: float = 0.0) -> Circuit:
    return play(CLOSED, *[(at, failed())] * THRESHOLD)


def test_five_failures_in_a_row_within_a_minute_open_it_and_four_do_not() -> None:
    four = play(CLOSED, *((float(second), failed()) for second in range(4)))
    assert (four.state, len(four.failed_at)) == ("closed", 4)
    five = play(four, (59.0, failed()))
    assert (five.state, five.retry_at, five.times_opened, five.last_error) == ("open", later(59) + FIRST_REST, 1, "no answer")


def test_five_failures_over_more_than_a_minute_do_not_open_it() -> None:
    slow = play(CLOSED, *((second * 16.0, failed()) for second in range(40)))
    assert slow.state == "closed"


def test_the_minute_slides() -> None:
    assert play(CLOSED, *((at, failed()) for at in (0.0, 50.0, 55.0, 61.0, 70.0))).state == "closed"
    assert play(CLOSED, *((at, failed()) for at in (0.0, 50.0, 55.0, 61.0, 70.0, 80.0))).state == "open"


def test_any_answer_between_begins_the_count_anew() -> None:
    mixed = play(CLOSED, *((at, Answered(call="y") if at % 5 == 4 else failed()) for at in map(float, range(50))))
    assert mixed.state == "closed"


def test_while_open_nobody_may_call_and_what_began_before_changes_nothing() -> None:
    circuit = opened()
    assert blocked(circuit, later(29.9)) == later(30)
    assert play(circuit, (1, failed()), (2, Answered(call="x")), (3, Probing(call="p", lease=5)), (4, Abandoned(call="x"))) == circuit


def test_when_its_time_is_up_one_call_may_try_and_others_wait_for_it() -> None:
    half = play(opened(), (30, Probing(call="p", lease=10)), (30, Probing(call="q", lease=10)))
    assert (half.state, half.probe) == ("half_open", "p")
    assert blocked(half, later(39)) == later(40)
    assert play(half, (31, Answered(call="q")), (31, failed("q")), (31, Abandoned(call="q"))) == half


def test_the_answer_to_the_probe_closes_it_as_if_nothing_had_been() -> None:
    closed = play(opened(), (30, Probing(call="p", lease=10)), (31, Answered(call="p")))
    assert blocked(closed, later(31)) is None
    assert closed == replace(CLOSED, times_opened=1, last_error="no answer", last_error_at=START)


def test_each_failed_probe_doubles_the_rest_up_to_ten_minutes() -> None:
    circuit, at, rests = opened(), 0.0, [FIRST_REST]
    for _ in range(8):
        assert circuit.retry_at is not None
        at = (circuit.retry_at - START).total_seconds()
        circuit = play(circuit, (at, Probing(call="p", lease=5)), (at, failed("p")))
        assert circuit.retry_at is not None
        rests.append(circuit.retry_at - later(at))
    assert [rest.total_seconds() for rest in rests] == [30, 60, 120, 240, 480, 600, 600, 600, 600]
    assert circuit.opened_at == START
    well = play(circuit, (at + 600, Probing(call="p", lease=5)), (at + 601, Answered(call="p")))
    again = play(well, *[(at + 602, failed())] * THRESHOLD)
    assert again.retry_at == later(at + 602) + FIRST_REST


def test_a_probe_that_was_given_up_lets_the_next_one_try_at_once() -> None:
    circuit = play(opened(), (30, Probing(call="p", lease=10)), (31, Abandoned(call="p")))
    assert (circuit.state, blocked(circuit, later(31))) == ("open", None)
    assert play(circuit, (31, Probing(call="q", lease=10))).probe == "q"


def test_a_probe_whose_process_died_is_followed_by_another_and_its_late_word_is_not_heard() -> None:
    circuit = play(opened(), (30, Probing(call="p", lease=10)), (41, Probing(call="q", lease=10)))
    assert circuit.probe == "q"
    assert play(circuit, (42, Answered(call="p")), (42, failed("p"))) == circuit


def test_a_pause_that_the_target_asks_for_holds_whatever_the_circuit_is() -> None:
    circuit = play(CLOSED, (0, Answered(call="x", wait=20)))
    assert (circuit.state, held(circuit, later(19)), held(circuit, later(20))) == ("closed", later(20), None)
    assert play(circuit, (1, Answered(call="y", wait=5))).hold_until == later(20)
    assert play(CLOSED, (0, Answered(call="x", wait=86_400))).hold_until == START + LONGEST_HOLD
    assert held(play(circuit, (1, Reset())), later(2)) is None
    busy = play(opened(), (30, Probing(call="p", lease=5)), (30, failed("p", wait=300)))
    assert busy.retry_at == later(330)


def test_a_reset_closes_it_in_any_state() -> None:
    for circuit in (opened(), play(opened(), (30, Probing(call="p", lease=5)))):
        assert play(circuit, (31, Reset())) == replace(CLOSED, times_opened=1, last_error="no answer", last_error_at=START)


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["failed", "answered", "probe", "end", "fail", "reset"])), max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_the_row_keeps_what_the_table_demands_and_it_ends_within_ten_minutes(steps: list[tuple[float, str]]) -> None:
    circuit, at = CLOSED, 0.0
    for number, (gap, what) in enumerate(steps):
        at += gap
        known: dict[str, Event] = {
            "failed": failed(),
            "answered": Answered(call="x"),
            "probe": Probing(call=str(number), lease=5),
            "end": Answered(call=circuit.probe or ""),
            "fail": failed(circuit.probe or ""),
            "reset": Reset(),
        }
        circuit = after(circuit, known[what], later(at))
        assert (circuit.state == "closed") == (circuit.opened_at is None) == (circuit.retry_at is None)
        assert (circuit.state == "half_open") == (circuit.probe is not None) == (circuit.probe_until is not None)
        assert len(circuit.failed_at) <= THRESHOLD
        assert blocked(circuit, later(at) + LONGEST_REST) is None


@dataclass
class Process:
    """One of two processes: what it believes, and its probes under way with the moment they end at the latest."""

    name: str
    believes: Circuit = CLOSED
    probing: dict[str, datetime] = field(default_factory=dict[str, datetime])


class TwoProcesses(RuleBasedStateMachine):
    """Calls, outcomes, reads that are late and crashes of two processes that share a row, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.now, self.calls = CLOSED, START, 0
        self.processes = (Process("a"), Process("b"))

    which = st.integers(0, 1)

    @rule(seconds=st.floats(0, 45))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for process in self.processes:
            process.probing = {call: end for call, end in process.probing.items() if end > self.now}  # a call ends within its time

    @rule(which=which)
    def one_reads(self, which: int) -> None:
        self.processes[which].believes = self.row

    @rule(which=which)
    def a_call_fails(self, which: int) -> None:
        if blocked(self.processes[which].believes, self.now) is None:
            self.row = after(self.row, failed("late"), self.now)

    @rule(which=which, seconds=st.floats(1, 60))
    def one_asks_to_probe(self, which: int, seconds: float) -> None:
        process = self.processes[which]
        if process.believes.state == "closed" or blocked(process.believes, self.now):
            return
        self.calls += 1
        call = f"{process.name}{self.calls}"
        self.row = process.believes = after(self.row, Probing(call=call, lease=seconds + 5), self.now)
        if self.row.probe == call:
            process.probing[call] = self.now + timedelta(seconds=seconds)

    @precondition(lambda self: any(process.probing for process in self.processes))
    @rule(how=st.sampled_from(["answered", "failed", "abandoned", "crashed"]))
    def a_probe_ends(self, how: str) -> None:
        process = next(process for process in self.processes if process.probing)
        call = next(iter(process.probing))
        if how == "crashed":  # its word never comes, its connection is gone
            del process.probing[call]
            return
        events: dict[str, Event] = {"answered": Answered(call=call), "failed": failed(call), "abandoned": Abandoned(call=call)}
        del process.probing[call]
        self.row = after(self.row, events[how], self.now)

    @invariant()
    def at_most_one_probe_is_under_way(self) -> None:
        assert sum(len(process.probing) for process in self.processes) <= 1


TestTwoProcesses = TwoProcesses.TestCase
TestTwoProcesses.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
