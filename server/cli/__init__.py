"""The command line: `weft serve`, `mcp`, `worker`, `demo`, `run`, `migrate` and more here, a file per noun beside it, and what they do in
server/commands. Every failure is a sentence on stderr.

What a command needs is imported when it runs, so that `weft --version` and a wrong option answer at once.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from server.cli.agents import agents_app
from server.cli.circuits import circuits_app
from server.cli.keys import key_app
from server.cli.memory import memory_app
from server.cli.models import models_app
from server.cli.organizations import org_app
from server.cli.remote import connections_app
from server.cli.replays import runs_app
from server.cli.terminal import DataDir, settings_of
from server.cli.terminal import perform as _run
from store.errors import Invalid, Misconfigured, WeftError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Durable AI workflows over MCP.",
)
app.add_typer(key_app, name="key")
app.add_typer(runs_app, name="runs")
app.add_typer(memory_app, name="memory")
app.add_typer(agents_app, name="agents")
app.add_typer(connections_app, name="connections")
app.add_typer(models_app, name="models")
app.add_typer(circuits_app, name="circuits")
app.add_typer(org_app, name="org")

Host = Annotated[str | None, typer.Option("--host", help="address to listen on (WEFT_HOST, 127.0.0.1)", show_default=False)]
Port = Annotated[
    int | None,
    typer.Option("--port", "-p", help="port to listen on (WEFT_PORT, 7337); 0 takes a free one", show_default=False),
]


def main() -> None:
    """The entry point of the `weft` script."""
    _open_standard_files()
    gc.disable()  # importing makes millions of objects and no garbage: 15 % faster; `_run` turns it on again once the house stands
    try:
        app()
    except Exception as error:  # noqa: BLE001  # the outermost door: a person gets a sentence, and the traceback when they ask for it
        _tell(error)


def _open_standard_files() -> None:
    """Daemons are started with stdin, stdout or stderr closed; the next file opened would take that number and be taken for it."""
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)


def _tell(error: BaseException) -> None:
    from server.failures import first

    error = first(error)
    if isinstance(error, WeftError):
        _end(error.message, 2 if isinstance(error, Misconfigured | Invalid) else 1)
    from server.settings import debugging

    if debugging():
        raise error
    _end(f"This should not have happened: {type(error).__name__}: {error}. With WEFT_LOG_LEVEL=debug it shows where.", 1)


def _end(message: str, code: int) -> None:
    sys.stderr.write("".join(f"weft: {line}\n" for line in message.splitlines()))
    raise SystemExit(code)


@app.callback(invoke_without_command=True)
def _top(show_version: Annotated[bool, typer.Option("--version", help="show the version and exit")] = False) -> None:
    if show_version:
        typer.echo(f"weft {version('weft')}")
        raise typer.Exit


@app.command()
def serve(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Serve MCP and HTTP, and drive runs."""
    from server.commands import serving
    from server.settings import load

    settings = load(host=host, port=port, data_dir=data_dir)
    _run(lambda: serving.serve(settings))


@app.command()
def mcp(data_dir: DataDir = None) -> None:
    """Speak MCP on stdin and stdout, for clients that start their servers themselves; drives runs too."""
    from server.commands import serving

    settings = settings_of(data_dir)
    _run(lambda: serving.stdio(settings))


@app.command()
def worker(data_dir: DataDir = None) -> None:
    """Drive runs without opening a door. Start as many as you like against one Postgres."""
    from server.commands import serving

    settings = settings_of(data_dir)
    _run(lambda: serving.work(settings))


@app.command()
def workers(data_dir: DataDir = None) -> None:
    """Show the processes that drive runs, lost ones for a day."""
    from server.commands import workforce

    settings = settings_of(data_dir)
    _run(lambda: workforce.show(settings))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="exit at the end, 0 when everything held")] = False,
    port: Port = None,
) -> None:
    """The whole story in a minute, against a real server that is killed twice on the way."""
    from server.demo import story

    raise SystemExit(_run(lambda: story.tell(once=once, port=port)))


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="a workflow definition, JSON or YAML; - reads stdin")],
    input: Annotated[str, typer.Option("--input", "-i", help="the run's input: JSON, @file, or - for stdin")] = "{}",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="show progress on stderr")] = False,
    test: Annotated[bool, typer.Option("--test", help="a test run: steps with side effects are not done")] = False,
    mocks: Annotated[str | None, typer.Option("--mocks", help="for test runs: JSON or @file, node id -> output")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run a definition file durably; its output goes to stdout as JSON.

    Exit code: 0 succeeded, 1 failed, 2 not started, 3 waiting for a person or an event, 4 cancelled.
    """
    from server.commands import running

    order = running.read_order(file, input, mocks, test=test)
    settings = settings_of(data_dir)
    raise SystemExit(_run(lambda: running.run(settings, order, watch=watch)))


@app.command()
def chat(
    message: Annotated[str | None, typer.Option("--message", "-m", help="one question, and its answer", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--continue", "-c", help="go on with the chat that was written in last")] = False,
    chat: Annotated[str | None, typer.Option("--chat", help="go on with this chat", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option("--model", help='"vendor:name" or "@alias"; without it the default', show_default=False)
    ] = None,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", "-a", help="a file that goes with the message", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="a running server; without it in this process", show_default=False)] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="file with the API key for --url", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Talk to the assistant, which writes, tests, publishes and runs workflows with you.

    Exit code: 0 answered, 1 failed, 2 not asked, 3 waiting for your word, 4 stopped.
    """
    from server.commands import chatting

    settings = settings_of(data_dir)
    order = chatting.Order(message=message, resume=resume, chat=chat, model=model, attach=attach or (), url=url, key_file=key_file)
    raise SystemExit(_run(lambda: chatting.chat(settings, order)))


@app.command()
def migrate(
    action: Annotated[Literal["up", "status"], typer.Argument(help="up applies what is missing; status only looks")] = "up",
    data_dir: DataDir = None,
) -> None:
    """Bring the database schema to this version."""
    from server.commands import schema

    settings = settings_of(data_dir)
    raise SystemExit(_run(lambda: schema.migrate(settings) if action == "up" else schema.status(settings)))


@app.command()
def doctor(port: Port = None, data_dir: DataDir = None) -> None:
    """Check everything Weft stands on; each line says ok, or what to do."""
    from server import doctor as house_doctor

    raise SystemExit(_run(lambda: house_doctor.examine(port=port, data_dir=data_dir)))
