"""Errors of model SDKs as Failures: a code, a sentence that names the setting to look at, and whether to try again.

Both SDKs come from one generator, so their errors have one shape: `status_code`, `response`, `body`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from graphs.nodetype import Failure
from graphs.outbound import REFUSED, retry_after

if TYPE_CHECKING:
    from graphs.models import Vendor

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError)
"""What the SDKs and LangChain raise when a server answers something that is not of the API."""


def caught() -> tuple[type[Exception], ...]:
    """The errors that a call may raise; the network's are Failures already. An SDK that was never imported raises none."""
    sdks = (("openai", "OpenAIError"), ("anthropic", "AnthropicError"), ("langchain_core.exceptions", "LangChainException"))
    return (Failure, *(getattr(sys.modules[module], name) for module, name in sdks if module in sys.modules), *UNREADABLE)


def failure(full: str, vendor: Vendor, wrong: Exception) -> Failure:
    """`full` is "vendor:model". The vendor's own words are shown only where they cannot hold a key."""
    for cause in _causes(wrong):
        if isinstance(cause, Failure):
            return _network(full, vendor, cause)
    status = getattr(wrong, "status_code", None)
    if isinstance(status, int) and status >= 300:
        return _refused(full, vendor, status, wrong)
    if type(wrong).__name__ == "APITimeoutError":
        return Failure("model_timeout", f"{full} did not answer in time", retryable=True)
    if type(wrong).__name__ in ("APIError", "APIStatusError") and getattr(wrong, "body", None):
        return _broken_off(full, wrong)
    message = f"{full} answered something that is not of its API; {_look(vendor)}"
    return Failure("model_bad_answer", message, retryable=True)


def _network(full: str, vendor: Vendor, cause: Failure) -> Failure:
    if cause.code in REFUSED:
        return cause
    if cause.code == "budget_exceeded" or cause.code.startswith("model_"):  # seen by the vendor module itself
        return Failure(cause.code, f"{full}: {cause.message}", retryable=cause.retryable, retry_after=cause.retry_after)
    message = f"{full} could not be reached: {cause.message}; {_look(vendor)}"
    return Failure(f"model_{cause.code}", message, retryable=cause.retryable)


def _broken_off(full: str, wrong: Exception) -> Failure:
    """An error that came in the middle of a stream."""
    words = f"{_words(wrong)} {wrong}"
    if "rate_limit" in words:
        return Failure("model_rate_limited", f"{full}: too many requests or tokens per minute", retryable=True)
    return Failure("model_unavailable", f"{full} broke its answer off with an error: {words.strip()[:300]}", retryable=True)


def _refused(full: str, vendor: Vendor, status: int, wrong: Exception) -> Failure:
    wait = retry_after(getattr(getattr(wrong, "response", None), "headers", {}))
    match status:
        case 401:
            return Failure("model_auth", f"{full}: the API key is not accepted; check {vendor.NEEDS}")
        case 403:
            return Failure("model_auth", f"{full}: the API key may not use this model; check the key's permissions or {vendor.NEEDS}")
        case 404:
            return Failure("model_not_found", f"{full}: there is no such model at this server; check `model`, WEFT_MODEL and {vendor.BASE}")
        case 429 if "insufficient_quota" in _words(wrong):
            return Failure("model_quota", f"{full}: the account has no credit left; see its billing page")
        case 429:
            return Failure("model_rate_limited", f"{full}: too many requests or tokens per minute", retryable=True, retry_after=wait)
        case 408 | 409 | 425:
            return Failure("model_unavailable", f"{full} asked to try again later ({status})", retryable=True, retry_after=wait)
        case _ if status >= 500:
            return Failure("model_unavailable", f"{full} has trouble of its own ({status})", retryable=True, retry_after=wait)
        case _:
            return Failure("model_request", f"{full} does not accept the request ({status}): {_words(wrong)[:500]}")


def _look(vendor: Vendor) -> str:
    return f"check {vendor.BASE}" if vendor.BASE else "see the server's log"


def _words(wrong: Exception) -> str:
    """The message and code in the vendor's answer."""
    body = getattr(wrong, "body", None)
    found: Any = cast(dict[str, Any], body).get("error", body) if isinstance(body, dict) else body
    if isinstance(found, dict):
        named = cast(dict[str, Any], found)
        return " ".join(str(named[key]) for key in ("message", "code") if named.get(key))
    return str(found or wrong)


def _causes(wrong: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = wrong
    for _ in range(20):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
