"""Every named query of the house prepares on the migrated schema, may be run by weft_app, and fits the row class it is read into."""

from __future__ import annotations

import dataclasses
import importlib
import re
import types
import typing
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import queries
from store.queries import Query
from tests.conftest import Server

ROOT = Path(__file__).parents[2]
FOLDERS = ("store", "memory", "graphs", "server")
CROSSING = re.compile(
    r"weft\.(next_runs|renew_leases|wake_lines|beat|leave|list_workers|forget_workers|mind_clock|all_organizations|find_api_key|find_organization|find_voice_call|calls_to_end|uuid7)\("
)
PYTHON_TYPES: dict[str, tuple[Any, ...]] = {
    "uuid": (str,),
    "text": (str,),
    "name": (str,),
    "int2": (int,),
    "int4": (int,),
    "int8": (int,),
    "bool": (bool,),
    "float4": (float,),
    "float8": (float,),
    "bytea": (bytes,),
    "timestamptz": (datetime,),
    "interval": (timedelta,),
    "json": (list, dict),
    "jsonb": (list, dict),
}


def found() -> list[tuple[str, str]]:
    """(module, query) for each section of each .sql file that lies beside a module."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.sql"))]
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), name)
        for path in files
        for name in queries.parse(path.read_text(), path.name)
    ]


@pytest.fixture(scope="module")
def connection(server: Server) -> Generator[psycopg.Connection]:
    with server.clone() as name, psycopg.connect(server.app_url(name), autocommit=True) as connection:
        yield connection


def numbered(query: Query) -> str:
    places = {name: number for number, name in enumerate(query.parameters, 1)}
    text = queries.PARAMETER.sub(lambda match: f"${places[match[1]]}", query.text.decode())
    assert "%" not in text.replace("%%", ""), "a % that is not a parameter is written %%"
    return text.replace("%%", "%")


def load(module_name: str, query_name: str) -> tuple[Any, Query]:
    module = importlib.import_module(module_name)
    return module, module.SQL.by_name[query_name]


@pytest.mark.parametrize(("module_name", "query_name"), found())
def test_a_query_prepares_and_its_columns_are_the_fields_of_its_row_class(
    connection: psycopg.Connection, module_name: str, query_name: str
) -> None:
    module, query = load(module_name, query_name)
    prepared = connection.pgconn.prepare(b"", numbered(query).encode())
    assert not prepared.error_message, prepared.error_message.decode()
    described = connection.pgconn.describe_prepared(b"")
    oids = {described.fname(i): described.ftype(i) for i in range(described.nfields)}
    assert len(oids) == described.nfields, "two columns have the same name"
    kinds = {name.decode(): type_name(connection, oid) for name, oid in oids.items() if name is not None}
    columns = {name: kind for name, kind in kinds.items() if kind != "void"}
    row = module.ROWS.get(query_name)
    if not columns:
        assert row is None, "ROWS names a row class for a query that returns no columns"
        return
    assert row is not None, f"{module_name}.ROWS names no row class for a query that returns {list(columns)}"
    compare(row, columns)


@pytest.mark.parametrize(("module_name", "query_name"), found())
def test_a_query_needs_no_right_that_weft_app_has_not(connection: psycopg.Connection, module_name: str, query_name: str) -> None:
    _, query = load(module_name, query_name)
    connection.execute(f"EXPLAIN (GENERIC_PLAN) {numbered(query)}".encode())


@pytest.mark.parametrize(("module_name", "query_name"), found())
def test_a_query_names_the_organization_itself_and_does_not_leave_it_to_row_security(module_name: str, query_name: str) -> None:
    _, query = load(module_name, query_name)
    assert "org_id" in query.parameters or CROSSING.search(query.text.decode())


@pytest.mark.parametrize("module_name", sorted({module for module, _ in found()}))
def test_row_classes_are_named_for_queries_that_exist(module_name: str) -> None:
    module = importlib.import_module(module_name)
    assert set(module.ROWS) <= set(module.SQL.by_name)


def test_an_unknown_query_says_which_file_lacks_it() -> None:
    from store import identities

    with pytest.raises(AttributeError, match=r"identities\.sql has no query named nothing"):
        _ = identities.SQL.nothing


def test_a_query_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' is there twice"):
        queries.parse("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n", "x.sql")


def type_name(connection: psycopg.Connection, oid: int) -> str:
    row = connection.execute("SELECT typname FROM pg_type WHERE oid = %s", (oid,)).fetchone()
    assert row is not None
    return row[0]


def compare(row: Any, columns: dict[str, str]) -> None:
    if not dataclasses.is_dataclass(row):  # a scalar
        assert [fits(row, kind) for kind in columns.values()] == [True]
        return
    hints = typing.get_type_hints(row)
    assert set(columns) == {field.name for field in dataclasses.fields(row)}
    wrong = {name: (kind, hints[name]) for name, kind in columns.items() if not fits(hints[name], kind)}
    assert not wrong, wrong


def fits(hint: Any, kind: str) -> bool:
    if hint is Any:
        return True
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    options = typing.get_args(hint) if union else (hint,)
    plain = {typing.get_origin(option) or option for option in options if option is not type(None)}
    if plain == {list} and kind.startswith("_"):
        return True
    return bool(plain & {*PYTHON_TYPES.get(kind, ()), Any, typing.Literal})
