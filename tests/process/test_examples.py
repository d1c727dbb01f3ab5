"""The examples are good definitions, and they do what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from graphs import authoring, runs, signals, tasks
from graphs.documents import parse
from graphs.runtime import Actor, Runtime
from server.process import house, local_owner
from server.settings import Settings
from store.runs import Run
from tests.outbound.loopback import Asked, answer, origin
from tests.process.conftest import ROOT, Kept

FILES = sorted((ROOT / "examples").glob("*.yaml"))
SECONDS = 30.0
OK: dict[str, Any] = {"status": 200, "ok": True, "headers": {}}

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def runtime(anyio_backend: str, kept: Kept) -> AsyncGenerator[Runtime]:
    settings = Settings(
        data_dir=kept.installation.data_dir,
        variables={"SHOP_URL": "http://127.0.0.1:9", "PAY_URL": "http://127.0.0.1:9"},
        allow_nets=("127.0.0.0/8",),
    )
    async with house(settings, drive=True) as runtime:
        owner = await local_owner(runtime.database)
        child, _ = await authoring.create(runtime, owner, example("send-invoice"))
        if child is not None:
            await authoring.publish(runtime, owner, child.name, "")
        yield runtime


@pytest.fixture
async def owner(runtime: Runtime) -> Actor:
    return await local_owner(runtime.database)


def example(name: str) -> Any:
    return parse((ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))


async def ran(runtime: Runtime, owner: Actor, name: str, input: Any, mocks: dict[str, Any] | None = None) -> Run:
    """A run of the example, finished or waiting for somebody: a test run where there are mocks."""
    mode = "production" if mocks is None else "test"
    started = await runs.start_definition(runtime, owner, definition=example(name), input=input, mode=mode, mocks=mocks, name=name)
    return await runs.wait(runtime, owner, started.id, seconds=SECONDS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_it_is_named_like_its_file_and_has_no_problems(runtime: Runtime, owner: Actor, file: Path) -> None:
    document = example(file.stem)
    assert document["name"] == file.stem
    report = await authoring.check(runtime, owner, document)
    assert [item.message for item in report.diagnostics] == []


@pytest.mark.parametrize(
    ("ticket", "approved", "refunded", "asked"),
    [
        ({"kind": "refund", "amount": 20.0}, None, True, False),
        ({"kind": "refund", "amount": 80.0}, True, True, True),
        ({"kind": "refund", "amount": 80.0}, False, None, True),
        ({"kind": "question", "amount": 0.0}, None, None, False),
        ({"kind": "other", "amount": 0.0}, None, None, False),
    ],
)
async def test_refund_triage_asks_only_about_large_refunds(
    runtime: Runtime, owner: Actor, ticket: dict[str, Any], approved: bool | None, refunded: bool | None, asked: bool
) -> None:
    mocks: dict[str, Any] = {"classify": ticket, "ask": {"approved": approved, "comment": ""}, "refund": {**OK, "body": {}}}
    run = await ran(runtime, owner, "refund-triage", {"ticket": "My lamp is broken", "customer": "c-17"}, mocks)
    assert run.state == "succeeded", run.error
    assert run.output["refunded"] == refunded
    asking = await runs.node(runtime, owner, run.id, "ask")
    assert asking.state == ("succeeded" if asked else "skipped")


async def test_order_fanout_keeps_the_order_and_counts_them(runtime: Runtime, owner: Actor) -> None:
    mocks: dict[str, Any] = {
        "orders": {**OK, "body": [{"id": "A"}, {"id": "B"}, {"id": "C"}]},
        "carrier": {**OK, "body": {"name": "bike"}},
        "parcel": {**OK, "body": {}},
    }
    run = await ran(runtime, owner, "order-fanout", {"day": "2026-11-20"}, mocks)
    assert run.state == "succeeded", run.error
    assert run.output == {"tried": 3, "report": {"shipped": ["A", "B", "C"], "failed": {}}}


async def test_order_fanout_reports_what_could_not_be_shipped(runtime: Runtime, owner: Actor) -> None:
    """Nothing listens at the shop's address: the parcel steps fail for real, and the workflow goes on."""
    document = example("order-fanout")
    prepared = {"orders": {"body": [{"id": "A"}]}, "carrier": {"body": {"name": "bike"}}}
    document["nodes"][0] = {"id": "prepare", "type": "set", "config": {"values": prepared}}
    document["nodes"][1]["config"]["body"]["nodes"][0]["retry"] = {"max_attempts": 1}
    run = await produced(runtime, owner, document, {"day": "2026-11-20"})
    assert run.state == "succeeded", run.error
    assert run.output["report"]["shipped"] == []
    assert "127.0.0.1" in run.output["report"]["failed"]["A"]


async def test_reminder_is_closed_by_the_first_answer_or_escalated_by_the_second(runtime: Runtime, owner: Actor) -> None:
    input = {"text": "Renew the certificate", "due": "2020-01-01T00:00:00Z", "grace": "10ms"}
    done = await answered(runtime, owner, await ran(runtime, owner, "reminder", input), {"result": "done"})
    assert (done.state, done.output) == ("succeeded", {"done": True, "escalate": False})
    later = await answered(runtime, owner, await ran(runtime, owner, "reminder", input), {"result": "later"})
    assert later.state == "waiting"
    escalated = await answered(runtime, owner, later, {"approved": False})
    assert (escalated.state, escalated.output) == ("succeeded", {"done": False, "escalate": True})


