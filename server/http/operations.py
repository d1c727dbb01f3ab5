"""What an HTTP operation is: method, path, scope, models and a function; and how a request becomes a call of it."""

from __future__ import annotations

import difflib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphs.definition import Json
from graphs.documents import is_object
from graphs.runtime import Runtime
from server.auth import Caller, Scope
from server.callers import actor_of
from store.errors import Invalid, Unauthenticated, WeftError

logger = logging.getLogger(__name__)

JSON_TYPE = "application/json"


class Body(BaseModel):
    """A JSON request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """Query parameters; they come as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


B = TypeVar("B")
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[B, Q]):
    """A request that has passed authentication, authorization and validation."""

    caller: Caller
    path: Mapping[str, str]
    body: B
    query: Q
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. Without `body` or `query` a request may not carry any."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    summary: str
    scope: Scope
    run: Callable[[Call[Any, Any]], Awaitable[Json | Response]]
    answer: type[BaseModel]
    body: type[Body] | None = None
    query: type[Query] = Query
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200
    streams: bool = False
    media: str = JSON_TYPE  # of the answer; lines of JSON have the shape of `answer` each


def route(operation: Operation, runtime: Runtime) -> Route:
    """The operation as a Starlette route."""

    async def handle(request: Request) -> Response:
        try:
            caller = _caller(request, runtime)
            caller.need(operation.scope)
            found = await operation.run(await _call(operation, request, caller))
        except WeftError as error:
            return problem(error)
        except Exception as error:  # noqa: BLE001 - the door: what nobody foresaw is logged and answered with an id
            return incident(operation.name, error)
        return found if isinstance(found, Response) else answer(found, operation.status)

    return Route(operation.path, handle, methods=[operation.method], name=operation.name)


def _caller(request: Request, runtime: Runtime) -> Caller:
    user = request.scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        raise Unauthenticated
    return Caller(runtime=runtime, actor=actor_of(runtime, user.access_token, "http"))


async def _call(operation: Operation, request: Request, caller: Caller) -> Call[Any, Any]:
    raw = await request.body()
    if operation.body is None and raw.strip() not in (b"", b"{}"):
        raise Invalid("This operation takes no body.")
    return Call(
        caller=caller,
        path=request.path_params,
        body=_body(operation.body, raw, request.headers.get("content-type", "")) if operation.body else None,
        query=validated(operation.query, dict(request.query_params), "query parameter"),
        headers=request.headers,
    )


def _body(model: type[Body], raw: bytes, content_type: str) -> Body:
    if not raw and not any(field.is_required() for field in model.model_fields.values()):
        return model()
    if content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        raise Invalid(f"Send the body as JSON, with Content-Type: {JSON_TYPE}.")
    try:
        found: Json = _decode(raw.decode())
    except (ValueError, RecursionError) as wrong:
        raise Invalid(f"The body is not JSON: {str(wrong)[:200]}.") from None
    if not is_object(found):
        raise Invalid("The body must be a JSON object.")
    return validated(model, found, "field")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], data: dict[str, Any], what: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as wrong:
        problems = [_problem(model, error, what) for error in wrong.errors(include_url=False, include_input=False, include_context=False)]
        raise Invalid(" ".join(item["message"] for item in problems)[:1000], problems=problems) from None


def _problem(model: type[BaseModel], error: Any, what: str) -> dict[str, str]:
    pointer = "/" + "/".join(str(part) for part in error["loc"])
    name = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(model.model_fields) or 'none'}."
        return {"pointer": pointer, "message": f"There is no {what} {name!r}; {hint}"}
    if error["type"] == "missing":
        return {"pointer": pointer, "message": f"The {what} {name!r} is required."}
    return {"pointer": pointer, "message": f"{what.capitalize()} {name!r}: {error['msg']}."}


_decode = json.JSONDecoder(parse_constant=_no_constant).decode
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode(value: Json) -> bytes:
    """Compact JSON in ASCII: whatever a workflow says fits, half surrogate pairs included."""
    return _encode(value).encode()


def answer(value: Json, status: int = 200) -> Response:
    return Response(encode(value), status, media_type=JSON_TYPE)


def problem(error: WeftError) -> Response:
    """Every error of ours, in one form."""
    body = {"error": {"code": error.code, "message": error.message, "details": json.loads(json.dumps(error.details, default=str))}}
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {"Retry-After": "1"} if error.status == 503 else None
    return Response(encode(body), error.status, headers, JSON_TYPE)


def incident(where: str, error: Exception) -> Response:
    """What nobody foresaw: logged under an id, and only the id goes out."""
    number = secrets.token_hex(4)
    logger.error("%s failed unexpectedly, incident %s", where, number, exc_info=error)
    message = (
        f"This failed inside Weft; nothing you sent is known to be wrong. Try again, and report incident {number} if it happens again."
    )
    return answer({"error": {"code": "internal", "message": message, "details": {"incident": number}}}, 500)
