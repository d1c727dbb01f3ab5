"""Encryption of checkpoints at rest: AES-256-GCM under a key of the operator, bound to the organization and thread of the row."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.errors import Misconfigured

NAME = "aes256gcm"
KEY = 32  # bytes
NONCE = 12  # bytes, random: one key is good for billions of checkpoints


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a key file, one per line in base64. The first encrypts; all of them decrypt, so that a key can be replaced."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the file of WEFT_CHECKPOINT_KEY_FILE, {path}, cannot be read: {error}") from None
    if mode & 0o077:
        raise Misconfigured(f"others can read the checkpoint key: run `chmod 600 {path}`")
    return tuple(_key(line, number, path) for number, line in enumerate(lines, 1)) or (_key("", 1, path),)


def _key(line: str, number: int, path: Path) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY:
        raise Misconfigured(f"line {number} of {path} is not a key: `openssl rand -base64 {KEY}` makes one") from None
    return key


class Sealed:
    """LangGraph's CipherProtocol for the rows of one thread. A row moved to another thread or organization does not open."""

    def __init__(self, keys: Sequence[bytes], place: str) -> None:
        self._keys = keys
        self._place = place.encode()

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = secrets.token_bytes(NONCE)
        return NAME, nonce + AESGCM(self._keys[0]).encrypt(nonce, plaintext, self._place)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        if ciphername != NAME or not self._keys:
            raise Misconfigured(f"a checkpoint is encrypted ({ciphername}): set WEFT_CHECKPOINT_KEY_FILE to the file with its key")
        for key in self._keys:
            try:
                return AESGCM(key).decrypt(ciphertext[:NONCE], ciphertext[NONCE:], self._place)
            except InvalidTag:
                continue
        raise Misconfigured(
            "a checkpoint cannot be decrypted: no key in the file of WEFT_CHECKPOINT_KEY_FILE fits; "
            "add a line with the key it was written with"
        )
