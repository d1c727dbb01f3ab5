"""What comes back is what was put; what could not come back is refused with its place and a way out."""

from __future__ import annotations

import re
from collections import UserDict
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from memory.entries import MOST_KEY, MOST_NAMESPACE, MOST_VALUE
from store.errors import Invalid, Unavailable
from tests.basestore.conftest import together, weft

pytestmark = pytest.mark.anyio
NS = ("notes",)

KEPT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "empty things": {"text": "", "list": [], "dict": {}, "null": None},
    "unicode": {"text": "naïve 日本語 🧵 \u202e \x01\x7f\u2028", "ключ": "значение"},
    "big numbers": {"int": 2**200, "negative": -(2**63) - 1, "float": 1.7976931348623157e308, "small": 5e-324, "exact": 0.1 + 0.2},
    "kinds apart": {"one": 1, "one float": 1.0, "true": True, "text": "1", "minus zero": -0.0},
    "nested": {"a": [{"b": [[[{"c": None}]]]}], "order": {"z": 1, "a": 2}},
    "names of ours": {"$eq": 1, "namespace": ["x"], "value": {"value": 1}, "*": "*", "'; --": "\\u0000"},
    "long": {"text": "A sentence of a long story. " * 2_000, "after": "it"},
}


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
async def test_a_value_comes_back_exactly_as_it_went_in(weft_store: Any, value: dict[str, Any]) -> None:
    await weft_store.aput(NS, "key", value)
    got = await weft_store.aget(NS, "key")
    (found,) = await weft_store.asearch(NS, query="a story")
    assert got is not None
    assert repr(got.value) == repr(found.value) == repr(value)


async def test_keys_and_labels_are_kept_as_they_are(weft_store: Any) -> None:
    places = [(("a b", "c"), "k"), (("a", "b c"), "k"), (("a:b",), "c"), (("ä", "*", "%"), "ключ/with 'quotes' and \\"), (("a",), "")]
    for number, (namespace, key) in enumerate(places):
        await weft_store.aput(namespace, key, {"n": number})
    for number, (namespace, key) in enumerate(places):
        item = await weft_store.aget(namespace, key)
        assert item is not None
        assert (item.namespace, item.key, item.value) == (namespace, key, {"n": number})
    assert await weft_store.alist_namespaces() == sorted({namespace for namespace, _ in places})
    await weft_store.aput(NS, 7, {"v": 1})  # LangGraph makes text of keys as well
    assert (await weft_store.aget(NS, "7")) is not None


async def test_mappings_tuples_and_lists_as_namespaces_are_taken(weft_store: Any) -> None:
    await weft_store.aput(NS, "mapping", UserDict({"pair": (1, (2,))}))
    item = await weft_store.aget(NS, "mapping")
    assert item is not None
    assert item.value == {"pair": [1, [2]]}
    assert len(await weft_store.asearch(["notes"])) == 1
    assert await weft_store.alist_namespaces(prefix=["notes"]) == [NS]


REFUSED: list[tuple[Any, str]] = [
    ({"a": {"b": ["x\x00"]}}, r"value\.a\.b\[0\] has a NUL"),
    ({"a": "\ud800"}, r"value\.a has a NUL or half a surrogate pair"),
    ({"a\x00": 1}, "value has a key with a NUL"),
    ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, r"value\.at is of type datetime, which JSON has not"),
    ({"a": {1: 2}}, r"value\.a has the key 1, which is no text"),
    ({"a": float("nan")}, "not JSON"),
    ({"a": [float("inf")]}, "not JSON"),
    ({"a": {1, 2}}, r"value\.a is of type set"),
    ({"text": "x" * MOST_VALUE}, "1,000,011 characters as JSON; it may have 1,000,000. Keep it in parts"),
    (["no", "dict"], "A value is a dict, and this one is of type list"),
    ("text", "A value is a dict, and this one is of type str"),
]


@pytest.mark.parametrize(("value", "says"), REFUSED, ids=[says for _, says in REFUSED])
async def test_what_would_not_come_back_is_refused_with_its_place(weft_store: Any, value: Any, says: str) -> None:
    good = weft_store.aput(NS, "good", {"v": 1})
    bad = weft_store.aput(NS, "bad", value)
    kept, refused = await together(good, bad, return_exceptions=True)
    assert kept is None
    assert isinstance(refused, Invalid)
    assert re.search(says, refused.message), refused.message
    with pytest.raises(Invalid):
        await weft_store.abatch([PutOp(NS, "other", {"v": 1}), PutOp(NS, "bad", value)])
    assert [item.key for item in await weft_store.asearch(NS)] == ["good"]


