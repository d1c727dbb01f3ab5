"""Chat in real processes: a server that is killed in the middle of a turn loses no message, and `weft chat` talks here and over HTTP."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.models.loopback import KEY, Turn, model_server
from tests.process.conftest import ROOT, Installation, surroundings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
SECONDS = 90.0


def models(url: str) -> dict[str, str]:
    return {"WEFT_MODEL": "openai:tiny", "OPENAI_API_KEY": KEY, "WEFT_OPENAI_BASE_URL": f"{url}/v1", "WEFT_ALLOW_NETS": "127.0.0.0/8"}


async def settled(client: httpx2.AsyncClient, chat: str) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        while True:
            found = (await client.get(f"/api/v1/chats/{chat}")).json()
            if found["messages"][-1]["state"] != "writing":
                return found
            await asyncio.sleep(0.1)


@pytest.mark.promise("P1")
async def test_a_server_killed_in_the_middle_of_a_turn_loses_no_message_and_says_none_twice(installation: Installation) -> None:
    with model_server() as model:
        held = threading.Event()
        model.turns.extend(
            [
                Turn(text="Let me look. ", calls=(("list_workflows", {}),)),
                Turn(text="This answer is cut off by a kill", held=held),
                Turn(text="There is nothing here yet."),
            ]
        )
        with installation.process("serve", "--port", "0", **models(model.url)) as first:
            headers = {"Authorization": f"Bearer {installation.key}"}
            async with httpx2.AsyncClient(base_url=first.url, headers=headers, timeout=30) as client:
                turn = (await client.post("/api/v1/chat", json={"message": "What is here?"})).json()
                async with asyncio.timeout(SECONDS):
                    while len(model.asked) < 2:
                        await asyncio.sleep(0.02)
            first.end(signal.SIGKILL)
        held.set()
        with installation.process("serve", "--port", "0", **models(model.url)) as second:
            async with httpx2.AsyncClient(base_url=second.url, headers=headers, timeout=30) as client:
                found = await settled(client, turn["chat"])
            second.end()
    assert [(one["role"], one["state"], one["text"]) for one in found["messages"]] == [
        ("user", "said", "What is here?"),
        ("assistant", "done", "There is nothing here yet."),
    ]
    assert len(model.asked) == 3, "the first turn of the model is paid for once"


def test_one_question_is_answered_here_and_the_next_goes_on_from_it(installation: Installation) -> None:
    with model_server() as model:
        model.turns.extend([Turn(text="Hello Ada."), Turn(text="You are Ada.")])
        first = installation.weft("chat", "-m", "I am Ada", **models(model.url))
        assert (first.code, first.out.strip()) == (0, "Hello Ada."), first.err
        second = installation.weft("chat", "--continue", "-m", "Who am I?", **models(model.url))
        assert (second.code, second.out.strip()) == (0, "You are Ada."), second.err
        said = [one["content"] for one in model.asked[-1]["messages"][1:]]
    assert said[:2] == ["I am Ada", "Hello Ada."]
    assert said[2].startswith("Who am I?")


def test_over_http_it_reads_the_key_of_this_installation_and_says_what_is_wrong(installation: Installation, tmp_path: Path) -> None:
    with model_server() as model, installation.process("serve", "--port", "0", **models(model.url)) as server:
        model.turns.append(Turn(text="Over the wire."))
        note = tmp_path / "note.txt"
        note.write_text("the code is 42")
        answered = installation.weft("chat", "--url", server.url, "-m", "Hi", "--attach", str(note))
        assert (answered.code, answered.out.strip()) == (0, "Over the wire."), answered.err
        assert "> the code is 42" in model.asked[-1]["messages"][-1]["content"]
        wrong = tmp_path / "key"
        wrong.write_text("weft_live_nothing")
        refused = installation.weft("chat", "--url", server.url, "--key-file", str(wrong), "-m", "Hi")
        assert refused.code == 2
        assert "API key" in refused.err
        server.end()


class Screen:
    """A terminal with a person at it."""

    def __init__(self, installation: Installation, *arguments: str, **extra: str) -> None:
        self.ours, theirs = pty.openpty()
        environment = surroundings(installation.data_dir, TERM="xterm", COLUMNS="200", **extra)
        self.child = subprocess.Popen(
            [sys.executable, "-m", "server", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment
        )
        os.close(theirs)
        self.shown = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.ours, 4096):
                self.shown += piece.decode(errors="replace")
        except OSError:
            pass  # it has ended

    def until(self, words: str) -> None:
        end = time.monotonic() + SECONDS
        while words not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self.child.poll() is None, self.shown
            time.sleep(0.02)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())


DRAFT = {"name": "hi", "nodes": [{"id": "say", "type": "set", "config": {"values": {"text": "hi"}}}]}


def test_at_a_terminal_it_shows_the_change_asks_and_stops_at_ctrl_c(installation: Installation) -> None:
    patch = [{"op": "replace", "path": "/nodes/0/config/values/text", "value": "hello"}]
    held = threading.Event()
    with model_server() as model:
        model.turns.extend(
            [
                Turn(text="", calls=(("create_workflow", {"definition": DRAFT}),)),
                Turn(text="", calls=(("edit_workflow", {"workflow": "hi", "base_revision": 1, "patch": patch}),)),
                Turn(text="It says hello now."),
                Turn(text="A very long story that nobody waits for.", held=held),
            ]
        )
        screen = Screen(installation, "chat", **models(model.url))
        try:
            screen.until("> ")
            screen.type("Make it say hello\n")
            screen.until("Allow it? [y/n]")
            assert "+      text: hello" in screen.shown
            assert "\x1b[32m" in screen.shown, "in colour"
            screen.type("y\n")
            screen.until("It says hello now.")
            screen.type("Tell me a story\n")
            screen.until("A very long story")
            screen.child.send_signal(signal.SIGINT)
            screen.until("(stopped)")
            screen.type("/quit\n")
            assert screen.child.wait(timeout=SECONDS) == 4
        finally:
            held.set()
            if screen.child.poll() is None:
                screen.child.kill()
            os.close(screen.ours)


def test_what_waits_for_a_word_is_taken_up_at_a_terminal_and_the_chat_is_edited_and_found_there(
    installation: Installation, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("the code is 42")
    with model_server() as model, installation.process("serve", "--port", "0", **models(model.url)) as server:
        at = ("chat", "--url", server.url)
        model.turns.append(Turn(text="", calls=(("start_run", {"workflow": "nothing", "version": 1}),)))
        left = installation.weft(*at, "-m", "Run it")
        assert (left.code, "waits for your word" in left.err) == (3, True), left.err
        refused = installation.weft(*at, "--continue", "-m", "And?")
        assert (refused.code, "waits for your word" in refused.err) == (2, True), refused.err
        model.turns.append(Turn(text="Then I do not run it."))
        screen = Screen(installation, *at, "--continue")
        try:
            screen.until("Allow it? [y/n]")
            assert "> Run it" in screen.shown, "what was said"
            screen.type("n\n")
            screen.until("Then I do not run it.")
            model.turns.append(Turn(text="Edited."))
            screen.type(f"/attach {note}\n")
            screen.until("goes with your next message")
            screen.type("/edit What is the code?\n")
            screen.until("Edited.")
            assert "> the code is 42" in model.asked[-1]["messages"][-1]["content"]
            model.turns.append(Turn(text="Written again."))
            screen.type("/again\n")
            screen.until("Written again.")
            screen.type("/chats\n")
            screen.until("  Run it\r\n")
            screen.type("/stop\n")
            screen.until("nothing is being written")
            screen.type("/new\n/again\n")
            screen.until("nothing has been said in this chat yet")
            screen.type("/model nobody:x\nHi\n")
            screen.until("is not a model")
            screen.type("/quit\n")
            assert screen.child.wait(timeout=SECONDS) == 0
        finally:
            if screen.child.poll() is None:
                screen.child.kill()
            os.close(screen.ours)
        missing = installation.weft(*at, "--chat", "nothing", "-m", "Hi")
        assert (missing.code, "/chats in `weft chat`" in missing.err) == (2, True), missing.err
        pdf = tmp_path / "broken.pdf"
        pdf.write_bytes(b"%PDF-1.7 nothing")
        unread = installation.weft(*at, "-m", "Read", "--attach", str(pdf))
        assert (unread.code, "broken.pdf" in unread.err) == (2, True), unread.err
        server.end()


def test_without_a_model_it_says_how_to_set_one_up(installation: Installation) -> None:
    here = installation.weft("chat", "-m", "Hello")
    assert (here.code, "weft models set" in here.err) == (0, True), here.err
