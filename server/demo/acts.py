"""The acts of the demo. Each does one thing a user would do, over MCP, and checks what it says on the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jsonpatch

from server.demo import workflow
from server.demo.client import Caller, connected
from server.demo.screen import Screen
from server.demo.served import Served
from server.demo.shop import ORDERS, Shop
from server.progress import Progress
from store.errors import WeftError

ROUNDS = 4  # of validation and repair
LOOK_SECONDS = 0.1
RUN_SECONDS = 60.0  # for any one thing the run has to do
FINISHED = ("succeeded", "failed", "cancelled")
Answer = dict[str, Any]


class Untrue(WeftError):
    """Something the demo claims did not hold."""


class Acts:
    def __init__(self, screen: Screen, shop: Shop, served: Served) -> None:
        self._screen, self._shop, self._served = screen, shop, served
        self._progress = Progress(screen.console)
        self.name = workflow.NAME
        self._steps: list[Answer] = []  # the trace as last read

    async def play(self) -> None:
        """Raises a WeftError for the first claim that does not hold."""
        await self._start_server()
        await self._author()
        await self._try_out()
        await self._publish()
        run_id = await self._run_until_mid_step()
        await self._restart()
        await self._run_until_waiting(run_id)
        await self._kill("while the run waits for a person")
        await self._restart()
        await self._approve(run_id)
        await self._look_back(run_id)

    # -- acts --------------------------------------------------------------------------------------------------------------------

    async def _start_server(self) -> None:
        self._screen.act("Start the server: embedded Postgres, nothing else to install")
        await self._served.start()
        self._screen.good(f"weft serve is ready on {self._served.url} after {self._screen.took()} (pid {self._served.pid})")
        async with self._session() as call:
            tools = (await call.client.list_tools()).tools
            self._screen.good(f"MCP {call.client.protocol_version} over HTTP, {len(tools)} tools")

    async def _author(self) -> None:
        self._screen.act("Author a workflow as data, with two slips in it")
        async with self._session() as call:
            self.name = await self._free_name(call)
            document = workflow.with_slips(self.name)
            answer = await call("validate_workflow", definition=document)
            for _ in range(ROUNDS):
                if answer["valid"]:
                    break
                document = self._repaired(document, answer["problems"])
                answer = await call("validate_workflow", definition=document)
            repaired = bool(answer["valid"]) and document == workflow.named(self.name)
            self._claim(repaired, "the offered patches repair the definition")
            created = await call("create_workflow", definition=document)
        self._screen.good(f"valid now; saved as {created['workflow']}, revision {created['revision']}")

    def _repaired(self, document: Answer, problems: list[Answer]) -> Answer:
        """Applies the patch that comes with each error."""
        for problem in problems:
            if problem["severity"] != "error":
                continue
            self._screen.bad(f"{problem['pointer']}: {problem['message']}")
            self._claim(bool(problem.get("patch")), f"a patch comes with {problem['code']}")
            document = jsonpatch.apply_patch(document, problem["patch"])
            for change in problem["patch"]:
                self._screen.good(f"applied its patch: {change['op']} {change['path']} {change.get('value', '')}")
        return document

    async def _try_out(self) -> None:
        self._screen.act("Test it: mocks for the shop and the person, no side effects")
        async with self._session() as call:
            answer = await call("test_workflow", workflow=self.name, input={"percent": 10}, mocks=workflow.MOCKS)
        self._claim(answer["state"] == "succeeded", f"the test run succeeds (it {answer['state']}: {answer.get('error')})")
        self._claim(not self._shop.requests, "a test run does not call the shop")
        self._screen.good(f"test run succeeded in {self._screen.took()}; requests that reached the shop: {self._shop.requests.total()}")

    async def _publish(self) -> None:
        self._screen.act("Publish: an immutable version, and a tool of its own")
        async with self._session() as call:
            answer = await call("publish_workflow", workflow=self.name)
            tools = {tool.name for tool in (await call.client.list_tools()).tools}
        own = f"run_{self.name.replace('-', '_')}"
        self._claim(own in tools, f"{own} is among the tools")
        self._screen.good(f"version {answer['version']} is active; clients now also see the tool {own}")

    async def _run_until_mid_step(self) -> str:
        self._screen.act("Run it on the real shop, and kill -9 the server mid-step")
        async with self._session() as call:
            key = f"demo-{time.time_ns()}"
            started = await call("start_run", workflow=self.name, input={"percent": 10}, idempotency_key=key)
            run_id = started["run_id"]
            again = await call("start_run", workflow=self.name, input={"percent": 10}, idempotency_key=key)
            self._claim(again["run_id"] == run_id, "the same idempotency key gives the same run")
            await self._watch(call, run_id, lambda run: self._parcels() >= 3 and self._shop.in_flight > 0)
            await self._kill(f"with {_calls(self._shop.in_flight)} to the shop in flight")  # before the session says goodbye
        return run_id

    async def _kill(self, when: str) -> None:
        pid = self._served.pid
        await self._served.kill()
        self._screen.crash(f"kill -9 {pid} {when}")

    async def _restart(self) -> None:
        began = time.monotonic()
        await self._served.start()
        self._screen.good(f"restarted as pid {self._served.pid}, ready after {time.monotonic() - began:.1f} s")

    async def _run_until_waiting(self, run_id: str) -> None:
        done = self._parcels()
        began = time.monotonic()
        async with self._session() as call:
            run = await self._watch(call, run_id, lambda run: _asks(run) or run["state"] in FINISHED)
        self._claim(_asks(run), f"the run goes on and asks for approval (it {run['state']}: {run.get('error')})")
        self._screen.good(f"went on by itself: {done} parcels were kept, the rest followed in {time.monotonic() - began:.1f} s")

    async def _approve(self, run_id: str) -> None:
        self._screen.act("Answer the approval; the waiting run was only rows")
        async with self._session() as call:
            listed = await call("list_tasks", run_id=run_id)
            tasks = listed["tasks"]
            self._claim(len(tasks) == 1, f"exactly one question is open ({len(tasks)})")
            self._screen.say(f"asked: {tasks[0]['title']}")
            answer = {"approved": True, "comment": "Sorry for the delay"}
            await call("answer_task", task_id=tasks[0]["task_id"], answer=answer)
            run = await self._watch(call, run_id, lambda run: run["state"] in FINISHED)
            self._claim(run["state"] == "succeeded", f"the run succeeds (it {run['state']}: {run.get('error')})")
        self._screen.good("approved through answer_task; the run succeeded")

    async def _look_back(self, run_id: str) -> None:
        self._screen.act("Look back: the trace, and the shop's own ledger")
        async with self._session() as call:
            run = await call("get_run", run_id=run_id)
        self._screen.trace(self._steps)
        states = {step["position"]: step["state"] for step in self._steps}
        self._claim(states.pop("nothing", None) == "skipped", "the branch not taken is skipped")
        self._claim(len(states) == 13 and set(states.values()) == {"succeeded"}, f"every other step succeeded ({states})")
        self._check_ledger()
        self._tell_model(run["output"])
        self._screen.good(f"killed twice, 0 steps lost, 0 effects doubled; the whole demo took {self._screen.total:.0f} s")

    # -- checks ------------------------------------------------------------------------------------------------------------------

    def _check_ledger(self) -> None:
        shop = self._shop
        for order in ORDERS:
            self._claim(shop.effects[f"parcel {order['id']}"] == 1, f"{order['id']} was sent exactly once")
        refunds = {name: count for name, count in shop.effects.items() if name.startswith("refund")}
        self._claim(list(refunds.values()) == [1], f"exactly one refund went out ({refunds})")
        repeated = shop.requests["/parcels"] - len(ORDERS)
        self._claim(0 <= repeated <= 3, f"only calls in flight were repeated ({repeated})")
        self._screen.good(f"{len(ORDERS)} orders, {len(ORDERS)} parcels, 1 refund of {next(iter(refunds)).split()[1]} EUR")
        self._screen.say(f"after the crash {_calls(repeated)} went out again with the same Idempotency-Key")

    def _tell_model(self, output: Answer) -> None:
        note = output["note"]
        if note is None:
            self._screen.bad("llm step: the model did not answer; the workflow goes on without its note, as its author chose")
        elif note["model"] == "scripted":
            self._screen.say(
                "llm step: no model is configured, so the scripted provider stood in (set OPENAI_API_KEY or ANTHROPIC_API_KEY)"
            )
        else:
            self._screen.good(f"llm step by {note['model']}: {note['text']}")

    def _claim(self, holds: bool, what: str) -> None:
        if not holds:
            raise Untrue(f"This did not hold: {what}.")

    # -- watching ----------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Caller]:
        async with connected(f"{self._served.url}/mcp", self._served.key()) as call:
            yield call

    async def _free_name(self, call: Caller) -> str:
        """The workflow's name, numbered where an earlier demo used it."""
        listed = await call("list_workflows", limit=100)
        taken = {item["name"] for item in listed["workflows"]}
        return next(name for number in range(1, 200) if (name := f"{workflow.NAME}-{number}" if number > 1 else workflow.NAME) not in taken)

    async def _watch(self, call: Caller, run_id: str, until: Callable[[Answer], bool]) -> Answer:
        """Shows the run until the condition holds. Raises Untrue when that takes too long."""
        deadline = time.monotonic() + RUN_SECONDS
        with self._progress as progress:
            while True:
                run = await call("get_run", run_id=run_id)
                trace = await call("get_run", run_id=run_id, view="trace", limit=200)
                self._steps = trace["steps"]
                for step in self._steps:
                    progress.step(step["position"], step["state"], kind=step["type"])
                progress.show()
                if until(run):
                    return run
                if time.monotonic() > deadline:
                    raise Untrue(f"The run did not get on within {RUN_SECONDS:.0f} s; it is {run['state']}.")
                await asyncio.sleep(LOOK_SECONDS)

    def _parcels(self) -> int:
        """Parcels whose step is known to be done."""
        return sum(step["position"].startswith("ship[") and step["state"] == "succeeded" for step in self._steps)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def _asks(run: Answer) -> bool:
    return run["state"] == "waiting" and any(wait["kind"] == "task" for wait in run.get("waiting_for", []))
