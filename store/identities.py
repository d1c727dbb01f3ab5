"""Who may come in: organizations, users and API keys. A key is shown once; what is stored is its HMAC under a pepper kept outside."""

from __future__ import annotations

import hmac
import re
import secrets
import string
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.errors import Invalid, NotFound
from store.ids import is_id
from store.postgres import Database, Session
from store.queries import load

SQL = load(__file__)

BASE62 = string.digits + string.ascii_letters
KEY = re.compile(r"weft_live_(?P<id>[0-9a-f]{12})_[0-9A-Za-z]{43}(?P<check>[0-9A-Za-z]{6})")
CACHE_SECONDS = 30.0  # a revoked key works no longer than this
CACHE_SIZE = 10_000
MAX_RUNNING = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """`max_running`: how many of its runs may be driven at once; None: as many as workers have room for."""

    id: str
    slug: str
    name: str
    max_running: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """`role` is owner, builder, operator or viewer."""

    id: str
    name: str
    role: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What may be shown of a key after its creation."""

    id: str
    name: str
    user_id: str
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a valid key stands for."""

    org_id: str
    user_id: str
    user_name: str
    role: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A key's row as the check needs it; `seconds_left` from the moment it was read, None for a key without end."""

    org_id: str
    id: str
    digest: bytes
    user_id: str
    user_name: str
    role: str
    revoked: bool
    seconds_left: float | None


ROWS: dict[str, type] = {
    "new_id": str,
    "create_organization": Organization,
    "get_organization": Organization,
    "find_organization": str,
    "all_organizations": str,
    "limit_organization": Organization,
    "create_user": User,
    "get_user": User,
    "find_user": User,
    "list_users": User,
    "create_key": ApiKey,
    "list_keys": ApiKey,
    "revoke_key": ApiKey,
    "find_key": Found,
}


async def create_organization(database: Database, *, slug: str, name: str) -> Organization:
    """Raises Conflict when the slug is taken, Invalid when it is not lower-case letters, digits and hyphens."""
    [org_id] = await database.system(SQL.new_id, str)
    created = await database.tenant(org_id).one(SQL.create_organization, Organization, slug=slug, name=name)
    assert created is not None  # noqa: S101  # INSERT … RETURNING
    return created


async def find_organization(database: Database, slug: str) -> Organization | None:
    [org_id] = await database.system(SQL.find_organization, str, slug=slug)
    return await database.tenant(org_id).one(SQL.get_organization, Organization) if org_id else None


async def get_organization(session: Session) -> Organization:
    found = await session.one(SQL.get_organization, Organization)
    assert found is not None  # noqa: S101  # its tenant is here
    return found


async def all_organizations(database: Database) -> list[str]:
    """The ids, for the chores of the house."""
    return await database.system(SQL.all_organizations, str)


async def limit_organization(session: Session, max_running: int | None) -> Organization:
    """How many runs of the organization may be driven at once; None: no limit. More that run already go on."""
    if max_running is not None and not 0 < max_running <= MAX_RUNNING:
        raise Invalid(f"max_running is {max_running}; it is a number from 1 to {MAX_RUNNING:,}, or none for no limit")
    found = await session.one(SQL.limit_organization, Organization, max_running=max_running)
    assert found is not None  # noqa: S101  # its tenant is here
    return found


async def create_user(session: Session, *, name: str, role: str) -> User:
    """Raises Conflict when the organization has a user of this name, Invalid for an unknown role."""
    created = await session.one(SQL.create_user, User, name=name, role=role)
    assert created is not None  # noqa: S101  # INSERT … RETURNING
    return created


async def get_user(session: Session, user_id: str) -> User:
    user = await session.one(SQL.get_user, User, user_id=user_id) if is_id(user_id) else None
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


async def find_user(session: Session, name: str) -> User | None:
    return await session.one(SQL.find_user, User, name=name)


async def list_users(session: Session) -> list[User]:
    return await session.all(SQL.list_users, User)


async def create_key(session: Session, *, user_id: str, name: str, pepper: bytes, lifetime: timedelta | None = None) -> tuple[ApiKey, str]:
    """A new key and its text, which nobody can show again. Without a `lifetime` it works until it is revoked."""
    text = generate()
    key = await session.one(
        SQL.create_key,
        ApiKey,
        key_id=text[10:22],
        user_id=user_id,
        name=name,
        digest=digest(text, pepper),
        lifetime=lifetime,
    )
    assert key is not None  # noqa: S101  # INSERT … RETURNING
    return key, text


async def list_keys(session: Session) -> list[ApiKey]:
    """All keys of the organization, oldest first; expired and revoked ones too."""
    return await session.all(SQL.list_keys, ApiKey)


async def revoke_key(session: Session, key_id: str) -> ApiKey:
    """From CACHE_SECONDS later on at the latest nobody comes in with this key."""
    key = await session.one(SQL.revoke_key, ApiKey, key_id=key_id)
    if key is None:
        raise NotFound(f"There is no API key {key_id}; `weft key list` shows them.")
    return key


def generate() -> str:
    """weft_live_<12 hex id>_<256 random bits in base62><checksum>: the id finds the row, the checksum lets scanners and us tell a slip."""
    body = f"weft_live_{secrets.token_hex(6)}_{_base62(secrets.randbits(256), 43)}"
    return body + _check(body)


def well_formed(text: str) -> str | None:
    """The id in a key's text; None when its form or its checksum is wrong, without asking the database."""
    match = KEY.fullmatch(text)
    return match["id"] if match is not None and match["check"] == _check(text[:-6]) else None


def digest(text: str, pepper: bytes) -> bytes:
    """A fast hash on purpose: a key is 256 random bits, which slow hashing would not protect any better."""
    return hmac.digest(pepper, text.encode(), "sha256")


class Keys:
    """Checks keys. A row once read serves for CACHE_SECONDS, so that a request costs no query; the secret is compared every time."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper
        self._cache: OrderedDict[str, tuple[float, Found]] = OrderedDict()

    async def verify(self, text: str) -> Identity | None:
        """None for a key that is malformed, unknown, wrong, expired or revoked: who asks does not learn which."""
        key_id = well_formed(text)
        found = await self._find(key_id) if key_id is not None else None
        if found is None:
            return None
        read_at, row = found
        expired = row.seconds_left is not None and time.monotonic() - read_at >= row.seconds_left
        if not hmac.compare_digest(row.digest, digest(text, self._pepper)) or row.revoked or expired:
            return None
        return Identity(org_id=row.org_id, user_id=row.user_id, user_name=row.user_name, role=row.role, key_id=row.id)

    def forget(self) -> None:
        """Reads every row anew, as after a revocation in this process."""
        self._cache.clear()

    async def _find(self, key_id: str) -> tuple[float, Found] | None:
        now = time.monotonic()
        cached = self._cache.get(key_id)
        if cached is not None and now - cached[0] < CACHE_SECONDS:
            return cached
        self._cache.pop(key_id, None)
        rows = await self._database.system(SQL.find_key, Found, key_id=key_id)
        if not rows:
            return None
        self._cache[key_id] = now, rows[0]
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return now, rows[0]


def _base62(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)