async def test_the_largest_value_comes_back_and_is_found(weft_store: Any) -> None:
    value = {"text": ("A plain sentence about nothing much at all. " * 23_000)[: MOST_VALUE - 60] + " The end is a kumquat."}
    await weft_store.aput(NS, "large", value)
    (found,) = await weft_store.asearch(NS, query="kumquat")
    assert found.value == value


async def test_values_that_are_too_deep_are_refused_and_those_at_the_edge_kept(weft_store: Any) -> None:
    value: dict[str, Any] = {}
    for _ in range(99):
        value = {"a": value}
    await weft_store.aput(NS, "edge", value)
    item = await weft_store.aget(NS, "edge")
    assert item is not None
    assert item.value == value
    with pytest.raises(Invalid, match="more than 100 levels deep"):
        await weft_store.aput(NS, "deep", {"a": value})
    round_and_round: dict[str, Any] = {}
    round_and_round["self"] = round_and_round
    with pytest.raises(Invalid, match="more than 100 levels deep"):
        await weft_store.aput(NS, "round", round_and_round)


async def test_names_may_have_a_length_and_no_more(weft_store: Any) -> None:
    longest = ("n" * MOST_NAMESPACE,), "k" * MOST_KEY
    await weft_store.aput(*longest, {"text": "a needle"})
    assert (await weft_store.aget(*longest)) is not None
    assert len(await weft_store.asearch(longest[0], query="needle")) == 1
    for namespace, key in ((("n" * MOST_NAMESPACE, "n"), "k"), (("n",), "k" * (MOST_KEY + 1)), (("\ud800",), "k"), (("n",), "k\x00")):
        with pytest.raises(Invalid, match=r"characters; it may have|which Postgres cannot keep"):
            await weft_store.aput(namespace, key, {})
    with pytest.raises(Invalid, match="may have 480"):
        await weft_store.asearch(("n" * 1_000,))
    assert await weft_store.aget(("n",), "\ud800") is None


async def test_filters_that_cannot_be_understood_are_refused_before_anything_is_asked(weft_store: Any) -> None:
    await weft_store.aput(NS, "key", {"v": 1})
    wrong: list[tuple[Any, str]] = [
        ({"v": {"$regex": "x"}}, r"Unsupported operator: '\$regex'; a filter knows \$eq"),
        ({"v": "\x00"}, "has a NUL"),
        ({"v": {"$gt": datetime(2026, 1, 1, tzinfo=UTC)}}, "which JSON has not"),
        ({"v": float("nan")}, "not JSON"),
        ({1: 2}, "which is no text"),
        ("v = 1", "A filter is a dict"),
        ({"v": list(range(2_000))}, "at most 1,000 things"),
    ]
    for wanted, says in wrong:
        with pytest.raises(Invalid, match=says):
            await weft_store.asearch(NS, filter=wanted)
        with pytest.raises(Invalid, match=says):
            await weft_store.abatch([GetOp(NS, "key"), SearchOp(NS, filter=wanted)])
    with pytest.raises(ValueError, match="Unsupported operator"):  # as LangGraph's stores say it
        await weft_store.asearch(NS, filter={"v": {"$in": [1]}})


