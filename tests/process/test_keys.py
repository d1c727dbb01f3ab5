"""The key folder: private files, made once, refused when somebody else could read them."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.keys import open_keys, read, write
from store.errors import Misconfigured


def test_keys_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = open_keys(folder)
    assert len(first.pepper) == len(first.request_state) == 32
    assert first.pepper != first.request_state
    assert open_keys(folder) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_processes_that_start_together_get_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(open_keys, tmp_path / "keys") for _ in range(16)]
        found = [future.result().pepper for future in asked]
    assert len(set(found)) == 1
    assert not list((tmp_path / "keys").glob(".new-*"))


@pytest.mark.parametrize("name", ["pepper", "request-state", "."])
def test_what_others_could_read_is_refused_with_the_command_that_closes_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "keys"
    open_keys(folder)
    (folder / name).chmod(0o755 if name == "." else 0o644)
    with pytest.raises(Misconfigured, match="chmod"):
        open_keys(folder)


def test_a_damaged_key_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    open_keys(folder)
    (folder / "pepper").write_text("short\n")
    with pytest.raises(Misconfigured, match="damaged"):
        open_keys(folder)
    assert read(folder / "pepper") == "short"


def test_an_existing_secret_is_not_overwritten(tmp_path: Path) -> None:
    open_keys(tmp_path / "keys")
    assert write(tmp_path / "keys" / "owner-key", "first")
    assert not write(tmp_path / "keys" / "owner-key", "second")
    assert read(tmp_path / "keys" / "owner-key") == "first"


def test_the_keys_do_not_show(tmp_path: Path) -> None:
    keys = open_keys(tmp_path / "keys")
    assert keys.pepper.hex() not in repr(keys)
    assert repr(keys.pepper) not in repr(keys)


def test_a_file_in_place_of_the_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(Misconfigured, match="WEFT_DATA_DIR"):
        open_keys(tmp_path / "data" / "keys")
