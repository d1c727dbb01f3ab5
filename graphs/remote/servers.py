"""Local MCP servers: the operator's file of commands, in the form that MCP clients share. No door ever adds one."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from graphs.documents import is_object, parse
from store.errors import Invalid, Misconfigured

MAX_SERVERS = 50
MAX_FILE = 200_000  # bytes
MIN_REDACTED = 4  # characters of a value of the environment that must not be shown
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Server(BaseModel):
    """One of them. `organizations`: slugs or ids that may use it; none: all."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    name: str
    command: str = Field(min_length=1, max_length=4_000)
    args: tuple[str, ...] = Field(default=(), max_length=100, strict=False)
    env: Mapping[str, str] = Field(default_factory=dict, max_length=100, repr=False)
    cwd: str | None = None
    organizations: tuple[str, ...] = Field(default=(), max_length=1_000, strict=False)
    fresh: float = Field(default=0.0, ge=0.0, le=300.0, description="seconds for which a listing may serve calls")

    @field_validator("env")
    @classmethod
    def _plain(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in env.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"{name[:50]!r} is not a variable")
        return env

    @property
    def target(self) -> str:
        """What approval of its tools holds for: another command is another server."""
        command = "\0".join((self.command, *self.args, self.cwd or ""))
        return f"stdio:{hashlib.sha256(command.encode()).hexdigest()}"

    def open_to(self, *names: str) -> bool:
        return not self.organizations or any(name in self.organizations for name in names)

    def redacted(self, text: str) -> str:
        for value in self.env.values():
            if len(value) >= MIN_REDACTED:
                text = text.replace(value, "[redacted]")
        return text


def read_servers(path: Path) -> dict[str, Server]:
    """The servers of WEFT_MCP_SERVERS by name. Raises Misconfigured, saying what to change."""
    text = _owned(path)
    try:
        document = parse(text)
    except Invalid as wrong:
        raise Misconfigured(f"WEFT_MCP_SERVERS: {path}: {wrong.message}") from None
    found = document.get("mcpServers") if is_object(document) else None
    if not is_object(found) or len(document) != 1:
        raise Misconfigured(f'WEFT_MCP_SERVERS: {path} must be {{"mcpServers": {{"name": {{"command": "…", "args": [], "env": {{}}}}}}}}')
    if len(found) > MAX_SERVERS:
        raise Misconfigured(f"WEFT_MCP_SERVERS: {path} has {len(found)} servers; {MAX_SERVERS} are allowed")
    return {name: _server(path, name, one) for name, one in found.items()}


def _server(path: Path, name: str, given: Any) -> Server:
    where = f"WEFT_MCP_SERVERS: {path}: {name[:64]!r}"
    if not NAME.fullmatch(name):
        raise Misconfigured(f"{where} is no name: a small letter, then small letters, digits, _ and - (63 at most)")
    if not is_object(given):
        raise Misconfigured(f"{where} must be an object with `command`, and maybe `args`, `env`, `cwd` and `organizations`")
    if "url" in given:
        raise Misconfigured(f"{where} has a url: servers on the network are connections, made with weft connections")
    try:
        return Server.model_validate({**given, "name": name})
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        raise Misconfigured(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _owned(path: Path) -> str:
    """The text of a file that nobody but us could have written: it says what we run."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE:
                raise Misconfigured(f"WEFT_MCP_SERVERS: {path} must be a file of at most {MAX_FILE:,} bytes")
            if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
                raise Misconfigured(
                    f"WEFT_MCP_SERVERS: {path} says what Weft runs, so it must belong to the user who runs Weft and be writable by "
                    f"nobody else: chmod go-w {path}"
                )
            return file.read(MAX_FILE + 1).decode()
    except OSError as wrong:
        raise Misconfigured(f"WEFT_MCP_SERVERS: {path} cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"WEFT_MCP_SERVERS: {path} is not UTF-8") from None
