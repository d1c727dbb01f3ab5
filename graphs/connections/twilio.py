"""twilio: telephone calls by Twilio, or any server that speaks its REST API, its TwiML and its signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from pydantic import Field

from graphs.connections._auth import Address
from graphs.definition import Closed
from graphs.documents import is_object
from graphs.nodetype import Failure
from graphs.outbound import REFUSED
from graphs.voice import News, Order, Question, Speech, masked

if TYPE_CHECKING:
    from graphs.connections import Connection
    from graphs.outbound import Answer, Outbound

SUMMARY = "Telephone calls by Twilio: the account, the number that calls, and the auth token."
SECRETS: Mapping[str, str] = {"auth_token": "the account's auth token, which also signs what Twilio tells us"}
MEDIA = "text/xml"
SECONDS: Final = 30.0  # for one request to the provider
UNSENT = REFUSED | {"blocked_address", "bad_url", "bad_request", "connect", "tls"}
STATES: Mapping[str, str | None] = {
    "queued": None,
    "initiated": None,
    "ringing": "ringing",
    "in-progress": "answered",
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no_answer",
    "failed": "failed",
    "canceled": "cancelled",
}
HINTS: Final = 20
FORM = "application/x-www-form-urlencoded"


class Settings(Closed):
    account_sid: str = Field(pattern=r"^[A-Za-z0-9_-]{2,64}$", description="AC…, from the provider's console")
    from_number: str = Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="the number that calls, in E.164 form: +4930123456")
    base_url: Address = Field(default="https://api.twilio.com", description="of the REST API")


async def check(connection: Connection, outbound: Outbound) -> str:
    """Reads the account."""
    answer = await _ask(connection, outbound, "GET", f"/2010-04-01/Accounts/{_account(connection)}.json", ())
    if answer.status in (401, 403):
        raise Failure("connection_unusable", f"it answered {answer.status}: account_sid and auth_token do not go together")
    if answer.status != 200:
        raise Failure("connection_unusable", f"it answered {answer.status}", retryable=answer.status >= 500)
    return f"the account is {_body(answer).get('status', 'there')}"


# -- calling ---------------------------------------------------------------------------------------------------------------------


async def dial(connection: Connection, outbound: Outbound, order: Order) -> str:
    """The CallSid. Raises Failure as graphs/voice says; anything else is that nothing was sent."""
    fields = [
        ("To", order.recipient),
        ("From", str(connection.settings["from_number"])),
        ("Url", order.answer_url),
        ("Method", "POST"),
        ("StatusCallback", order.status_url),
        ("StatusCallbackMethod", "POST"),
        *(("StatusCallbackEvent", event) for event in ("initiated", "ringing", "answered", "completed")),
        ("Timeout", str(order.ring)),
        ("TimeLimit", str(order.longest)),
    ]
    try:
        answer = await _ask(connection, outbound, "POST", f"/2010-04-01/Accounts/{_account(connection)}/Calls.json", fields)
    except Failure as failure:
        if failure.code in UNSENT and failure.details != {"sent": True}:
            raise
        raise Failure("in_doubt", f"it is not known whether the telephone rang: {failure.message}") from None
    name = _body(answer).get("sid")
    if answer.status in (200, 201) and isinstance(name, str) and 0 < len(name) <= 100:
        return name
    if 400 <= answer.status < 500:
        said = _said(answer).replace(order.recipient, masked(order.recipient))
        raise Failure("voice_refused", f"the provider will not call: {said}", retryable=answer.status == 429)
    raise Failure("in_doubt", f"it is not known whether the telephone rang: the provider answered {answer.status}")


async def hang_up(connection: Connection, outbound: Outbound, name: str, speech: Speech | None) -> None:
    """Ends a call, also one that is over already. Raises Failure when it could not be told."""
    path = f"/2010-04-01/Accounts/{_account(connection)}/Calls/{quote(name, safe='')}.json"
    if speech is not None:
        answer = await _ask(connection, outbound, "POST", path, [("Twiml", render(speech, ""))])
        if answer.status < 400:
            return
    answer = await _ask(connection, outbound, "POST", path, [("Status", "completed")])
    if answer.status >= 500 or answer.status in (401, 403, 429):
        raise Failure("voice_refused", f"the provider did not end the call: {_said(answer)}", retryable=True)


async def _ask(connection: Connection, outbound: Outbound, method: str, path: str, fields: Sequence[tuple[str, str]]) -> Answer:
    credentials = f"{connection.settings['account_sid']}:{connection.secret('auth_token')}"
    headers = {"authorization": "Basic " + base64.b64encode(credentials.encode()).decode(), "accept": "application/json"}
    content = urlencode(fields).encode() if fields else None
    if content is not None:
        headers["content-type"] = FORM
    url = connection.address(path)
    return await outbound.request(method, url, headers=headers, content=content, timeout=SECONDS, max_bytes=200_000, follow_redirects=False)


def _account(connection: Connection) -> str:
    return quote(str(connection.settings["account_sid"]), safe="")


def _body(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if is_object(found) else {}


def _said(answer: Answer) -> str:
    body = _body(answer)
    return f"{answer.status} {str(body.get('message') or answer.reason)[:300]}".strip()


# -- TwiML -----------------------------------------------------------------------------------------------------------------------


def render(speech: Speech, address: str) -> str:
    """TwiML. `address`: where what is heard goes, also when nothing is."""
    parts = [_say(speech, line) for line in speech.lines]
    if speech.question is None:
        parts.append("<Hangup/>")
    else:
        parts += [_gather(speech, speech.question, address), f'<Redirect method="POST">{escape(address)}</Redirect>']
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{"".join(parts)}</Response>'


def _say(speech: Speech, text: str) -> str:
    voice = f" voice={quoteattr(speech.voice)}" if speech.voice else ""
    return f"<Say language={quoteattr(speech.language)}{voice}>{escape(text)}</Say>"


def _gather(speech: Speech, question: Question, address: str) -> str:
    given = {
        "input": " ".join(word for word, wanted in (("dtmf", question.keys), ("speech", question.speech)) if wanted),
        "action": address,
        "method": "POST",
        "language": speech.language,
        "timeout": "6",
        "speechTimeout": "auto",
        "actionOnEmptyResult": "true",
    }
    if question.digits is not None:
        given["numDigits"] = str(question.digits)
    if question.choices:
        given["hints"] = ", ".join(choice.replace(",", " ") for choice in question.choices[:HINTS])
    attributes = "".join(f" {name}={quoteattr(value)}" for name, value in given.items())
    return f"<Gather{attributes}>{_say(speech, question.text)}</Gather>"


# -- what it tells ---------------------------------------------------------------------------------------------------------------


def signature(token: str, url: str, fields: Sequence[tuple[str, str]]) -> str:
    """HMAC-SHA1 over the URL and the sorted fields, names and values one after another, in base64: the X-Twilio-Signature."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def authentic(connection: Connection, url: str, fields: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> bool:
    """In constant time. Of the right account, too."""
    token, given = connection.secret("auth_token"), headers.get("x-twilio-signature", "")
    if not token or not given:
        return False
    right = hmac.compare_digest(signature(token, url, fields).encode(), given.encode())
    return right and dict(fields).get("AccountSid") == connection.settings["account_sid"]


def news(connection: Connection, fields: Sequence[tuple[str, str]]) -> News:
    told = dict(fields)
    error = told.get("SipResponseCode") or told.get("ErrorCode")
    return News(
        name=told.get("CallSid", "")[:100],
        state=STATES.get(told.get("CallStatus", "")),
        keys=told.get("Digits", ""),
        speech=told.get("SpeechResult", ""),
        error=f"the provider says {error[:100]}" if error else None,
    )
