"""The key folder: secrets that Weft makes for itself, each in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from store.errors import Misconfigured

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
            f"Weft cannot write its keys to {path.parent} ({error.strerror}); make it writable or set WEFT_DATA_DIR."
        ) from None
    return True


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
            f"Weft cannot make the folder {folder} ({error.strerror}); make its parent writable or set WEFT_DATA_DIR to another folder."
        ) from None
    _refuse_looser(folder, 0o700)


def _refuse_looser(path: Path, mode: int) -> None:
    if os.name == "nt":  # permissions there are ACLs of the user profile
        return
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & ~mode:
        raise Misconfigured(f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); run: chmod {mode:o} {path}")
    if found.st_uid != os.geteuid():
        raise Misconfigured(f"{path} belongs to another user; run Weft as that user or set WEFT_DATA_DIR to another folder.")
