"""Ids made on our side: RFC 9562 version 7, so that rows made one after another lie side by side in the indexes."""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_id() -> str:
    """A fresh UUIDv7 as text: 48 bits of Unix milliseconds, 74 random bits."""
    raw = bytearray((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))
    raw[6] = (raw[6] & 0x0F) | 0x70
    raw[8] = (raw[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(raw)))


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id; what has not cannot name anything, and never reaches a query."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
