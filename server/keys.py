"""The key folder: secrets that Weft makes for itself, each in a file that only its owner can read."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import Misconfigured

if TYPE_CHECKING:
    from graphs.connections import MasterKey

MASTER = "master.json"  # the keys under which secrets of connections are sealed; the first seals, all open
OWNER_KEY = "owner-key"  # the API key of the first user, kept so that it can be shown again on this machine
POSTGRES = "postgres"  # passwords of the embedded Postgres; store/embedded.py writes and guards this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the key folder holds. All of it stays out of repr, logs and the database."""

    folder: Path
    pepper: bytes = field(repr=False)  # 32 bytes; API keys are kept as HMACs under it
    request_state: bytes = field(repr=False)  # 32 bytes; seals what MCP clients carry between rounds


def open_keys(folder: Path) -> Keys:
    """Reads the keys and makes what is missing. Raises Misconfigured when somebody else could read them."""
    _private_folder(folder)
    return Keys(
        folder=folder,
        pepper=bytes.fromhex(_kept(folder / "pepper")),
        request_state=bytes.fromhex(_kept(folder / "request-state")),
    )


def read(path: Path) -> str | None:
    """The secret in `path`, or None when there is none. Raises Misconfigured when others may read the file."""
    try:
        _refuse_looser(path, 0o600)
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"The key file {path} cannot be read ({error}); restore it from a backup.") from None


def write(path: Path, secret: str) -> bool:
    """Puts `secret` into a new file; False when another process was first. A half-written key is never seen under its name:
    it is written beside and linked, and a link, like O_EXCL, refuses to replace."""
    try:
        descriptor, beside = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secret + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)
        finally:
            Path(beside).unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise Misconfigured(
            f"Weft cannot write its keys to {path.parent} ({error.strerror}); make it writable or set WEFT_KEYS_DIR."
        ) from None
    return True


def master_keys(folder: Path) -> tuple[MasterKey, ...]:
    """The keys of the folder's master.json, made when it is missing. Raises Misconfigured when it is damaged or others may read it."""
    path = folder / MASTER
    if (text := read(path)) is None:
        write(path, _written([_new_master()]))
        text = read(path)
    try:
        keys = tuple(_master(entry) for entry in json.loads(text or "")["keys"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        keys = ()
    if not keys:
        raise Misconfigured(f"The key file {path} is damaged; restore it from a backup. Without it, secrets of connections stay shut.")
    return keys


def replace_master(folder: Path, *, kept: Sequence[MasterKey], add: bool) -> tuple[MasterKey, ...]:
    """Writes the file anew with what is `kept`, in that order, and with `add` a new key before them: the one that seals from now on."""
    keys = ([_new_master()] if add else []) + list(kept)
    path = folder / MASTER
    beside = folder / f".new-{secrets.token_hex(8)}"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(_written(keys) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise Misconfigured(f"Weft cannot write {path} ({error.strerror}); make its folder writable.") from None
    return tuple(keys)


def _new_master() -> MasterKey:
    from graphs.connections import MasterKey

    return MasterKey(id=secrets.token_hex(6), key=secrets.token_bytes(32))


def _master(entry: dict[str, Any]) -> MasterKey:
    from graphs.connections import MasterKey

    key = base64.b64decode(entry["key"], validate=True)
    if len(key) != 32 or not isinstance(entry["id"], str) or not entry["id"]:
        raise ValueError
    return MasterKey(id=entry["id"], key=key)


def _written(keys: Sequence[MasterKey]) -> str:
    return json.dumps({"keys": [{"id": key.id, "key": base64.b64encode(key.key).decode()} for key in keys]})


def _kept(path: Path) -> str:
    found = read(path)
    if found is None:
        write(path, secrets.token_hex(32))
        found = read(path)
    if found is None or len(found) != 64:
        raise Misconfigured(f"The key file {path} is damaged; restore it from a backup. Without it, API keys and the database stay shut.")
    return found


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"Weft cannot make the folder {folder} ({error.strerror}); make its parent writable or set WEFT_DATA_DIR (or WEFT_KEYS_DIR)."
        ) from None
    _refuse_looser(folder, 0o700)


def _refuse_looser(path: Path, mode: int) -> None:
    if os.name == "nt":  # permissions there are ACLs of the user profile
        return
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & ~mode:
        raise Misconfigured(f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); run: chmod {mode:o} {path}")
    if found.st_uid != os.geteuid():
        raise Misconfigured(
            f"{path} belongs to another user; run Weft as that user or set WEFT_KEYS_DIR or WEFT_DATA_DIR to another folder."
        )
