"""`weft run FILE`: output on stdout as JSON, everything else on stderr, and an exit code that says how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.process.conftest import ROOT, Installation

GREET = """
name: greet
input: { type: object, properties: { who: { type: string } }, required: [who] }
nodes:
  - { id: hello, type: set, config: { values: { text: "hello {{ input.who }}" } } }
  - id: each
    type: foreach
    config:
      items: [1, 2, 3]
      body: { nodes: [{ id: double, type: set, config: { values: { twice: "{{ item * 2 }}" } } }] }
edges: [{ from: hello, to: each }]
output: { text: "{{ nodes.hello.text }}", twice: "{{ [one.twice for one in nodes.each.items] }}" }
"""


def test_the_output_is_json_on_stdout_and_nothing_else(installation: Installation) -> None:
    done = installation.weft("run", "-", "--input", '{"who": "Ada"}', stdin=GREET)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"text": "hello Ada", "twice": [2, 4, 6]}


def test_watching_shows_every_step_on_stderr(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "greet.yaml").write_text(GREET)
    (tmp_path / "input.json").write_text('{"who": "Bob"}')
    done = installation.weft("run", str(tmp_path / "greet.yaml"), "--watch", "--input", f"@{tmp_path / 'input.json'}")
    assert done.code == 0
    assert json.loads(done.out)["text"] == "hello Bob"
    assert "hello" in done.err
    assert "each" in done.err


def test_every_problem_of_a_definition_is_a_line_with_its_place(installation: Installation) -> None:
    broken = GREET.replace("type: set", "type: sett").replace("items: [1, 2, 3]", "itmes: [1, 2, 3]")
    done = installation.weft("run", "-", "--input", '{"who": "Ada"}', stdin=broken)
    assert (done.code, done.out) == (2, "")
    for place in ("stdin /nodes/0/type: error:", "stdin /nodes/1/config/itmes: error:", "/body/nodes/0/type: error:"):
        assert place in done.err
    assert "'set'" in done.err


def test_input_that_does_not_fit_is_refused(installation: Installation) -> None:
    done = installation.weft("run", "-", "--input", '{"who": 7}', stdin=GREET)
    assert (done.code, done.out) == (2, "")
    assert "who" in done.err


def test_a_failed_run_says_where_and_why(installation: Installation) -> None:
    failing = 'name: f\nnodes: [{ id: end, type: stop, config: { state: failed, message: "no stock" } }]\n'
    done = installation.weft("run", "-", stdin=failing)
    assert (done.code, done.out) == (1, "")
    assert "no stock" in done.err


def test_a_run_that_waits_for_somebody_is_left_waiting_and_says_for_whom(installation: Installation) -> None:
    done = installation.weft("run", str(ROOT / "examples/payment.yaml"), "--input", '{"order_id": "Z-1", "amount": 5}')
    assert (done.code, done.out) == (3, "")
    assert "waits for the event payment_received" in done.err


def test_a_test_run_takes_mocks_and_does_nothing_for_real(installation: Installation) -> None:
    mocks: dict[str, Any] = {"total": {"net": 5}, "invoice": {"status": 200, "ok": True, "headers": {}, "body": {}}}
    done = installation.weft(
        *("run", str(ROOT / "examples/send-invoice.yaml"), "--test", "--mocks", json.dumps(mocks)),
        *("--input", '{"customer": "Ada", "items": []}'),
        WEFT_VAR_BILLING_URL="http://127.0.0.1:9",
    )
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"customer": "Ada", "net": 5, "sent": True}
