"""Whatever a document is, the check accepts it or says where it is wrong; nothing else ever comes out of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import jsonpatch
import jsonpointer
import pytest

from graphs.checks import check
from graphs.definition import Definition
from graphs.engine.plan import plan
from graphs.expressions import Evaluator
from store import jsontext
from tests.checks.mutations import mutations
from tests.checks.orders import order
from tests.checks.samples import Document, ten_nodes
from tests.expressions.hostile import EXPRESSIONS, SCRIPTS

pytestmark = pytest.mark.anyio
COUNT = 1000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("origin", [ten_nodes, order])
async def test_a_thousand_broken_definitions_are_accepted_or_refused_with_places(
    evaluator: Evaluator, origin: Callable[[], Document]
) -> None:
    figures: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    slowest = 0.0
    for document in mutations(origin(), COUNT):
        began = time.process_time()
        report = await check(document, evaluator)
        slowest = max(slowest, time.process_time() - began)
        figures["accepted" if report.ok else "refused"] += 1
        for diagnostic in report.diagnostics:
            jsonpointer.resolve_pointer(document, diagnostic.pointer)
            codes[diagnostic.code] += 1
            diagnostic.as_json()
        if report.ok:
            assert isinstance(report.definition, Definition)
            jsontext.text(document)
            plan(report.definition)
            continue
        assert any(diagnostic.severity == "error" for diagnostic in report.diagnostics)
        patch = next((one.patch for one in report.diagnostics if one.patch), None)
        if patch:
            repaired = jsonpatch.apply_patch(document, list(patch))
            figures["repaired by the first patch"] += (await check(repaired, evaluator)).ok
    print(f"{COUNT} mutated definitions: {dict(figures)}, 0 other exceptions, slowest check {slowest * 1000:.0f} ms CPU")
    print("diagnostics:", dict(codes.most_common()))
    assert figures["refused"] > COUNT / 2
    assert figures["accepted"] > COUNT / 50


@pytest.mark.timeout(120)
async def test_hostile_code_in_a_definition_is_only_ever_read(evaluator: Evaluator) -> None:
    for source in EXPRESSIONS:
        document = ten_nodes()
        document["nodes"][3]["config"]["condition"] = source
        document["nodes"][2]["config"]["values"] = {"a": f"{{{{ {source} }}}}"}
        document["edges"][0]["when"] = source
        began = time.monotonic()
        await check(document, evaluator)
        assert time.monotonic() - began < 3.0, source[:80]
    for source in SCRIPTS:
        document = ten_nodes()
        document["nodes"][2] = {"id": "totals", "type": "script", "config": {"code": source}}
        began = time.monotonic()
        await check(document, evaluator)
        assert time.monotonic() - began < 3.0, source[:80]


@pytest.mark.parametrize(
    "document", [None, 1, "text", [], [1], {}, {"nodes": []}, {"nodes": None}, {"nodes": [None, 1]}, {1: 2}, {"a": b"x"}, {"a": {1, 2}}]
)
async def test_anything_at_all_is_answered(evaluator: Evaluator, document: object) -> None:
    report = await check(document, evaluator)
    assert not report.ok
    assert report.diagnostics
