"""Calls of OpenAPI operations: the request by the pinned shape, the answer checked softly and labelled."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from graphs.definition import Json, Schema
from graphs.inputs import problems
from graphs.nodetype import Effect, Failure
from graphs.outbound import Answer, Outbound, parse_json, retry_after
from graphs.remote.definitions import shown, usable
from graphs.remote.doubt import doubted
from graphs.remote.openapi.document import IDEMPOTENCY
from graphs.remote.openapi.requests import Request, build
from graphs.remote.opening import Opened
from graphs.remote.wire import UNSENT
from store.errors import Invalid
from store.remote_tools import Pin

MAX_BYTES = 2_000_000  # of an answer
SAID = 500  # characters of a failed answer that are shown
UNPROCESSED = frozenset({408, 425, 429})  # the receiver says that it has done nothing


async def call(
    outbound: Outbound, connection: Opened, pin: Pin, arguments: Mapping[str, Json], *, key: str, seconds: float
) -> dict[str, Json]:
    """{status, data, media_type, notes, untrusted}. Raises Failure."""
    definition: dict[str, Any] = pin.definition or {}
    effect = Effect(pin.effect or Effect.WRITE_ONCE)
    request = build(definition["request"], str(connection.settings["base_url"]), arguments)
    if key and effect is not Effect.READ and IDEMPOTENCY not in {name.lower() for name in request.headers}:
        request.headers["Idempotency-Key"] = key if len(key) <= 200 and key.isascii() else hashlib.sha256(key.encode()).hexdigest()
    authorized = await connection.headers(request.url)
    what = f"{request.method} {definition['request']['path']}"
    answer = await _answered(outbound, connection, request, authorized, seconds, effect, what)
    if answer.status == 401 and _did_nothing(answer) and await connection.renew(authorized.get("Authorization", "")):
        answer = await _answered(outbound, connection, request, await connection.headers(request.url), seconds, effect, what)
    if _did_nothing(answer) and (refusal := connection.refusal(request.url, answer.status, answer.headers.get("www-authenticate", ""))):
        raise refusal
    if not 200 <= answer.status < 300:
        raise _refused(definition, effect, answer)
    notes: list[str] = []
    data = _data(answer, notes)
    notes += _differences(definition.get("output_schema"), answer, data)
    return {"status": answer.status, "data": data, "media_type": _media(answer), "notes": notes, "untrusted": True}


def _did_nothing(answer: Answer) -> bool:
    """Because of who asked: certain only of the request itself, not of where it led on to."""
    return answer.status in (401, 403) and not answer.redirected


async def _answered(
    outbound: Outbound, connection: Opened, request: Request, authorized: Mapping[str, str], seconds: float, effect: Effect, what: str
) -> Answer:
    try:
        return await outbound.request(
            request.method,
            request.url,
            headers={"Accept": "application/json, */*;q=0.5", **request.headers, **authorized},
            content=request.content,
            params=await connection.params(request.url),
            timeout=seconds,
            max_bytes=MAX_BYTES,
        )
    except Failure as wrong:
        sent = wrong.code not in UNSENT or wrong.details == {"sent": True}
        raise doubted(wrong, effect, sent=sent, what=what) from None


def _refused(definition: Mapping[str, Any], effect: Effect, answer: Answer) -> Failure:
    """Retried when the status says that later may be better; never a write that the receiver may have acted on."""
    wait = retry_after(answer.headers)
    later = answer.status in UNPROCESSED or answer.status >= 500
    if effect is Effect.WRITE_ONCE and answer.status not in UNPROCESSED:
        later = answer.status == 503 and wait is not None
    said = shown(" ".join(answer.body[: 4 * SAID].decode("utf-8", "replace").split()), SAID)
    message = f"{definition['name']} was answered with {answer.status}" + (f": {said}" if said else "")
    details: dict[str, Json] = {"status": answer.status}
    return Failure("http_status", message, retryable=later, retry_after=wait if later else None, details=details)


def _data(answer: Answer, notes: list[str]) -> Json:
    if not answer.body:
        return None
    media = _media(answer)
    if media == "application/json" or media.endswith("+json"):
        try:
            return parse_json(answer.body)
        except ValueError as wrong:
            notes.append(f"the answer says it is JSON but is not: {wrong}")
    try:
        text = answer.body.decode()
    except UnicodeDecodeError:
        notes.append("the answer is not text; it is here as base64")
        return base64.b64encode(answer.body).decode()
    return text


def _media(answer: Answer) -> str:
    return shown(answer.headers.get("content-type", "").partition(";")[0].strip().lower(), 100)


def _differences(schema: Schema | None, answer: Answer, data: Json) -> list[str]:
    if schema is None or not _media(answer).endswith("json"):
        return []
    try:
        found = problems(usable(schema), data)
    except Invalid:
        return []
    return [f"not as the document says: {one['pointer'] or '/'}: {shown(one['message'], 200)}" for one in found[:5]]