async def answered(runtime: Runtime, owner: Actor, run: Run, answer: dict[str, Any]) -> Run:
    task = next(wait["task_id"] for wait in run.waiting_for if wait["kind"] == "task")
    await tasks.answer(runtime, owner, task, answer)
    return await runs.wait(runtime, owner, run.id, seconds=SECONDS)


@pytest.mark.parametrize(("amount", "state"), [(89.5, "succeeded"), (100.0, "succeeded"), (10.0, "waiting")], ids=["exact", "more", "less"])
async def test_payment_is_decided_by_the_event_of_its_order(runtime: Runtime, owner: Actor, amount: float, state: str) -> None:
    order = f"A-{amount}"
    run = await ran(runtime, owner, "payment", {"order_id": order, "amount": 89.5})
    assert run.state == "waiting"
    await signals.send(runtime, owner, name="payment_received", correlation="another", payload={"amount": 89.5})
    received = await signals.send(runtime, owner, name="payment_received", correlation=order, payload={"amount": amount})
    assert received.woken
    run = await runs.wait(runtime, owner, run.id, seconds=SECONDS)
    assert run.state == state, run.error
    if state == "waiting":
        run = await answered(runtime, owner, run, {"approved": False})
        assert run.state == "failed"
        assert run.error["message"] == f"{order} was not paid"


async def test_monthly_invoices_starts_a_run_of_send_invoice_for_every_customer(runtime: Runtime, owner: Actor) -> None:
    """Nothing is due, so no child calls the billing service."""
    customers: list[Any] = [{"name": name, "items": [{"text": "gift", "price": 0}]} for name in ("Ada", "Bob")]
    run = await ran(runtime, owner, "monthly-invoices", {"month": "2026-11", "customers": customers})
    assert run.state == "succeeded", run.error
    assert run.output == {"month": "2026-11", "invoices": 2, "net": 0}
    children = (await runs.page(runtime, owner, workflow="send-invoice")).items
    assert [child.state for child in children] == ["succeeded", "succeeded"]


async def test_monthly_invoices_adds_up_what_its_children_sent(runtime: Runtime, owner: Actor) -> None:
    customers: list[Any] = [{"name": "Ada", "items": []}, {"name": "Bob", "items": []}]
    mocks = {"send": {"run_id": "r", "output": {"net": 12.5}}}
    run = await ran(runtime, owner, "monthly-invoices", {"month": "2026-11", "customers": customers}, mocks)
    assert run.state == "succeeded", run.error
    assert run.output == {"month": "2026-11", "invoices": 2, "net": 25.0}


async def test_draft_review_goes_back_with_the_remarks_until_it_is_accepted(runtime: Runtime, owner: Actor) -> None:
    document = example("draft-review")
    document["nodes"][0] = {
        "id": "draft",
        "type": "set",
        "config": {"values": {"text": "{{ (nodes.draft.text or 'Hello') + (nodes.review.answer.remark or '') }}"}},
    }
    run = await produced(runtime, owner, document, {"topic": "opening hours"})
    for remark in (", world", "!"):
        run = await answered(runtime, owner, run, {"decision": "revise", "remark": remark})
        assert run.state == "waiting", run.error
    run = await answered(runtime, owner, run, {"decision": "accept"})
    assert (run.state, run.output) == ("succeeded", {"text": "Hello, world!"})
    given_up = await produced(runtime, owner, document, {"topic": "nothing"})
    assert (await answered(runtime, owner, given_up, {"decision": "give_up"})).state == "cancelled"


@pytest.mark.parametrize("broken", [None, "/charges", "/parcels"])
async def test_order_saga_books_all_or_nothing(runtime: Runtime, owner: Actor, broken: str | None) -> None:
    async def shop(asked: Asked, writer: asyncio.StreamWriter) -> None:
        status = 409 if asked.method == "POST" and asked.target == broken else 200
        writer.write(answer(status, b'{"id": "X-1"}', content_type="application/json"))

    async with origin(shop) as here:
        document = json.loads(json.dumps(example("order-saga")).replace("{{ env.SHOP_URL }}", here.url))
        run = await produced(runtime, owner, document, {"order": f"A-{broken}", "amount": 89.5})
    assert run.state == "succeeded", run.error
    done = ["POST /reservations", "POST /charges", "POST /parcels"]
    if broken is None:
        assert run.output == {"booked": True, "parcel": "X-1"}
    else:
        assert not run.output["booked"]
        assert "409" in run.output["problem"]
        undone = {"/charges": ["DELETE /reservations/X-1"], "/parcels": ["POST /refunds", "DELETE /reservations/X-1"]}
        done = [*done[: done.index(f"POST {broken}") + 1], *undone[broken]]
    assert [f"{asked.method} {asked.target}" for asked in here.asked] == done


async def produced(runtime: Runtime, owner: Actor, document: Any, input: Any) -> Run:
    """A real run of a definition, finished or waiting."""
    started = await runs.start_definition(
        runtime, owner, definition=document, input=input, mode="production", mocks=None, name=document["name"]
    )
    return await runs.wait(runtime, owner, started.id, seconds=SECONDS)
