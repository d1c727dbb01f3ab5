"""THE BAR: every slip models make is located by JSON Pointer, and the first offered patch repairs it."""

from __future__ import annotations

import copy

import jsonpatch
import jsonpointer
import pytest

from graphs.checks import check
from graphs.expressions import Evaluator
from tests.checks.samples import SLIPS, Slip, ten_nodes

pytestmark = pytest.mark.anyio


async def test_the_unbroken_definition_is_accepted_without_a_word(evaluator: Evaluator) -> None:
    report = await check(ten_nodes(), evaluator)
    assert report.diagnostics == ()
    assert report.ok
    assert report.definition is not None


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.name)
async def test_a_slip_is_located_and_repaired_by_the_first_patch(evaluator: Evaluator, slip: Slip) -> None:
    document = ten_nodes()
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
    assert after.ok, [one.as_json() for one in after.diagnostics]
