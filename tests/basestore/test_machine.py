"""Histories of puts, gets, deletes, searches and listings of Weft's store, each held against LangGraph's InMemoryStore.

Where the two differ on purpose the reference is brought into line: a namespace in which nothing is is none, and a search without a query
answers the newest first (InMemoryStore: as they came).
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from langgraph.store.base import BaseStore, GetOp, Op, PutOp
from langgraph.store.memory import InMemoryStore

from tests.basestore.conftest import in_thread

LABEL = st.sampled_from(["a", "a", "a", "b", "b", "ab", "a_%", "*", "ä"])
NAMESPACE = st.lists(LABEL, min_size=1, max_size=3).map(tuple)
KEY = st.sampled_from(["k", "l", "K"])
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00$"), max_size=6)
JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), WORD),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORD, inner, max_size=3)), max_leaves=6,
)  # fmt: skip
NUMBER = st.sampled_from([-1, 0, 0.5, 1, 1.0, 2**60])
VALUE = st.fixed_dictionaries({"n": NUMBER, "tag": st.sampled_from(["x", "y", None]), "rest": JSON})
TEST = st.one_of(
    NUMBER.map(lambda n: {"n": n}),
    st.sampled_from(["x", "y", None]).map(lambda tag: {"tag": tag}),
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne", "$eq"]), NUMBER, min_size=1, max_size=2).map(lambda t: {"n": t}),
    JSON.map(lambda rest: {"rest": rest}),
    st.fixed_dictionaries({"tag": st.sampled_from(["x", "y"]), "n": st.fixed_dictionaries({"$gte": NUMBER})}),
    st.just({"missing": None}),
)
Place = tuple[tuple[str, ...], str]


def seen(item: Any) -> Any:
    return None if item is None else (item.namespace, item.key, repr(item.value))


class Histories(RuleBasedStateMachine):
    store: BaseStore  # set by the test
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.root = (f"run {next(self.numbers)}",)  # each history in a namespace of its own
        self.reference = InMemoryStore()
        self.order: dict[Place, int] = {}
        self.moment = itertools.count()

    def _both(self, op: Op) -> tuple[Any, Any]:
        return self.store.batch([op])[0], self.reference.batch([op])[0]

    def _noted(self, op: PutOp) -> None:
        if op.value is None:
            self.order.pop((op.namespace, op.key), None)
        else:
            self.order[op.namespace, op.key] = next(self.moment)

    @initialize(places=st.lists(st.tuples(NAMESPACE, KEY, VALUE), min_size=8, max_size=12))
    def begin(self, places: list[tuple[tuple[str, ...], str, dict[str, Any]]]) -> None:
        self._many([(namespace, key, value, False) for namespace, key, value in places])

    @rule(namespace=NAMESPACE, key=KEY, value=VALUE, index=st.sampled_from([None, False, ["tag", "rest[*].a"]]))
    def put(self, namespace: tuple[str, ...], key: str, value: dict[str, Any], index: Any) -> None:
        op = PutOp((*self.root, *namespace), key, value, index)
        self._both(op)
        self._noted(op)

    @rule(namespace=NAMESPACE, key=KEY)
    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        op = PutOp((*self.root, *namespace), key, None)
        self._both(op)
        self._noted(op)

    @rule(places=st.lists(st.tuples(NAMESPACE, KEY, st.none() | VALUE, st.booleans()), max_size=6))
    def many(self, places: list[tuple[tuple[str, ...], str, Any, bool]]) -> None:
        self._many(places)

    def _many(self, places: list[tuple[tuple[str, ...], str, Any, bool]]) -> None:
        ops: list[Op] = [
            GetOp((*self.root, *namespace), key) if read else PutOp((*self.root, *namespace), key, value)
            for namespace, key, value, read in places
        ]
        ours, theirs = self.store.batch(ops), self.reference.batch(ops)
        assert [seen(item) for item in ours] == [seen(item) for item in theirs]
        last = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        at = next(self.moment)
        for place, op in last.items():
            self._noted(op)
            if place in self.order:
                self.order[place] = at  # of one batch: in no order

    @rule(namespace=NAMESPACE, key=KEY)
    def get(self, namespace: tuple[str, ...], key: str) -> None:
        ours, theirs = self._both(GetOp((*self.root, *namespace), key))
        assert seen(ours) == seen(theirs)

    @rule(
        prefix=st.lists(LABEL, max_size=2).map(tuple), test=st.none() | TEST, size=st.integers(1, 4), query=st.sampled_from([None, "x y"])
    )
    def search(self, prefix: tuple[str, ...], test: Any, size: int, query: str | None) -> None:
        within = (*self.root, *prefix)
        theirs = self.reference.search(within, filter=test, limit=1_000)
        ours = self.store.search(within, filter=test, limit=1_000, query=query)
        assert sorted(map(seen, ours)) == sorted(map(seen, theirs))
        if query is None:
            moments = [self.order[item.namespace, item.key] for item in ours]
            assert moments == sorted(moments, reverse=True)
        pages = [self.store.search(within, filter=test, limit=size, offset=start, query=query) for start in range(0, len(theirs) + 1, size)]
        assert [seen(item) for page in pages for item in page] == [seen(item) for item in ours]

    @rule(
        prefix=st.lists(LABEL, max_size=2).map(tuple), suffix=st.lists(LABEL, max_size=2).map(tuple), depth=st.none() | st.integers(1, 4),
        size=st.integers(1, 5), start=st.integers(0, 3),
    )  # fmt: skip
    def list_namespaces(self, prefix: tuple[str, ...], suffix: tuple[str, ...], depth: int | None, size: int, start: int) -> None:
        values: dict[tuple[str, ...], Any] = self.reference._data  # pyright: ignore[reportPrivateUsage]  # keeps those that are empty
        for namespace in [namespace for namespace, items in values.items() if not items]:
            del values[namespace]
        wanted: dict[str, Any] = {"prefix": (*self.root, *prefix), "suffix": suffix or None, "max_depth": depth}
        assert self.store.list_namespaces(**wanted, limit=size, offset=start) == self.reference.list_namespaces(
            **wanted, limit=size, offset=start
        )

    @invariant()
    def nothing_is_there_that_is_not(self) -> None:
        assert {(item.namespace, item.key) for item in self.store.search(self.root, limit=1_000)} == set(self.order)


@pytest.fixture
def opened(app_url: str) -> Generator[BaseStore]:
    with in_thread(app_url) as store:
        yield store


def test_histories_go_as_in_memory(opened: BaseStore) -> None:
    Histories.store = opened
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=40, stateful_step_count=16, deadline=None, phases=(Phase.generate,), suppress_health_check=[HealthCheck.too_slow]
        ),
    )
