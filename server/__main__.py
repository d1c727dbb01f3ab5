"""`python -m server` is `weft`: how the demo and the tests start a server with the interpreter they run on."""

from __future__ import annotations

from server.cli import main

main()
