"""What workers need, imported once by the process they are forked from: by itself each of them would take two seconds of CPU for it."""

from importlib import import_module

from graphs.catalogue import node_types
from graphs.models import vendors

NEEDED = (
    "anyio._backends._asyncio", "graphs.checks", "graphs.compiler", "graphs.engine.conduct", "graphs.previews", "graphs.saver", "jiter",
    "langchain_openai.chat_models", "openai.resources.chat.completions.messages", "pydantic_monty", "server.lent", "tests.faults.workers",
    "tiktoken", "uvloop",
)  # fmt: skip

for name in NEEDED:
    import_module(name)
node_types()
vendors()
