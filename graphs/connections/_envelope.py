"""The envelope of a secret: a data key of its own, wrapped by a master key of the operator; both bound to whose secret it is.

AES-256-GCM twice. The associated data of the sealed value is JSON of [organization, connection, version, field]; that of the data key
also names the master key. So a row that was moved to another organization, connection, field or version does not open, nor does one
whose key id was changed. Replacing a master key wraps the data keys anew and leaves the values as they are.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.errors import Misconfigured
from store.secrets import Sealed, Wrapped

KEY = 32  # bytes
NONCE = 12  # bytes, random; a data key seals one value only, a master key some millions of data keys at most


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKey:
    """`id` stands beside what it has wrapped."""

    id: str
    key: bytes = field(repr=False)


class Vault:
    """Seals and opens with the master keys that `read` gives: the first seals, all open. They are read again when one is asked for that
    is not known, and before sealing: another process may have made a new one."""

    def __init__(self, read: Callable[[], Sequence[MasterKey]]) -> None:
        self._read = read
        self._keys: dict[str, MasterKey] = {}

    def __repr__(self) -> str:
        return "Vault()"

    def first(self) -> MasterKey:
        """The key that seals."""
        keys = self._read()
        self._keys = {key.id: key for key in keys}
        return keys[0]

    def seal(self, place: Place, value: str) -> Sealed:
        master, data_key = self.first(), secrets.token_bytes(KEY)
        wrapped = _encrypt(master.key, data_key, place.wrapping(master.id))
        sealed = _encrypt(data_key, value.encode(), place.sealing())
        return Sealed(field=place.field, version=place.version, key_id=master.id, wrapped=wrapped, sealed=sealed)

    def open(self, place: Place, secret: Sealed) -> str:
        """Raises Misconfigured when it is not the secret of this place, or its master key is not here."""
        try:
            return _decrypt(self._data_key(place, secret.key_id, secret.wrapped), secret.sealed, place.sealing()).decode()
        except (InvalidTag, ValueError):
            raise _refused(place) from None

    def rewrap(self, place: Place, old: Wrapped) -> tuple[str, bytes]:
        """The data key under the first master key: its id and the wrapped bytes. Raises Misconfigured."""
        try:
            data_key = self._data_key(place, old.key_id, old.wrapped)
        except (InvalidTag, ValueError):
            raise _refused(place) from None
        master = self.first()
        return master.id, _encrypt(master.key, data_key, place.wrapping(master.id))

    def _data_key(self, place: Place, key_id: str, wrapped: bytes) -> bytes:
        if key_id not in self._keys:
            self.first()
        if key_id not in self._keys:
            raise Misconfigured(
                f"the {place.field} of a connection is sealed under the master key {key_id!r}, which is not in the key folder; "
                "restore master.json from where you keep its copy"
            )
        return _decrypt(self._keys[key_id].key, wrapped, place.wrapping(key_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose secret it is."""

    org_id: str
    connection_id: str
    version: int
    field: str

    def sealing(self) -> bytes:
        return json.dumps([self.org_id, self.connection_id, self.version, self.field]).encode()

    def wrapping(self, key_id: str) -> bytes:
        return json.dumps([key_id, self.org_id, self.connection_id, self.version, self.field]).encode()


def _encrypt(key: bytes, value: bytes, place: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, value, place)


def _decrypt(key: bytes, sealed: bytes, place: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], place)


def _refused(place: Place) -> Misconfigured:
    return Misconfigured(f"the sealed {place.field} of a connection does not open: it was changed or moved; set it again")
