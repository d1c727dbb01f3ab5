"""THE BAR: every slip models make is located by JSON Pointer, and the first offered patch repairs it."""

from __future__ import annotations

import copy

import jsonpatch
import jsonpointer
import pytest

from graphs.checks import check
from graphs.expressions import Evaluator
from tests.checks.order_slips import ORDER_SLIPS
from tests.checks.orders import order
from tests.checks.samples import SLIPS, Document, Slip, ten_nodes

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("document", [ten_nodes(), order()], ids=["ten nodes", "order"])
async def test_the_unbroken_definition_is_accepted_without_a_word(evaluator: Evaluator, document: Document) -> None:
    report = await check(document, evaluator)
    assert report.diagnostics == ()
    assert report.ok
    assert report.definition is not None


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.name)
async def test_a_slip_is_located_and_repaired_by_the_first_patch(evaluator: Evaluator, slip: Slip) -> None:
    await located_and_repaired(evaluator, slip, ten_nodes())


@pytest.mark.parametrize("slip", ORDER_SLIPS, ids=lambda slip: slip.name)
async def test_a_slip_in_loops_boundaries_or_compensation_is_too(evaluator: Evaluator, slip: Slip) -> None:
    await located_and_repaired(evaluator, slip, order())


async def located_and_repaired(evaluator: Evaluator, slip: Slip, document: Document) -> None:
    slip.break_it(document)
    broken = copy.deepcopy(document)
    report = await check(document, evaluator)
    assert document == broken, "checking changes nothing"
    assert (slip.pointer, slip.code) in [(one.pointer, one.code) for one in report.diagnostics]
    for diagnostic in report.diagnostics:
        jsonpointer.resolve_pointer(document, diagnostic.pointer)
        assert diagnostic.message
    patch = next(one.patch for one in report.diagnostics if one.patch)
    repaired = jsonpatch.apply_patch(document, list(patch))
    after = await check(repaired, evaluator)
    assert (slip.pointer, slip.code) not in [(one.pointer, one.code) for one in after.diagnostics]
    assert after.ok, [one.as_json() for one in after.diagnostics]
