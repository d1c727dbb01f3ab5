"""`weft connections tools` and its neighbours: a person at a terminal decides what may be called."""

from __future__ import annotations

import json
from pathlib import Path

from tests.process.conftest import Kept
from tests.remote.openapiserver import api_server
from tests.remote.toolserver import tool_server

ALLOWED = {"WEFT_ALLOW_NETS": "127.0.0.0/8"}


def test_a_server_is_connected_refreshed_and_approved(kept: Kept) -> None:
    weft = kept.installation.weft
    with tool_server() as there:
        assert weft("connections", "add", "acme", "--kind", "mcp", "--url", there.url).code == 0
        listed = weft("connections", "refresh", "acme", **ALLOWED)
        assert listed.code == 0, listed.err
        assert "loopback 1.2 (mcp 2026-07-28): 2 tools" in listed.out
        assert "2 wait for approval: weft connections approve acme" in listed.err
        asked = weft("connections", "approve", "acme", stdin="y\nn\n", **ALLOWED)
        assert "1 of 2 tools of acme are approved." in asked.out
        assert "| Says it again." in asked.out
        assert "    text: string" in asked.out
        assert "Approve echo as write-once?" in asked.out
        assert "tools told in" in weft("connections").out
        there.tools["echo"]["description"] = "Says it again\u202e."
        changed = weft("connections", "refresh", "acme", **ALLOWED)
        assert "changed   echo" in changed.out
        assert "+ Says it again\\u202e." in changed.out
        assert weft("connections", "approve", "acme", "--yes", "--effect", "read", **ALLOWED).out == "2 of 2 tools of acme are approved.\n"
        assert "disabled  mail" in weft("connections", "disable", "acme", "mail").out
    assert weft("connections", "approve", "acme", "--effect", "none").code == 2
    assert weft("connections", "tools", "nobody").code == 1


def test_a_server_that_wants_it_is_signed_in_to_at_the_address_that_is_printed(kept: Kept) -> None:
    weft = kept.installation.weft
    with tool_server(token="somebody else's") as there:
        made = weft("connections", "add", "secured", "--kind", "mcp", "--url", there.url, **ALLOWED)
        assert made.code == 0, made.err
        assert "Open this address to sign in:" in made.err
        assert "/connect/" in made.out.splitlines()[-1]
        asked = weft("connections", "authorize", "secured", "--scope", "notes", **ALLOWED)
        assert "/connect/" in asked.out
    assert '"notes"' in weft("connections", "show", "secured").out


def test_a_document_is_uploaded(kept: Kept, tmp_path: Path) -> None:
    weft = kept.installation.weft
    with api_server() as api:
        file = tmp_path / "shop.json"
        file.write_text(json.dumps(api.document()))
        assert weft("connections", "add", "shop", "--kind", "openapi", "--url", api.url).code == 0
        done = weft("connections", "upload", "shop", str(file), "--include", "search")
        assert done.code == 0, done.err
        assert "new       findOrders" in done.out
    assert weft("connections", "upload", "shop", str(tmp_path / "none.json")).code == 2
