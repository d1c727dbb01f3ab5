"""The sandbox: pydantic-monty in worker processes. JSON text goes in, JSON text comes out, nothing else crosses.

A worker that hits a limit is left with its session at once; a worker that hangs or dies is killed and replaced by the pool. What was
found by attacking it is in the hostile corpus of tests/expressions.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from graphs.documents import is_array
from graphs.expressions.paths import ExpressionError, missing_key, no_field

if TYPE_CHECKING:
    from pydantic_monty import AsyncMonty, MontyError, ResourceLimits

MAX_RESULT = 1_000_000  # characters of JSON

# Defined in every session. The names are reserved; `w` is what the author wrote, for messages.
PRELUDE = """\
import json as _weft_json
def _weft_field(o, k, w):
    if o is None:
        return None
    if isinstance(o, dict):
        if k in o:
            return o[k]
        raise LookupError('weft' + _weft_json.dumps([w, k, 'dict', list(o)[:200]]))
    for t in (bool, int, float, str, list):
        if isinstance(o, t):
            raise LookupError('weft' + _weft_json.dumps([w, k, t.__name__, []]))
    return getattr(o, k)
def _weft_item(o, k, w):
    if o is None:
        return None
    try:
        return o[k]
    except (KeyError, IndexError, TypeError):
        if isinstance(o, dict):
            raise LookupError('weft' + _weft_json.dumps([w, k, 'dict', list(o)[:200]]))
        if isinstance(o, (list, str)) and isinstance(k, int):
            raise LookupError('weft' + _weft_json.dumps([w, k, 'length', len(o)]))
        for t in (bool, int, float, str, list):
            if isinstance(o, t) and isinstance(k, (int, str)):
                raise LookupError('weft' + _weft_json.dumps([w, k, t.__name__, []]))
        raise
def _weft_get(o, k, d=None):
    return d if o is None else o.get(k, d)
def _weft_text(o, s=''):
    return format(o, s)
def _weft_out(o):
    return _weft_json.dumps(o, allow_nan=False)[:MAX_RESULT + 1]
""".replace("MAX_RESULT", str(MAX_RESULT))
PRELUDE_LINES = PRELUDE.count("\n")
SAMPLES: dict[str, Any] = {"bool": True, "int": 0, "float": 0.0, "str": "", "list": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one feed may use. `seconds` is time of execution, not of waiting for a worker."""

    seconds: float
    memory: int

    def to_monty(self) -> ResourceLimits:
        return {
            "max_feed_duration_secs": self.seconds,
            "max_turn_duration_secs": self.seconds,
            "max_memory": self.memory,
            "max_recursion_depth": 200,
            "max_suspensions": 50,
            "max_total_sleep_secs": 0.2,
        }


class Failed(Exception):
    """Code failed inside the sandbox; `line` (1-based, of the code without the prelude) and `column` where they are known."""

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


class Sandbox:
    """One pool of workers, one trust class. The first feed starts a worker; until then it costs nothing."""

    def __init__(self, *, processes: int, limits: Limits) -> None:
        self._limits = limits
        self._processes = processes
        self._turns = asyncio.Semaphore(processes)  # waiting is ours, fair and without a deadline; every feed is bounded
        self._starting = asyncio.Lock()
        self._pool: AsyncMonty | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Sandbox:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        started, self._pool = self._pool is not None, None
        await self._stack.aclose()
        if started:
            # The pool's threads wake the loop and then want the interpreter's lock once more. A process that ends in that instant is
            # aborted (Python 3.11 unwinds the thread through Rust: 5 % of short runs here, none with this pause).
            await asyncio.sleep(0.02)

    async def feed(self, code: str, data: str = "null") -> str:
        """Runs the prelude and the code in a fresh session with `_weft_data` bound; the text of its last expression. Failed otherwise."""
        from pydantic_monty import MontyError

        pool = await self._started()
        try:
            async with self._turns, pool.checkout(limits=self._limits.to_monty(), type_check=False) as session:
                result = await session.feed_run(PRELUDE + code, inputs={"_weft_data": data}, print_callback=_discard)
        except MontyError as error:
            raise self._failed(error) from None
        except TimeoutError:
            raise Failed("no sandbox was free in time") from None
        except UnicodeError:
            raise Failed("it holds characters that code cannot hold") from None
        if not isinstance(result, str):
            raise Failed("it gave no result")
        if len(result) > MAX_RESULT:
            raise Failed(f"its result has more than {MAX_RESULT} characters of JSON")
        return result

    async def _started(self) -> AsyncMonty:
        async with self._starting:
            if self._pool is None:
                from pydantic_monty import AsyncMonty

                pool = AsyncMonty(
                    min_processes=0,
                    max_processes=self._processes,
                    request_timeout=self._limits.seconds + 5.0,
                    checkout_timeout=60.0,
                    max_checkouts_per_worker=1000,
                    feed_duration_limit_grace=1.0,
                )
                self._pool = await self._stack.enter_async_context(pool)
            return self._pool

    def _failed(self, error: MontyError) -> Failed:
        from pydantic_monty import MontyCrashedError, MontyRuntimeError, MontySyntaxError

        if isinstance(error, MontyCrashedError):
            message = (
                f"it was stopped: it ran longer than {self._limits.seconds:g} s"
                if error.timed_out
                else "it broke its sandbox and was stopped"
            )
            return Failed(message)
        if not isinstance(error, (MontyRuntimeError, MontySyntaxError)):
            return Failed("the sandbox refused it")
        frames = [frame for frame in error.traceback() if frame.line > PRELUDE_LINES]
        line = frames[-1].line - PRELUDE_LINES if frames else None
        return Failed(self._explained(error.exception()), line=line, column=frames[-1].column if frames else None)

    def _explained(self, error: BaseException) -> str:
        """One sentence for what Python says with an exception."""
        text = str(error)[:10_000]
        if isinstance(error, TimeoutError):
            return f"it ran longer than {self._limits.seconds:g} s"
        if isinstance(error, MemoryError):
            return f"it needed more than {self._limits.memory // 2**20} MB of memory"
        if isinstance(error, RecursionError):
            return "it calls itself too deeply"
        if isinstance(error, NotImplementedError):
            return text.replace("The monty syntax parser does not yet support", "Weft's Python has no")[:300]
        if isinstance(error, LookupError) and text.startswith("weft["):
            return _missing(text[4:])
        if isinstance(error, KeyError):
            return f"there is no key {text[:100]!r}"
        if isinstance(error, AttributeError) and "'NoneType'" in text:
            return text.replace("'NoneType' object has no attribute", "the value is null, so it has no")[:300]
        kind = "" if isinstance(error, (NameError, SyntaxError)) else f"{type(error).__name__}: "
        return f"{kind}{text[:300]}" if text else type(error).__name__


def _missing(text: str) -> str:
    """The message of a field or index that was not there. The text comes from inside the sandbox: it is only ever formatted."""
    import json

    try:
        owner, step, kind, keys = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return "a field is missing"
    owner, step = str(owner)[:100], step if isinstance(step, int) else str(step)[:100]
    if kind == "dict":
        return missing_key(owner, step, keys if is_array(keys) else [])
    if kind == "length":
        return f"{owner} has no index {step}; its length is {keys if isinstance(keys, int) else 0}"
    return no_field(owner, step, SAMPLES.get(str(kind)))


def _discard(stream: Literal["stdout", "stderr"], text: str) -> None:
    """Printed text is nobody's result."""


__all__ = ["ExpressionError", "Failed", "Limits", "Sandbox"]
