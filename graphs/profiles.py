"""Operations on agent profiles: save a version, show, list. Versions never change; what uses a profile keeps the one it began with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from graphs.agents.offers import Settings
from graphs.definition import Json
from graphs.models import vendors
from graphs.nodetype import QUOTED
from graphs.pinning import nearest
from graphs.runtime import Actor, Runtime
from store import agents, jsontext
from store.agents import Profile
from store.errors import Conflict, Invalid, NotFound
from store.pages import Page

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MAX_SIZE = 200_000  # characters of JSON
MAX_DESCRIPTION = 1000


async def save(
    runtime: Runtime, actor: Actor, name: str, body: Mapping[str, Json], *, description: str = "", expect: int | None = None
) -> Profile:
    """The next version; the newest as it is when that says the same. `expect`: number of the newest that this is to follow, 0 for a new
    name. Raises Invalid with every problem, Conflict when the newest is another."""
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot name a profile: small letters, digits, - and _, at most 40, a letter or digit first")
    if len(description) > MAX_DESCRIPTION:
        raise Invalid(f"the description has {len(description):,} characters; at most {MAX_DESCRIPTION:,}")
    written = _checked(body)
    digest = hashlib.sha256(jsontext.text(written).encode()).digest()
    saved = await agents.save(
        actor.tenant, name=name, digest=digest, description=description, body=written, user_id=actor.user_id, expect=expect
    )
    if saved is not None:
        return saved
    newest = await get(runtime, actor, name)
    if expect is not None and newest.version != expect:
        raise Conflict(f"the newest version of {name} is {newest.version}, not {expect}; read it again and repeat the change")
    return newest


def _checked(body: Mapping[str, Json]) -> dict[str, Json]:
    """What is kept: as it was written, if it is a profile."""
    if len(text := jsontext.text(dict(body))) > MAX_SIZE:
        raise Invalid(f"the profile has {len(text):,} characters of JSON; at most {MAX_SIZE:,}")
    if "{{" in text:
        raise Invalid("a profile holds no templates: what differs from use to use belongs into the prompt of the node", place="body")
    try:
        parsed = Settings.model_validate(body)
    except ValidationError as error:
        found = [{"pointer": "/" + "/".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()[:20]]
        listed = "; ".join(f"{one['pointer']}: {one['message']}" for one in found)
        raise Invalid(f"this is no profile: {listed}", problems=found) from None
    if parsed.system and QUOTED in parsed.system:
        raise Invalid("`system` holds recalled memories, which may be anybody's words")
    vendor = (parsed.model or "scripted").partition(":")[0]
    if vendor not in vendors():
        raise Invalid(f"{parsed.model!r} is not a model; write vendor:name with a vendor of {', '.join(vendors())}")
    return dict(body)


async def get(runtime: Runtime, actor: Actor, name: str, version: int | None = None) -> Profile:
    """A version, by default the newest. Raises NotFound with the nearest names."""
    found = await agents.get(actor.tenant, name, version=version)
    if found is None:
        known = await agents.known(actor.tenant)
        if name in known:
            raise NotFound(f"the profile {name!r} has no version {version}; the newest is {known[name]}")
        raise NotFound(f"there is no agent profile {name!r}. {nearest(name, known, 'There are')}")
    return found


async def versions(runtime: Runtime, actor: Actor, name: str) -> list[Profile]:
    """The newest first. Raises NotFound."""
    return await agents.versions(actor.tenant, name) or [await get(runtime, actor, name)]


async def page(runtime: Runtime, actor: Actor, *, limit: int = 50, cursor: str | None = None) -> Page[Profile]:
    """The newest version of each, by name."""
    return await agents.page(actor.tenant, limit=limit, cursor=cursor)


def uses_of(profile: Profile) -> list[str]:
    """What it may use, in words."""
    tools: list[dict[str, Any]] = profile.body.get("tools") or []
    return [str(tool.get("name") or next(iter(tool.values()))) for tool in tools]
