"""The doctor changes nothing and says for each thing that it is fine, or what to do."""

from __future__ import annotations

import socket

from tests.process.conftest import Ended, Installation


def problems(done: Ended) -> list[str]:
    return [line.removeprefix("problem ") for line in done.out.splitlines() if line.startswith("problem ")]


def test_before_the_first_start_all_is_well_and_nothing_is_made(fresh: Installation) -> None:
    done = fresh.weft("doctor", "--port", "0")
    assert done.code == 0
    assert problems(done) == []
    assert "the first start makes the database" in done.out
    assert not fresh.data_dir.exists()


def test_a_standing_installation_is_examined_down_to_its_schema(installation: Installation) -> None:
    assert installation.weft("migrate").code == 0
    done = installation.weft("doctor", "--port", "0")
    assert done.code == 0
    for words in ("Postgres 18 (embedded), pgvector 0.8", "schema: up to date", "keys: private", "scripted provider"):
        assert words in done.out


def test_every_problem_is_listed_and_the_rest_is_still_examined(fresh: Installation) -> None:
    (fresh.data_dir / "keys").mkdir(parents=True, mode=0o755)
    done = fresh.weft("doctor", WEFT_DATABASE_URL="postgresql://weft_app:hush-hush@127.0.0.1:1/weft")
    assert done.code == 1
    found = problems(done)
    assert any("chmod 700" in line for line in found)
    assert any("Postgres does not answer" in line for line in found)
    assert "hush-hush" not in done.out + done.err


def test_wrong_settings_are_problems_too(fresh: Installation) -> None:
    done = fresh.weft("doctor", WEFT_PORT="seven", WEFT_PROT="1")
    assert done.code == 1
    assert len(problems(done)) == 2


def test_a_port_somebody_has_is_noted(fresh: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = fresh.weft("doctor", "--port", str(port))
    assert done.code == 0
    assert f"note    port {port}: Address already in use" in done.out


def test_a_file_in_place_of_the_data_folder_is_a_problem(fresh: Installation) -> None:
    fresh.data_dir.write_text("not a folder")
    done = fresh.weft("doctor", "--port", "0")
    assert done.code == 1
    assert any("is a file" in line for line in problems(done))
