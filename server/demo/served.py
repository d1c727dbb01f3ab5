"""The server of the demo as a real process: started, killed with -9, started again, stopped in order."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from server.keys import OWNER_KEY, read
from server.settings import environment
from store.errors import Unavailable

START_SECONDS = 120.0  # making a database on a slow disk included
STOP_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class Served:
    """`weft serve` in a process of its own, always on the same port and data folder."""

    data_dir: Path
    port: int
    shop_url: str
    process: asyncio.subprocess.Process | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def key(self) -> str:
        """The owner's API key."""
        return read(self.data_dir / "keys" / OWNER_KEY) or ""

    async def start(self) -> None:
        """Returns when the server says that it is ready. Raises Unavailable with the last words of its log."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        shop = self.shop_url.removeprefix("http://")
        surroundings = environment(WEFT_DATA_DIR=str(self.data_dir), WEFT_ALLOW_HOSTS=shop, WEFT_VAR_SHOP_URL=self.shop_url)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "server", "serve", "--port", str(self.port)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=surroundings,
                start_new_session=True,  # Ctrl-C in this terminal is for the demo, which stops the server in order
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready(self.process)
        except TimeoutError:
            raise Unavailable(f"The server did not get ready within {START_SECONDS:.0f} s; its log is {self.log}.") from None

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  # piped above
        async for line in process.stdout:
            if b" is ready on " in line:
                return
        await process.wait()
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it left no word"]
        raise Unavailable(f"The server ended while starting: {last[0].removeprefix('weft: ')} (log: {self.log})")

    async def kill(self) -> None:
        """kill -9: no handler runs, nothing is flushed."""
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    async def stop(self) -> None:
        """SIGTERM, and -9 when that is not enough."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            await self.kill()
