"""A telephone company on loopback: takes orders for calls as the real one does, and tells of them by signed requests, as a test says."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graphs.connections.twilio import signature

ACCOUNT, TOKEN, NUMBER = "AC0123456789abcdef", "token-of-the-account-0123456789", "+15005550006"


@dataclass
class Phone:
    """A telephone that was called. What the company posts for it is signed unless said otherwise."""

    company: Company
    sid: str
    order: dict[str, list[str]]
    heard: list[str] = field(default_factory=list[str])
    gather: dict[str, str] = field(default_factory=dict[str, str])
    over: bool = False

    @property
    def to(self) -> str:
        return self.order["To"][0]

    async def status(self, status: str, **more: str) -> Response | httpx2.Response:
        return await self.post(self.order["StatusCallback"][0], CallStatus=status, **more)

    async def answer(self) -> str:
        """Somebody picks up; what they hear."""
        return self.listen(await self.post(self.order["Url"][0], CallStatus="in-progress"))

    async def press(self, keys: str) -> str:
        return self.listen(await self.post(self.gather["action"], CallStatus="in-progress", Digits=keys))

    async def speak(self, words: str) -> str:
        return self.listen(await self.post(self.gather["action"], CallStatus="in-progress", SpeechResult=words, Confidence="0.9"))

    async def silence(self) -> str:
        return self.listen(await self.post(self.gather["action"], CallStatus="in-progress"))

    def listen(self, response: httpx2.Response) -> str:
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/xml")
        return self.obey(response.text)

    def obey(self, twiml: str) -> str:
        root = ElementTree.fromstring(twiml)
        found = root.find("Gather")
        self.gather = dict(found.attrib) if found is not None else {}
        self.over = root.find("Hangup") is not None
        text = " ".join(part.text or "" for part in root.iter("Say"))
        self.heard.append(text)
        return text

    async def post(self, url: str, *, token: str = TOKEN, signed: str | None = None, headers: Any = None, **fields: str) -> httpx2.Response:
        sent = {"CallSid": self.sid, "AccountSid": ACCOUNT, "To": self.to, "From": NUMBER, "ApiVersion": "2010-04-01", **fields}
        right = signature(token, url, list(sent.items()))
        given = {"X-Twilio-Signature": right if signed is None else signed, "content-type": "application/x-www-form-urlencoded"}
        return await self.company.client.post(url, content=urlencode(sent).encode(), headers={**given, **(headers or {})})


class Company:
    """`refuse`: answers instead of calling; `hold`: orders are taken and not answered until it is set."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.phones: dict[str, Phone] = {}
        self.rung: asyncio.Queue[Phone] = asyncio.Queue()
        self.updates: asyncio.Queue[tuple[str, dict[str, str]]] = asyncio.Queue()
        self.refuse: list[tuple[int, dict[str, Any]]] = []
        self.hold: asyncio.Event | None = None
        self.deaf = 0  # so many wishes are answered with 503
        self.missed: asyncio.Queue[str] = asyncio.Queue()
        self.credentials: set[str] = set()
        self._numbers = itertools.count(1)
        self.app = Starlette(
            routes=[
                Route("/2010-04-01/Accounts/{account}.json", self._account),
                Route("/2010-04-01/Accounts/{account}/Calls.json", self._call, methods=["POST"]),
                Route("/2010-04-01/Accounts/{account}/Calls/{sid}.json", self._update, methods=["POST"]),
            ]
        )

    async def _account(self, request: Request) -> Response:
        self._authorized(request)
        return JSONResponse({"sid": ACCOUNT, "status": "active"})

    async def _call(self, request: Request) -> Response:
        order = parse_qs((await request.body()).decode(), strict_parsing=True)
        self._authorized(request)
        if self.refuse:
            status, body = self.refuse.pop(0)
            return JSONResponse(body, status)
        phone = Phone(self, f"CA{next(self._numbers):032d}", order)
        self.phones[phone.sid] = phone
        self.rung.put_nowait(phone)
        if self.hold:
            await self.hold.wait()
        return JSONResponse({"sid": phone.sid, "status": "queued"}, 201)

    async def _update(self, request: Request) -> Response:
        self._authorized(request)
        fields = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        sid = request.path_params["sid"]
        if self.deaf:
            self.deaf -= 1
            self.missed.put_nowait(sid)
            return JSONResponse({}, 503)
        phone = self.phones[sid]
        if "Twiml" in fields:
            phone.obey(fields["Twiml"])
        phone.over = True
        self.updates.put_nowait((sid, fields))
        return JSONResponse({"sid": sid, "status": "completed"})

    def _authorized(self, request: Request) -> None:
        kind, _, given = request.headers["authorization"].partition(" ")
        assert kind == "Basic"
        self.credentials.add(base64.b64decode(given).decode())

    async def phone(self) -> Phone:
        """The next telephone that is called."""
        async with asyncio.timeout(20):
            return await self.rung.get()

    async def told(self) -> tuple[str, dict[str, str]]:
        """The next thing that the house wants of a call."""
        async with asyncio.timeout(20):
            return await self.updates.get()


@asynccontextmanager
async def company() -> AsyncGenerator[Company]:
    async with httpx2.AsyncClient(timeout=20) as client:
        yield Company(client)


def ticket(phone: Phone) -> str:
    found = re.search(r"/hooks/voice/([^/]+)/", phone.order["Url"][0])
    assert found is not None
    return found[1]
