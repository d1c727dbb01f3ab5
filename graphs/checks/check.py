"""The whole check: every concern over one view of the document, all problems at once, causes first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from graphs.checks.connecting import check_connecting
from graphs.checks.diagnostic import Diagnostic, Report
from graphs.checks.edges import check_connections, check_edges
from graphs.checks.expressions import compile_sites, parse_sites
from graphs.checks.known import NOTHING_KNOWN, Known
from graphs.checks.loops import check_loops
from graphs.checks.memories import check_memories
from graphs.checks.nodes import check_nodes, check_schemas
from graphs.checks.references import check_references
from graphs.checks.settings import check_settings
from graphs.checks.sites import find_sites
from graphs.checks.structure import check_structure
from graphs.checks.undoing import check_asking
from graphs.checks.values import check_values
from graphs.checks.view import view
from graphs.definition import Definition, Json
from graphs.documents import is_object
from graphs.expressions import Evaluator

MAX_SHOWN = 100  # of each concern


async def check(document: Json, evaluator: Evaluator, known: Known = NOTHING_KNOWN) -> Report:
    """Checks a definition without running any of it, against what is `known` of the organization. What is accepted compiles and runs."""
    unfit = list(check_values(document))
    if unfit:
        return Report(diagnostics=tuple(unfit[:MAX_SHOWN]))
    if not is_object(document):
        message = "a workflow is an object with `name`, `nodes` and `edges`"
        return Report(diagnostics=(Diagnostic(code="wrong_type", pointer="", message=message, expected="an object"),))
    parsed = view(document)
    found = list(islice(check_structure(parsed), MAX_SHOWN))
    sites, broken = find_sites(parsed)
    await asyncio.sleep(0)  # a large document takes a while: others may go on in between
    found.extend(check_settings(parsed))
    found.extend(islice(check_nodes(parsed, sites, known.workflows), MAX_SHOWN))
    schemas = list(islice(check_schemas(parsed), MAX_SHOWN))
    found = [one for one in found if one.code != "bad_value" or not any(_within(two, one) for two in schemas)]
    found.extend(schemas)
    found.extend(islice(check_edges(parsed), MAX_SHOWN))
    found.extend(islice(check_loops(parsed), MAX_SHOWN))
    found.extend(broken)
    await asyncio.sleep(0)
    good, bad = parse_sites(sites)
    found.extend(bad)
    found.extend(await compile_sites(good, evaluator))
    found.extend(islice(check_references(parsed, good), MAX_SHOWN))
    found.extend(islice(check_memories(parsed, good), MAX_SHOWN))
    found.extend(islice(check_connections(parsed), MAX_SHOWN))
    found.extend(islice(check_connecting(parsed, known.connections), MAX_SHOWN))
    found.extend(islice(check_asking(parsed), MAX_SHOWN))
    if all(one.severity == "warning" for one in found) and any(
        node.config is None for node in parsed.nodes
    ):  # a rule of a model that no check knows of
        broken_node = next(node for node in parsed.nodes if node.config is None)
        message = f"the config of node {broken_node.label} does not fit its type"
        found.append(Diagnostic(code="bad_value", pointer=broken_node.pointer, message=message))
    return _report(parsed.definition, found)


def _within(inner: Diagnostic, outer: Diagnostic) -> bool:
    """A node type also looks at its schemas, and says less."""
    return inner.pointer == outer.pointer or inner.pointer.startswith(outer.pointer + "/")


def _report(definition: Definition | None, found: Iterable[Diagnostic]) -> Report:
    unique = {(diagnostic.pointer, diagnostic.code, diagnostic.message): diagnostic for diagnostic in found}
    ordered = sorted(unique.values(), key=lambda diagnostic: diagnostic.severity != "error")
    refused = bool(ordered) and ordered[0].severity == "error"
    if not refused and definition is None:  # a rule of the models that no check knows of
        message = "the definition does not fit its model"
        ordered, refused = [Diagnostic(code="bad_value", pointer="", message=message)], True
    return Report(diagnostics=tuple(ordered[: 2 * MAX_SHOWN]), definition=None if refused else definition)