FILTERED: dict[str, dict[str, Any]] = {
    "int": {"v": 1}, "float": {"v": 1.5}, "text": {"v": "10"}, "less": {"v": "9"}, "true": {"v": True}, "null": {"v": None}, "none": {},
    "list": {"v": [1, {"a": 2}]}, "dict": {"v": {"a": {"b": 1}, "c": 2}}, "big": {"v": 2**70},
}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"v": 1}, "int"), ({"v": 1.0}, "int"), ({"v": True}, "true"), ({"v": None}, "null none"), ({"v": "9"}, "less"),
        ({"v": {"$eq": "10"}}, "text"), ({"v": {"$ne": 1}}, "float text less true null none list dict big"),
        ({"v": {"$gt": 1}}, "float big"), ({"v": {"$gte": 1, "$lt": 2}}, "int float"), ({"v": {"$lte": 1}}, "int"),
        ({"v": {"$gt": "10"}}, "less"), ({"v": {"$lt": 2**70, "$gt": 2**69}}, ""), ({"v": {"$gte": 2**70}}, "big"),
        ({"v": [1, {"a": 2}]}, "list"), ({"v": [1]}, ""), ({"v": {"a": {"b": 1}}}, "dict"), ({"v": {"a": {"b": {"$gt": 0}}}}, "dict"),
        ({"v": {"a": {}}}, "dict"), ({"missing": None}, "int float text less true null none list dict big"), ({"v": 1, "w": 1}, ""),
        ({"v": {"$gt": None}}, ""), ({}, "int float text less true null none list dict big"),
    ],
)  # fmt: skip
async def test_filters_choose(weft_store: Any, wanted: dict[str, Any], keys: str) -> None:
    await weft_store.abatch([PutOp(NS, key, value) for key, value in FILTERED.items()])
    assert {item.key for item in await weft_store.asearch(NS, filter=wanted, limit=100)} == set(keys.split())
    assert {item.key for item in await weft_store.asearch(NS, query="v", filter=wanted, limit=100)} == set(keys.split())


async def test_limits_are_said(weft_store: Any) -> None:
    for wrong in ({"limit": -1}, {"offset": -1}, {"limit": 10_001}, {"limit": 2**70}, {"offset": 2**40}):
        with pytest.raises(Invalid, match=r"limit is from 0 to 10,000"):
            await weft_store.asearch(NS, **wrong)
        with pytest.raises(Invalid, match=r"limit is from 0 to 10,000"):
            await weft_store.alist_namespaces(**wrong)
    with pytest.raises(Invalid, match="max_depth is 0 or more"):
        await weft_store.alist_namespaces(max_depth=-1)
    with pytest.raises(Invalid, match="knows no operation str"):
        await weft_store.abatch(["get"])


async def test_times_are_those_of_the_database_and_the_first_stays(weft_store: Any, admin_url: str) -> None:
    await weft_store.aput(NS, "key", {"v": 1})
    first = await weft_store.aget(NS, "key")
    await weft_store.aput(NS, "key", {"v": 2})
    second = await weft_store.aget(NS, "key")
    assert first is not None
    assert second is not None
    async with await psycopg.AsyncConnection.connect(admin_url) as connection:
        cursor = await connection.execute("SELECT clock_timestamp()")
        row: Any = await cursor.fetchone()
    assert first.created_at == second.created_at
    assert first.created_at <= first.updated_at < second.updated_at <= row[0]
    assert row[0] - first.created_at < timedelta(minutes=1)
    assert first.created_at.tzinfo is not None
    await weft_store.adelete(NS, "key")
    await weft_store.aput(NS, "key", {"v": 3})
    third = await weft_store.aget(NS, "key")
    assert third is not None
    assert third.created_at > second.updated_at


async def test_a_batch_is_kept_as_a_whole_and_the_last_of_a_key_counts(weft_store: Any) -> None:
    await weft_store.abatch([PutOp(NS, "a", {"v": 1}), PutOp(NS, "b", {"v": 1}), PutOp(NS, "a", None), PutOp(NS, "b", {"v": 2})])
    assert [(item.key, item.value) for item in await weft_store.asearch(NS)] == [("b", {"v": 2})]
    before, _, searched = await weft_store.abatch([GetOp(NS, "b"), PutOp(NS, "b", None), SearchOp(NS)])
    assert before is not None
    assert len(searched) == 1
    assert await weft_store.aget(NS, "b") is None
    many = [PutOp(NS, f"k{number}", {"text": f"number {number}"}) for number in range(450)]
    await weft_store.abatch(many)
    assert len(await weft_store.asearch(NS, limit=1_000)) == 450


async def test_a_closed_store_says_so(app_url: str) -> None:
    async with weft(app_url) as store:
        await store.aput(NS, "key", {"v": 1})
    with pytest.raises(Unavailable, match="closed; open it again"):
        await store.aget(NS, "key")


async def test_a_namespace_is_not_matched_by_a_longer_one(weft_store: Any) -> None:
    await weft_store.aput(("a",), "key", {})
    await weft_store.aput(("a", "b"), "key", {})
    assert await weft_store.alist_namespaces(prefix=("a", "*")) == [("a", "b")]
    assert await weft_store.alist_namespaces(suffix=("*", "a")) == []
    assert await weft_store.alist_namespaces(prefix=("a", "b", "*")) == []
