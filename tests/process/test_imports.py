"""What a command does not need is not read: imports are most of what a `weft` process costs."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import importlib, json, pkgutil, sys
from server.cli import app
HEAVY = ("mcp", "starlette", "langgraph", "langchain_core", "anthropic", "openai", "numpy")
heavy = lambda: [name for name in HEAVY if name in sys.modules]
found = {}
try:
    app(["--help"])
except SystemExit:
    found["--help"] = [*heavy(), *(name for name in ("pydantic", "psycopg") if name in sys.modules)]
import server.commands
from server.process import HEAVY as HOUSE
for name in [*HOUSE, *(f"server.commands.{module.name}" for module in pkgutil.iter_modules(server.commands.__path__)), "server.doctor"]:
    if not name.endswith((".talking", ".chatting", ".serving")):
        importlib.import_module(name)
        found[name] = heavy()
print(json.dumps(found))
"""


def test_commands_do_without_the_sdks_and_help_without_anything() -> None:
    """Only `serve` and `mcp` speak MCP, and `chat`, whose assistant is lent their tools; langgraph is for who drives runs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 15
    assert {name: modules for name, modules in found.items() if modules} == {}
