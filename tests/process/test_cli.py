"""Whatever goes wrong at the command line is a sentence on stderr and an exit code."""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Server
from tests.process.conftest import Installation, Kept

GOOD = '{"name": "greet", "nodes": [{"id": "hello", "type": "set", "config": {"values": {"text": "hello"}}}]}'


def test_it_says_its_version(fresh: Installation) -> None:
    done = fresh.weft("--version")
    assert (done.code, done.out) == (0, f"weft {version('weft')}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("srve",), "No such command 'srve'"),
        (("serve", "--port", "many"), "--port"),
        (("run",), "Missing argument 'file'"),
        (("run", "nowhere.yaml"), "There is no file nowhere.yaml."),
        (("run", "/"), "/ cannot be read: Is a directory."),
        (("run", "-", "--input", "-"), "not both"),
        (("run", "-", "--mocks", "{}"), "--test"),
        (("run", "-", "--input", "@nowhere.json"), "There is no file nowhere.json."),
        (("run", "-", "--input", '{"a": '), "--input: not valid"),
        (("key", "create", "x", "--role", "king"), "king"),
        (("migrate", "sideways"), "sideways"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(fresh: Installation, arguments: tuple[str, ...], words: str) -> None:
    done = fresh.weft(*arguments, stdin=GOOD)
    assert words in done.err
    assert (done.code, done.out) == (2, "")
    assert not fresh.data_dir.exists()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"name": "x",\n "nodes": [}', "line 2, column 12"),
        ("name: x\nnodes:\n  - id: [a\n", "line 4"),
        ("name: x\nname: y\n", "a key occurs twice at line"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_located_by_line(fresh: Installation, tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    done = fresh.weft("run", str(file))
    assert done.code == 2
    assert place in done.err
    assert str(file) in done.err


def test_unknown_settings_are_told_before_anything_starts(fresh: Installation) -> None:
    done = fresh.weft("serve", WEFT_PROT="1")
    assert (done.code, done.err) == (2, "weft: WEFT_PROT is not a setting of Weft; did you mean WEFT_PORT?\n")


def test_a_database_that_does_not_answer_is_named_without_its_password(fresh: Installation) -> None:
    for command in (("serve", "--port", "0"), ("worker",), ("migrate",), ("migrate", "status"), ("key", "list")):
        done = fresh.weft(*command, WEFT_DATABASE_URL="postgresql://weft_app:hush-hush@127.0.0.1:1/weft")
        assert done.code == 1, done.err
        assert "Postgres does not answer (127.0.0.1:1" in done.err
        assert "hush-hush" not in done.err


def test_a_port_in_use_is_named_with_the_way_out(fresh: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = fresh.weft("serve", "--port", str(port))
    assert done.code == 2
    assert f"Port {port} is in use" in done.err
    assert "--port" in done.err
    assert not fresh.data_dir.exists()


def test_an_address_that_is_not_ours_is_named(fresh: Installation) -> None:
    done = fresh.weft("serve", "--host", "192.0.2.1", "--port", "0", WEFT_ALLOWED_HOSTS="weft.example.com")
    assert done.code == 2
    assert "WEFT_HOST" in done.err


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("key", "list"), ("migrate",)])
def test_a_data_folder_that_cannot_be_made_is_named(fresh: Installation, command: tuple[str, ...]) -> None:
    fresh.data_dir.write_text("a file where the folder should be")
    done = fresh.weft(*command)
    assert done.code == 2
    assert str(fresh.data_dir) in done.err
    assert "WEFT_DATA_DIR" in done.err


def test_keys_that_others_can_read_are_refused(fresh: Installation) -> None:
    (fresh.data_dir / "keys").mkdir(parents=True, mode=0o700)
    pepper = fresh.data_dir / "keys" / "pepper"
    pepper.write_text("ab" * 32)
    pepper.chmod(0o644)
    done = fresh.weft("serve", "--port", "0")
    assert done.code == 2
    assert f"chmod 600 {pepper}" in done.err


# -- somebody else's Postgres ----------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_database(kept: Kept) -> Generator[str]:
    """A durable database without our schema, as an operator hands it over: the superuser's URL."""
    admin = kept.postgres.url("postgres", kept.postgres.passwords.admin, "postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS operators WITH (FORCE)")
        connection.execute("CREATE DATABASE operators")
        try:
            yield kept.postgres.url("postgres", kept.postgres.passwords.admin, "operators")
        finally:
            connection.execute(sql.SQL("DROP DATABASE operators WITH (FORCE)"))


def test_an_old_schema_is_refused_until_the_operator_migrates(fresh: Installation, kept: Kept, empty_database: str) -> None:
    app = kept.postgres.url("weft_app", kept.postgres.passwords.app, "operators")
    external = {"WEFT_DATABASE_URL": app, "WEFT_ADMIN_DATABASE_URL": empty_database}
    done = fresh.weft("migrate", "status", **external)
    assert (done.code, done.out.splitlines()[-1]) == (1, "Run: weft migrate up")
    done = fresh.weft("migrate", **external)
    assert done.code == 0
    assert "applied 0001_expand_first_light" in done.out
    assert fresh.weft("key", "list", **external).out.count("active") == 1
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("DELETE FROM weft.migrations")
    done = fresh.weft("serve", "--port", "0", **external)
    assert done.code == 2
    assert "old schema" in done.err
    assert "weft migrate up" in done.err


def test_a_schema_newer_than_this_weft_is_refused(fresh: Installation, kept: Kept, empty_database: str) -> None:
    app = kept.postgres.url("weft_app", kept.postgres.passwords.app, "operators")
    external = {"WEFT_DATABASE_URL": app, "WEFT_ADMIN_DATABASE_URL": empty_database}
    assert fresh.weft("migrate", **external).code == 0
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("INSERT INTO weft.migrations (number, name, checksum) SELECT max(number) + 1, 'later', 'x' FROM weft.migrations")
    done = fresh.weft("serve", "--port", "0", **external)
    assert done.code == 2
    assert "newer than this version of Weft" in done.err


def test_a_postgres_that_would_lose_work_is_refused(fresh: Installation, server: Server, app_url: str) -> None:
    done = fresh.weft("serve", "--port", "0", WEFT_DATABASE_URL=app_url)
    assert done.code == 2
    assert "fsync is off" in done.err


# -- keys ------------------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_alone_on_stdout_and_can_be_revoked(installation: Installation) -> None:
    made = installation.weft("key", "create", "laptop", "--role", "operator", "--days", "30")
    assert made.code == 0
    assert re.fullmatch(r"weft_live_[0-9a-f]{12}_[0-9A-Za-z]{49}\n", made.out)
    key_id = made.out[10:22]
    listed = installation.weft("key", "list").out
    assert made.out.strip() not in listed
    assert re.search(rf"{key_id}  active .*operator \(operator\) +laptop", listed)
    assert installation.weft("key", "revoke", key_id).code == 0
    assert re.search(rf"{key_id}  revoked", installation.weft("key", "list").out)


def test_revoking_a_key_that_is_not_there_is_a_sentence(installation: Installation) -> None:
    done = installation.weft("key", "revoke", "0123456789ab")
    assert (done.code, done.err) == (1, "weft: There is no API key 0123456789ab; `weft key list` shows them.\n")


def test_a_user_keeps_the_role_it_has(installation: Installation) -> None:
    assert installation.weft("key", "create", "one", "--role", "viewer", "--user", "ann").code == 0
    done = installation.weft("key", "create", "two", "--role", "owner", "--user", "ann")
    assert done.code == 1
    assert "has the role viewer" in done.err


def test_the_first_key_is_a_private_file(installation: Installation) -> None:
    installation.weft("key", "list")
    file = installation.data_dir / "keys" / "owner-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert installation.key.startswith("weft_live_")
