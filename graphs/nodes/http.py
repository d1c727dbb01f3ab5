"""http: calls a web address and reads the answer."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from graphs.definition import Closed, Duration, Json, Retry, Schema, seconds
from graphs.nodetype import Context, Effect, Failure, Family
from graphs.outbound import REFUSED, Answer, parse_json, retry_after

if TYPE_CHECKING:
    from graphs.connections import Connection

SUMMARY = "Call a URL. Output `body` is the parsed JSON or the text, with `status`, `ok` and `headers`; other statuses than 2xx fail."
FAMILY: Family = "action"
LABELS = frozenset({"egress", "untrusted"})
CONNECTS = frozenset({"http", "openapi"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"url": "https://api.example.com/orders/{{ input.order_id }}", "headers": {"Accept": "application/json"}},
    {"method": "POST", "url": "/refunds", "connection": "payments", "json": {"amount": "{{ nodes.classify.amount }}"}, "idempotent": True},
    {"url": "https://api.example.com/search", "params": {"q": "{{ input.query }}", "limit": 10}, "expect": ["2xx", 404], "timeout": "10s"},
)

MAX_TEXT = 5_000_000  # characters of a request body
MAX_HEADERS, MAX_HEADER = 50, 1000
SHOWN = 300  # characters of a failed answer that go into the message
READS = frozenset({"GET", "HEAD", "OPTIONS"})
UNPROCESSED = frozenset({408, 425, 429})  # the receiver says that it has done nothing
UNSENT = REFUSED | {"blocked_address", "bad_url", "bad_request", "connect", "tls"}
DROPPED = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authorization"})  # of the answer: state would keep them
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"})
CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
CHARSETS = re.compile(
    r"utf-?(8|16|32)([lb]e)?|(us-)?ascii|latin-?1|iso-?8859-\d+|windows-\d+|cp\d+|koi8-[ru]|shift_jis|euc-\w+|gb\w+|big5", re.I
)

Scalar = str | int | float | bool | None
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]


class Config(Closed):
    url: str = Field(
        min_length=1,
        max_length=8000,
        description="http(s), or a path under `connection`; query values belong in `params`, which escapes them",
    )
    connection: str | None = Field(
        default=None, max_length=64, description="what authorizes the call (its secret stays out of the run); `url` may then be a path"
    )
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    params: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict, description="query parameters; null leaves one out")
    headers: dict[HeaderName, str | None] = Field(default_factory=dict, max_length=100, description="null leaves one out")
    json_body: Json = Field(default=None, alias="json", description="sent as JSON")
    text: str | None = Field(default=None, max_length=MAX_TEXT, description="sent as it is; set Content-Type in `headers`")
    idempotent: bool = Field(default=False, description="the receiver honours Idempotency-Key, so a POST or PATCH may be repeated")
    expect: tuple[Annotated[int, Field(ge=100, le=599)] | Literal["2xx", "3xx", "4xx", "5xx"], ...] = Field(
        default=("2xx",), min_length=1, max_length=20, strict=False, description="statuses that succeed; any other fails the step"
    )
    binary: Literal["refuse", "base64"] = Field(default="refuse", description="what to do with an answer that is not text")
    follow_redirects: bool = True
    max_bytes: int = Field(default=1_000_000, ge=1, le=10_000_000, description="of the unpacked answer")
    timeout: Duration = Field(default="30s", description="of the whole call")

    @field_validator("headers")
    @classmethod
    def _not_ours(cls, headers: dict[str, str | None]) -> dict[str, str | None]:
        for name in headers:
            if name.lower() in OURS or name.lower().startswith("proxy-"):
                raise ValueError(f"{name} is set by the HTTP client and cannot be given")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> Config:
        if sends_json(self) and self.text is not None:
            raise ValueError("give json or text, not both")
        if self.method in READS and (sends_json(self) or self.text is not None):
            raise ValueError(f"a {self.method} request has no body; set `method` to POST, PUT or PATCH, or use `params`")
        return self


def sends_json(config: Config) -> bool:
    """Whether there is a JSON body; null is one."""
    return "json_body" in config.model_fields_set


def effect(config: Config) -> Effect:
    if config.method in READS:
        return Effect.READ
    return Effect.WRITE_IDEMPOTENT if config.method in ("PUT", "DELETE") or config.idempotent else Effect.WRITE_ONCE


def output(config: Config) -> Schema:
    properties: Schema = {
        "status": {"type": "integer"},
        "ok": {"type": "boolean"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "body": {},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    target = await _target(config, context)
    answer = await _asked(config, context, target)
    if answer.status == 401 and _refused(config, answer) and await target.renew():
        target = await _target(config, context)
        answer = await _asked(config, context, target)
    if _refused(config, answer) and (refusal := target.refusal(answer)):
        raise refusal
    ok = 200 <= answer.status < 300
    headers = {name: target.clean(value) for name, value in answer.headers.items()}  # before any of it is cut short
    answer = replace(answer, reason=target.clean(answer.reason), headers=headers)
    if not _expected(config, answer.status):
        raise _unexpected(config, answer, target.clean(" ".join((_text(answer) or "").split())))
    return {"status": answer.status, "ok": ok, "headers": _shown(answer), "body": _body(config, answer)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where the call goes, and what authorizes it: in no rendered config and no record. `clean` blots it out of what comes back."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    params: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    clean: Callable[[str], str] = str
    connection: Connection | None = None

    async def renew(self) -> bool:
        """Whether there is another token since the call was refused."""
        return self.connection is not None and await self.connection.renew(self.headers.get("Authorization", ""))

    def refusal(self, answer: Answer) -> Failure | None:
        said = answer.headers.get("www-authenticate", "")
        return self.connection.refusal(answer.url, answer.status, said) if self.connection else None


def _refused(config: Config, answer: Answer) -> bool:
    """The server did nothing because of who asked: certain only of the request itself, not of where it led on to."""
    return answer.status in (401, 403) and not answer.redirected and not _expected(config, answer.status)


async def _target(config: Config, context: Context) -> _Target:
    if config.connection is None:
        return _Target(url=config.url)
    connection = await context.connection(config.connection, kind=CONNECTS)
    url = connection.address(config.url)
    headers, params = await connection.headers(url), await connection.params(url)
    return _Target(url=url, headers=headers, params=params, clean=connection.redactor.text, connection=connection)


async def _asked(config: Config, context: Context, target: _Target) -> Answer:
    try:
        return await _call(config, context, target)
    except Failure as failure:
        raise _in_doubt(config, failure) from None


async def _call(config: Config, context: Context, target: _Target) -> Answer:
    authorized = {name.lower() for name in target.headers}
    headers = {name: value for name, value in config.headers.items() if value is not None and name.lower() not in authorized}
    if effect(config) is not Effect.READ and "idempotency-key" not in {name.lower() for name in headers}:
        headers["Idempotency-Key"] = _key(context.idempotency_key)
    body: dict[str, Any] = {"json": config.json_body} if sends_json(config) else {"content": config.text}
    return await context.outbound.request(
        config.method,
        target.url,
        headers={**headers, **target.headers},
        params={**{name: value for name, value in config.params.items() if value is not None}, **target.params},
        timeout=seconds(config.timeout),
        max_bytes=config.max_bytes,
        follow_redirects=config.follow_redirects,
        **body,
    )


def _key(key: str) -> str:
    """Receivers take keys up to 255 characters at most; deep positions can be longer."""
    return key if len(key) <= 200 and key.isascii() else hashlib.sha256(key.encode()).hexdigest()


def _in_doubt(config: Config, failure: Failure) -> Failure:
    """A POST without an answer must not be repeated blindly: it may have taken effect."""
    unsent = failure.code in UNSENT and failure.details != {"sent": True}
    if effect(config) is not Effect.WRITE_ONCE or not failure.retryable or unsent:
        return failure
    message = (
        f"it is not known whether this {config.method} took effect: {failure.message}. Check at the receiver before retrying the run; "
        "if the receiver honours Idempotency-Key, set `idempotent` to true and it is repeated safely"
    )
    return Failure("in_doubt", message)


def _expected(config: Config, status: int) -> bool:
    return any(status == wanted or f"{status // 100}xx" == wanted for wanted in config.expect)


def _unexpected(config: Config, answer: Answer, said: str) -> Failure:
    """Retried when the status says that later may be better; never a POST that the receiver may have acted on."""
    wait = retry_after(answer.headers)
    later = answer.status in UNPROCESSED or answer.status >= 500
    if effect(config) is Effect.WRITE_ONCE and answer.status not in UNPROCESSED:
        later = answer.status == 503 and wait is not None
    shown = f": {said[:SHOWN]}" if said else ""
    reason = f"{answer.status} {answer.reason}".strip()
    message = f"{config.method} was answered with {reason}{shown}"
    return Failure("http_status", message, retryable=later, retry_after=wait if later else None, details={"status": answer.status})


def _shown(answer: Answer) -> dict[str, str]:
    kept = [(name, value[:MAX_HEADER]) for name, value in answer.headers.items() if name not in DROPPED]
    return dict(kept[:MAX_HEADERS])


def _body(config: Config, answer: Answer) -> Json:
    if not answer.body:
        return None
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json" or media.endswith("+json") or media == "text/json":
        return _parsed(answer)
    text = _text(answer)
    if text is not None:
        return text
    if config.binary == "base64":
        return base64.b64encode(answer.body).decode()
    raise Failure("binary_body", f"the answer ({media or 'of unknown type'}) is not text; set `binary` to base64 to take it in as base64")


def _parsed(answer: Answer) -> Json:
    try:
        return parse_json(answer.body)
    except ValueError as wrong:
        raise Failure("bad_json", f"the answer says it is JSON but is not: {wrong}") from None


def _text(answer: Answer) -> str | None:
    """The body as text in the charset it declares, else UTF-8; None when it is not text."""
    declared = CHARSET.search(answer.headers.get("content-type", ""))
    charset = declared[1] if declared and CHARSETS.fullmatch(declared[1]) else "utf-8"
    try:
        text = answer.body.decode(charset)
    except (UnicodeDecodeError, LookupError):
        return None
    return None if "\x00" in text[:1000] else text
