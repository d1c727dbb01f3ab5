"""A small shop on loopback, the demo's outside world. It keeps its own ledger, so what really happened is counted there and not by us."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

PARCEL_SECONDS = 0.8  # how long the shop takes for one parcel
ORDERS = [
    {"id": "A-1001", "item": "Walnut desk", "total": 420.0, "late": False},
    {"id": "A-1002", "item": "Floor lamp", "total": 89.5, "late": True},
    {"id": "A-1003", "item": "Wool rug", "total": 240.0, "late": False},
    {"id": "A-1004", "item": "Bookshelf", "total": 310.0, "late": True},
    {"id": "A-1005", "item": "Desk chair", "total": 199.0, "late": False},
    {"id": "A-1006", "item": "Coat rack", "total": 64.0, "late": False},
]


class Shop:
    """Orders, parcels and refunds. A request that carries an Idempotency-Key seen before is answered and has no second effect."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()  # by path, every request that arrived
        self.effects: Counter[str] = Counter()  # "parcel A-1001" -> how often it was really sent
        self.in_flight = 0
        self._answered: dict[str, str] = {}  # idempotency key -> receipt
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Shop]:
        """Listens on a free loopback port for the block."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        routes = [
            Route("/orders", self._orders),
            Route("/parcels", self._parcel, methods=["POST"]),
            Route("/refunds", self._refund, methods=["POST"]),
        ]
        server = _Quiet(uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield self
        finally:
            server.should_exit = True
            await serving

    async def _orders(self, request: Request) -> JSONResponse:
        self.requests["/orders"] += 1
        return JSONResponse({"orders": ORDERS})

    async def _parcel(self, request: Request) -> JSONResponse:
        order = str((await request.json())["order"])
        self.in_flight += 1
        try:
            receipt = self._once(request, f"parcel {order}")
            await asyncio.sleep(PARCEL_SECONDS)
        finally:
            self.in_flight -= 1
        return JSONResponse({"order": order, "receipt": receipt})

    async def _refund(self, request: Request) -> JSONResponse:
        amount = float((await request.json())["amount"])
        return JSONResponse({"amount": amount, "receipt": self._once(request, f"refund {amount:.2f}")})

    def _once(self, request: Request, effect: str) -> str:
        self.requests[request.url.path] += 1
        key = request.headers.get("idempotency-key", "")
        if key and key in self._answered:
            return self._answered[key]
        self.effects[effect] += 1
        receipt = f"R-{sum(self.effects.values()):03}"
        if key:
            self._answered[key] = receipt
        return receipt


class _Quiet(uvicorn.Server):
    """uvicorn that leaves signals to the demo."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
