"""JSON goes into Postgres and comes back as it was."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import jsontext
from store.errors import Invalid
from store.jsontext import Json
from store.postgres import Tenant
from store.queries import Query

ECHO = Query("echo", b"SELECT %(value)s::json AS value")
ANY_TEXT = st.text(st.characters())  # with lone surrogates and NUL
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ANY_TEXT, inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5e300, 2**70, "", "half \ud800 pair", "nul \0", "日本", {"b": 1, "a": {"\0": [None, "\udfff"]}}, [[]]],
)
async def test_a_value_survives_the_database(tenant: Tenant, value: Any) -> None:
    row = cast("dict[str, Any]", await tenant.one(ECHO, dict, value=Json(value)))
    assert row == {"value": value}
    assert type(row["value"]) is type(value)


@pytest.mark.anyio
async def test_the_authors_order_of_keys_is_kept(tenant: Tenant) -> None:
    row = cast("dict[str, Any]", await tenant.one(ECHO, dict, value=Json({"z": 1, "a": 2, "m": 3})))
    assert list(row["value"]) == ["z", "a", "m"]


@pytest.mark.parametrize("value", [math.nan, math.inf, {"x": [-math.inf]}])
def test_what_json_cannot_say_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid, match="not JSON"):
        jsontext.text(value)


def test_nesting_without_end_is_invalid() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Invalid):
        jsontext.text(value)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Invalid, match="nested"):
        jsontext.text(deep)


@given(JSON)
def test_equal_values_have_one_digest_and_text_that_reads_back(value: Any) -> None:
    import json

    assert json.loads(jsontext.text(value)) == value
    assert jsontext.text(value).isascii()
    assert len(jsontext.digest(value)) == 32
