"""Errors of model SDKs as Failures: a code, a sentence that names the setting to look at, and whether to try again.

Both SDKs come from one generator, so their errors have one shape: `status_code`, `response`, `body`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from graphs.models._messages import Call
from graphs.models._spending import estimate
from graphs.nodetype import Failure
from graphs.outbound import REFUSED, retry_after

if TYPE_CHECKING:
    from graphs.models._routes import Route

LONG = re.compile(r"context.?(length|window|size)|prompt is too long|too many tokens|input (is )?too long|request_too_large", re.IGNORECASE)
FILTERED = re.compile(r"content_filter|content_policy|content management policy", re.IGNORECASE)
LONGEST = 86_400.0  # seconds
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError)
"""What the SDKs and LangChain raise when a server answers something that is not of the API."""


def caught() -> tuple[type[Exception], ...]:
    """The errors that a call may raise; the network's are Failures already. An SDK that was never imported raises none."""
    sdks = (("openai", "OpenAIError"), ("anthropic", "AnthropicError"), ("langchain_core.exceptions", "LangChainException"))
    return (Failure, *(getattr(sys.modules[module], name) for module, name in sdks if module in sys.modules), *UNREADABLE)


def failure(route: Route, call: Call, wrong: Exception) -> Failure:
    """The vendor's own words are shown only where they cannot hold a key."""
    full = route.full
    for cause in _causes(wrong):
        if isinstance(cause, Failure):
            return _network(route, cause)
    status = getattr(wrong, "status_code", None)
    if isinstance(status, int) and status >= 300:
        return _refused(route, call, status, wrong)
    if type(wrong).__name__ == "APITimeoutError":
        return Failure("model_timeout", f"{full} did not answer in time", retryable=True)
    if type(wrong).__name__ in ("APIError", "APIStatusError") and getattr(wrong, "body", None):
        return _broken_off(route, call, f"{_words(wrong)} {wrong}")
    if isinstance(wrong, ValueError) and wrong.args and isinstance(wrong.args[0], dict):  # an error in a whole answer
        return _broken_off(route, call, _said(cast(Any, wrong.args[0])))
    message = f"{full} answered something that is not of its API; check {_address(route)}"
    return Failure("model_bad_answer", message, retryable=True)


def _network(route: Route, cause: Failure) -> Failure:
    full = route.full
    if cause.code in REFUSED:
        return cause
    if cause.code == "budget_exceeded" or cause.code.startswith("model_"):  # seen by the vendor module itself
        return Failure(cause.code, f"{full}: {cause.message}", retryable=cause.retryable, retry_after=cause.retry_after)
    message = f"{full} could not be reached: {cause.message}; check {_address(route)}"
    return Failure(f"model_{cause.code}", message, retryable=cause.retryable)


def _broken_off(route: Route, call: Call, words: str) -> Failure:
    """An error that came in an answer that had begun well."""
    if "rate_limit" in words:
        return Failure("model_rate_limited", f"{route.full}: too many requests or tokens per minute", retryable=True)
    if LONG.search(words):
        return _too_long(route, call)
    if FILTERED.search(words):
        return Failure("model_refused", f"{route.full} refused to answer: its content filter stopped it")
    return Failure("model_unavailable", f"{route.full} broke its answer off with an error: {words.strip()[:300]}", retryable=True)


def _refused(route: Route, call: Call, status: int, wrong: Exception) -> Failure:
    full, wait, words = route.full, _wait(getattr(getattr(wrong, "response", None), "headers", {})), _words(wrong)
    match status:
        case 401:
            return Failure("model_auth", f"{full}: the API key is not accepted; check {_key(route)}")
        case 403:
            return Failure("model_auth", f"{full}: the API key may not use this model; check the key's permissions or {_key(route)}")
        case 404:
            return Failure(
                "model_not_found", f"{full}: there is no such model at this server; check `model`, WEFT_MODEL and {_address(route)}"
            )
        case 429 | 402 if "insufficient_quota" in words or status == 402:
            return Failure("model_quota", f"{full}: the account has no credit left; see its billing page")
        case 429:
            return Failure("model_rate_limited", f"{full}: too many requests or tokens per minute", retryable=True, retry_after=wait)
        case 408 | 409 | 425:
            return Failure("model_unavailable", f"{full} asked to try again later ({status})", retryable=True, retry_after=wait)
        case 529:
            return Failure("model_unavailable", f"{full} is overloaded (529)", retryable=True, retry_after=wait)
        case _ if status >= 500:
            return Failure("model_unavailable", f"{full} has trouble of its own ({status})", retryable=True, retry_after=wait)
        case _ if status == 413 or LONG.search(words):
            return _too_long(route, call)
        case _ if FILTERED.search(words):
            return Failure("model_refused", f"{full} refused to answer: {words[:500]}")
        case _:
            return Failure("model_request", f"{full} does not accept the request ({status}): {words[:500]}")


def _too_long(route: Route, call: Call) -> Failure:
    """More than the model can take in at once."""
    known = route.known.context
    takes = f"the {known:,} tokens that it takes" if known else f"it takes (weft models set {route.full} --context … says how much)"
    sent = f"about {estimate(call):,} tokens were sent" + (f", and the answer may have {call.max_tokens:,}" if call.max_tokens else "")
    how = "send less (fewer or shorter messages and tools, a summary instead), lower max_tokens, or choose a model with more context"
    return Failure("model_context", f"{route.full} was given more than {takes}: {sent}; {how}")


def _wait(headers: Mapping[str, str]) -> float | None:
    """By `retry-after-ms`, which OpenAI and Azure send, else by Retry-After."""
    with suppress(ValueError):
        if (milliseconds := float(headers.get("retry-after-ms", ""))) >= 0:
            return min(milliseconds / 1000, LONGEST)
    return retry_after(headers)


def _address(route: Route) -> str:
    """Where it is said which server is asked."""
    if route.endpoint.connection:
        return f"base_url of the connection {route.endpoint.connection!r}"
    if not route.endpoint.trusted:
        return f"its base URL (weft models set {route.full} --base-url …)"
    return route.vendor.BASE or "the server's log"


def _key(route: Route) -> str:
    """Where it is said with which key."""
    if route.endpoint.connection:
        return f"that of the connection {route.endpoint.connection!r} (weft connections set-secret {route.endpoint.connection} api_key)"
    if not route.endpoint.trusted:
        return f"whether its server wants one: then it needs a connection (weft models set {route.full} --connection …)"
    return route.vendor.NEEDS


def _words(wrong: Exception) -> str:
    """The message and code in the vendor's answer."""
    body = getattr(wrong, "body", None)
    found: Any = cast(dict[str, Any], body).get("error", body) if isinstance(body, dict) else body
    return _said(cast("dict[str, Any]", found)) if isinstance(found, dict) else str(found or wrong)


def _said(error: dict[str, Any]) -> str:
    return " ".join(str(error[key]) for key in ("message", "code") if error.get(key))


def _causes(wrong: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = wrong
    for _ in range(20):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
