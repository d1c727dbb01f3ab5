"""What LangGraph asks of its InMemoryStore, and so of any store.

From langchain-ai/langgraph, libs/checkpoint/tests/test_store.py (MIT License, Copyright (c) 2024 LangChain, Inc.).
Not here: `test_get_text_at_path…`, `test_validate_op_namespace…` and `test_dedupe_ops…`, which are about functions of LangGraph that Weft
calls. Those with a query are in test_langgraph_vectors.py, the asynchronous ones in test_langgraph_async.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import InvalidNamespaceError


def test_list_namespaces_basic(store: Any) -> None:

    namespaces = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
        ("users", "456", "settings"),
        ("admin", "users", "789"),
    ]

    for i, ns in enumerate(namespaces):
        store.put(namespace=ns, key=f"id_{i}", value={"data": f"value_{i:02d}"})

    result = store.list_namespaces(prefix=("a", "b"))
    expected = [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f")]
    assert sorted(result) == sorted(expected)

    result = store.list_namespaces(suffix=("f",))
    expected = [("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")]
    assert sorted(result) == sorted(expected)

    result = store.list_namespaces(prefix=("a",), suffix=("f",))
    expected = [("a", "b", "f"), ("a", "c", "f")]
    assert sorted(result) == sorted(expected)

    # Test max_depth
    result = store.list_namespaces(prefix=("a", "b"), max_depth=3)
    expected = [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert sorted(result) == sorted(expected)

    # Test limit and offset
    result = store.list_namespaces(prefix=("a", "b"), limit=2)
    expected = [("a", "b", "c"), ("a", "b", "d", "e")]
    assert result == expected

    result = store.list_namespaces(prefix=("a", "b"), offset=2)
    expected = [("a", "b", "d", "i"), ("a", "b", "f")]
    assert result == expected

    result = store.list_namespaces(prefix=("a", "*", "f"))
    expected = [("a", "b", "f"), ("a", "c", "f")]
    assert sorted(result) == sorted(expected)

    result = store.list_namespaces(suffix=("*", "f"))
    expected = [("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")]
    assert sorted(result) == sorted(expected)

    result = store.list_namespaces(prefix=("nonexistent",))
    assert result == []

    result = store.list_namespaces(prefix=("users", "123"))
    expected = [("users", "123")]
    assert result == expected


def test_list_namespaces_with_wildcards(store: Any) -> None:

    namespaces = [
        ("users", "123"),
        ("users", "456"),
        ("users", "789", "settings"),
        ("admin", "users", "789"),
        ("guests", "123"),
        ("guests", "456", "preferences"),
    ]

    for i, ns in enumerate(namespaces):
        store.put(namespace=ns, key=f"id_{i}", value={"data": f"value_{i:02d}"})

    result = store.list_namespaces(prefix=("users", "*"))
    expected = [("users", "123"), ("users", "456"), ("users", "789", "settings")]
    assert sorted(result) == sorted(expected)

    result = store.list_namespaces(suffix=("*", "preferences"))
    expected = [("guests", "456", "preferences")]
    assert result == expected

    result = store.list_namespaces(prefix=("*", "users"), suffix=("*", "settings"))

    assert result == []

    store.put(namespace=("admin", "users", "settings", "789"), key="foo", value={"data": "some_val"})
    assert store.list_namespaces(prefix=("*", "users"), suffix=("settings", "*")) == [("admin", "users", "settings", "789")]


def test_list_namespaces_pagination(store: Any) -> None:

    for i in range(20):
        ns = ("namespace", f"sub_{i:02d}")
        store.put(namespace=ns, key=f"id_{i:02d}", value={"data": f"value_{i:02d}"})

    result = store.list_namespaces(prefix=("namespace",), limit=5, offset=0)
    expected = [("namespace", f"sub_{i:02d}") for i in range(5)]
    assert result == expected

    result = store.list_namespaces(prefix=("namespace",), limit=5, offset=5)
    expected = [("namespace", f"sub_{i:02d}") for i in range(5, 10)]
    assert result == expected

    result = store.list_namespaces(prefix=("namespace",), limit=5, offset=15)
    expected = [("namespace", f"sub_{i:02d}") for i in range(15, 20)]
    assert result == expected


def test_list_namespaces_max_depth(store: Any) -> None:

    namespaces = [("a", "b", "c", "d"), ("a", "b", "c", "e"), ("a", "b", "f"), ("a", "g"), ("h", "i", "j", "k")]

    for i, ns in enumerate(namespaces):
        store.put(namespace=ns, key=f"id_{i}", value={"data": f"value_{i:02d}"})

    result = store.list_namespaces(max_depth=2)
    expected = [("a", "b"), ("a", "g"), ("h", "i")]
    assert sorted(result) == sorted(expected)


def test_list_namespaces_no_conditions(store: Any) -> None:

    namespaces = [("a", "b"), ("c", "d"), ("e", "f", "g")]

    for i, ns in enumerate(namespaces):
        store.put(namespace=ns, key=f"id_{i}", value={"data": f"value_{i:02d}"})

    result = store.list_namespaces()
    expected = namespaces
    assert sorted(result) == sorted(expected)


def test_search_pages_match_full_listing(store: Any) -> None:
    items_per_namespace = 7
    for ns in [("a",), ("a", "b"), ("ab",), ("a", "c", "d")]:
        for i in range(items_per_namespace):
            store.put(ns, f"k{i}", {"i": i, "even": i % 2 == 0})

    def keys(items: list[Any]) -> list[tuple[tuple[str, ...], str]]:
        return [(item.namespace, item.key) for item in items]

    full = keys(store.search(("a",), limit=100))
    assert {ns for ns, _ in full} == {("a",), ("a", "b"), ("a", "c", "d")}
    assert len(full) == 3 * items_per_namespace
    paged = [key for offset in range(0, len(full), 4) for key in keys(store.search(("a",), limit=4, offset=offset))]
    assert paged == full
    even = keys(store.search(("a",), filter={"even": True}, limit=100))
    assert keys(store.search(("a",), filter={"even": True}, limit=3, offset=2)) == even[2:5]


def test_list_namespaces_empty_store(store: Any) -> None:

    result = store.list_namespaces()
    assert result == []


@pytest.mark.parametrize("namespace", [("foo.bar",), ("foo\x00",), ("foo", ""), (123,)])
@pytest.mark.parametrize("method", ["get", "delete", "search", "prefix", "suffix"])
def test_rejects_invalid_namespace_labels(store: Any, namespace: tuple[Any, ...], method: str) -> None:
    call = {
        "get": lambda: store.get(namespace, "key"),
        "delete": lambda: store.delete(namespace, "key"),
        "search": lambda: store.search(namespace),
        "prefix": lambda: store.list_namespaces(prefix=namespace),
        "suffix": lambda: store.list_namespaces(suffix=namespace),
    }[method]
    with pytest.raises(InvalidNamespaceError):
        call()


def test_search_and_listing_keep_empty_prefixes_and_wildcards(store: Any) -> None:
    store.put(("tenant", "a_%"), "key", {"v": 1})
    store.put(("tenant", "b", "child"), "key", {"v": 1})

    assert len(store.search(())) == 2
    assert [item.namespace for item in store.search(("tenant", "a_%"))] == [("tenant", "a_%")]
    assert sorted(store.list_namespaces(prefix=("tenant", "*"), suffix=("*",))) == [("tenant", "a_%"), ("tenant", "b", "child")]
