"""Where telephone companies tell of calls and hear what to say next. No API key opens this: a ticket in the address that nobody can guess
does, with a signature over all that was sent; whatever is wrong with either is answered alike.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from graphs.runtime import Runtime
from graphs.voice.hooks import Forged, Told, hear_of
from server.http.gate import TooLarge
from server.http.operations import incident, problem
from store.errors import WeftError

MAX_BODY = 64_000  # bytes; what is said in answer to a prompt is a thousandth of that
MAX_FIELDS = 200
FORM = "application/x-www-form-urlencoded"


def routes(runtime: Runtime) -> list[Route]:
    async def hear(request: Request) -> Response:
        try:
            reply = await hear_of(runtime.engine, await _told(request))
        except WeftError as error:
            return problem(error)
        except Exception as error:  # noqa: BLE001 - the door: what nobody foresaw is logged and answered with an id
            return incident("voice", error)
        return Response(status_code=204) if reply is None else Response(reply.body, media_type=reply.media)

    paths = ("/hooks/voice/{ticket}/{act}", "/hooks/voice/{ticket}/said/{turn:int}")
    return [Route(path, hear, methods=["POST"], name="voice") for path in paths]


async def _told(request: Request) -> Told:
    """Raises Forged for what no provider sends, TooLarge."""
    body = await _body(request)
    act, turn = request.path_params.get("act", "said"), int(request.path_params.get("turn", 0))
    if act not in ("answer", "status") and "turn" not in request.path_params:
        raise Forged
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Forged
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise Forged from None
    headers = {name.lower(): value for name, value in request.headers.items()}
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return Told(ticket=request.path_params["ticket"], act=act, turn=turn, path=path, fields=fields, headers=headers)


async def _body(request: Request) -> bytes:
    """Counted while it comes: nothing of it is trusted yet."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                raise TooLarge
            parts.append(part)
    except ClientDisconnect:
        raise Forged from None
    return b"".join(parts)
