"""The official TypeScript SDK as a client of ours: an implementation of the protocol that shares no line with the server's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.types import CallToolResult, ElicitRequestFormParams, ListToolsResult

from tests.conformance.suite import Suite

SCRIPT = Path(__file__).with_suffix(".cjs")
SECONDS = 60.0
LINE = 4_000_000  # characters


class TypeScriptClient:
    """Speaks to the server through a Node process."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.protocol_version = ""

    async def heard(self) -> Any:
        assert self._child.stdout is not None
        async with asyncio.timeout(SECONDS):
            line = await self._child.stdout.readline()
        assert line, "the TypeScript client ended"
        message = json.loads(line)
        assert "error" not in message, message["error"]
        return message["result"]

    async def _ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
        return await self.heard()

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        return CallToolResult.model_validate(await self._ask("callTool", {"name": name, "arguments": arguments}))

    async def list_tools(self) -> ListToolsResult:
        return ListToolsResult.model_validate(await self._ask("listTools"))

    async def asked(self) -> list[ElicitRequestFormParams]:
        """The questions the server has put to the person, who always gives the same answer."""
        return [ElicitRequestFormParams.model_validate(params) for params in await self._ask("asked")]


@asynccontextmanager
async def typescript_client(suite: Suite, revision: str, answer: dict[str, Any] | None, **server: Any) -> AsyncGenerator[TypeScriptClient]:
    """`server` is url and key, or command, args, env and cwd. Without an `answer` there is nobody whom the client could ask."""
    settings = json.dumps({"revision": revision, "answer": answer, **server})
    child = await asyncio.create_subprocess_exec(
        str(suite.node),
        str(SCRIPT),
        str(suite.folder / "package.json"),
        settings,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE,
    )
    client = TypeScriptClient(child)
    try:
        client.protocol_version = await client.heard()
        yield client
        assert child.stdin is not None
        child.stdin.close()
        async with asyncio.timeout(SECONDS):
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
