"""How long the check of a definition of 100 and of 1,000 nodes takes: CPU of this process, on texts no cache has seen.

The best of several runs counts: others share the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from typing import Any

from graphs.checks import check
from graphs.expressions import Evaluator

BUDGETS = {100: 20.0, 1000: 300.0}  # ms
FRESH = itertools.count()


def definition(size: int) -> dict[str, Any]:
    """Chains of steps as authors write them: half the texts need the sandbox, every fourth node is a group with two more inside."""
    salt = next(FRESH) * 10_000  # no text is the same as in the run before, so that no cache answers
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for number in range(size * 2 // 3):
        values = {"a": f"{{{{ input.x + {salt + number} }}}}", "b": f"n {{{{ nodes.n{number - 1}.a }}}}" if number else "first"}
        node: dict[str, Any] = {"id": f"n{number}", "type": "set", "config": {"values": values}, "retry": {"max_attempts": 3}}
        if number % 4 == 3:
            inside = [
                {"id": f"i{number}_{inner}", "type": "set", "config": {"values": {"v": f"{{{{ order.total * {salt + inner} }}}}"}}}
                for inner in range(2)
            ]
            body = {"nodes": inside, "edges": [{"from": f"i{number}_0", "to": f"i{number}_1"}]}
            node["type"], node["config"] = "foreach", {"items": "{{ input.orders }}", "as": "order", "body": body}
        if number % 4 == 0 and number:
            values["b"] = f"n {{{{ nodes.n{number - 1}.count }}}}"
        nodes.append(node)
        if number:
            edges.append({"from": f"n{number - 1}", "to": f"n{number}", "when": f"input.x > {salt + number}"})
    schema = {"type": "object", "properties": {"x": {"type": "number"}, "orders": {"type": "array"}}}
    return {"name": "large", "input": schema, "nodes": nodes, "edges": edges}


async def measure() -> bool:
    good = True
    async with Evaluator() as evaluator:
        await check(definition(3), evaluator)
        for size, budget in BUDGETS.items():
            cpu: list[float] = []
            wall: list[float] = []
            for _ in range(7):
                document = definition(size)
                began, began_cpu = time.perf_counter(), time.process_time()
                report = await check(document, evaluator)
                cpu.append((time.process_time() - began_cpu) * 1000)
                wall.append((time.perf_counter() - began) * 1000)
                assert report.ok, report.diagnostics[:3]
            good = good and min(cpu) <= budget
            print(
                f"check of {size} nodes: best {min(cpu):.1f} ms CPU, median {statistics.median(cpu):.1f} ms CPU, "
                f"{statistics.median(wall):.1f} ms wall (budget {budget:.0f} ms CPU)"
            )
    return good


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(measure()) else 1)
