"""Settings: everything an operator may choose, read from WEFT_* environment variables here and nowhere else."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from store.errors import Misconfigured

PREFIX = "WEFT_"
VARIABLE = "WEFT_VAR_"
INTERVAL_PART = re.compile(r"([1-9]\d{0,5})([smhdw])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
INTERVAL = re.compile(r"(?:[1-9]\d{0,5}[smhdw])+")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _words(value: Any) -> Any:
    """ "a.example, b.example" as a tuple; what is already a sequence stays."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


def _also(name: str) -> AliasChoices:
    """Our own name first, then the name the vendor's tools use."""
    return AliasChoices(PREFIX + name, name)


class Settings(BaseSettings):
    """What the operator chose. Frozen; secrets do not show in its repr."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=7337, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("weft", appauthor=False)),
        description="where data and keys live",
    )
    keys_dir: Path = Field(
        default_factory=lambda chosen: chosen["data_dir"] / "keys",
        description="where the keys live, if not beside the data; never inside the database's folder",
    )
    database_url: SecretStr | None = Field(default=None, description="an external Postgres; without it the embedded one is used")
    admin_database_url: SecretStr | None = Field(default=None, description="the same Postgres as an owner, for migrations only")
    listen_database_url: SecretStr | None = Field(
        default=None, description="the same Postgres without a pooler in transaction mode, to hear of news at once"
    )
    checkpoint_key_file: Path | None = Field(default=None, description="file with the key under which checkpoints are encrypted at rest")
    auto_migrate: bool = Field(default=False, description="migrate an external Postgres at start")
    max_connections: int = Field(default=10, ge=2, le=500, description="database connections of one process")
    max_runs: int = Field(default=64, ge=1, le=10_000, description="runs one process drives at the same time")
    worker: bool = Field(default=True, description="whether `weft serve` also drives runs; off when `weft worker` does it elsewhere")
    allow_hosts: Words = Field(default=(), description="host names steps may reach although their address is private")
    allow_nets: Words = Field(default=(), description="networks (CIDR) steps may reach although they are private")
    allowed_hosts: Words = Field(default=(), description="Host headers that the HTTP door accepts besides loopback")
    allowed_origins: Words = Field(default=(), description="Origin headers that the HTTP door accepts besides loopback")
    public_url: str | None = Field(
        default=None,
        description="address of this server in a browser, such as https://weft.example.com, for links it gives out",
    )
    published_tools: bool = Field(default=True, description="list published workflows as MCP tools of their own")
    mcp_servers: Path | None = Field(default=None, description="file of local MCP servers that steps may call, in the form of MCP clients")
    model: str | None = Field(default=None, description="default model of llm steps, e.g. openai:gpt-5-mini")
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=_also("OPENAI_API_KEY"))
    openai_base_url: str | None = Field(default=None, validation_alias=_also("OPENAI_BASE_URL"))
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias=_also("ANTHROPIC_API_KEY"))
    anthropic_base_url: str | None = Field(default=None, validation_alias=_also("ANTHROPIC_BASE_URL"))
    embedder: str = Field(
        default="builtin",
        min_length=1,
        max_length=200,
        description="what embeds memories: builtin, none, minilm, or an OpenAI-compatible model",
    )
    memory_model: str = Field(
        default="none", min_length=1, max_length=200, description="what reads and sums up memories: none (rules), auto, or vendor:model"
    )
    memory_consolidation: str = Field(default="1d", description="how often memories are consolidated; off: only by hand")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    variables: dict[str, str] = Field(default_factory=dict, description="WEFT_VAR_NAME=value is env.NAME in expressions")

    @field_validator("data_dir", "keys_dir", "checkpoint_key_file", "mcp_servers")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else None

    @field_validator("public_url")
    @classmethod
    def _origin(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://localhost")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError(f"{url!r} is no address of a server; write for example https://weft.example.com")
        return url.rstrip("/") if url else None

    @field_validator("allow_nets")
    @classmethod
    def _networks(cls, nets: tuple[str, ...]) -> tuple[str, ...]:
        for net in nets:
            try:
                ipaddress.ip_network(net)
            except ValueError:
                raise ValueError(f"{net!r} is not a network; write for example 10.0.0.0/8 or 127.0.0.1/32") from None
        return nets

    @field_validator("database_url", "admin_database_url", "listen_database_url")
    @classmethod
    def _postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must be like postgresql://user:password@host:5432/database")
        try:
            urlsplit(url.get_secret_value() if url else "")
        except ValueError:  # its text would show the password
            raise ValueError("must be like postgresql://user:password@host:5432/database") from None
        return url

    @field_validator("memory_model")
    @classmethod
    def _model(cls, model: str) -> str:
        vendor, _, name = model.partition(":")
        if model not in ("none", "auto", "scripted") and not (vendor and name):
            raise ValueError(f"{model!r} is no model; write none, auto (the model of WEFT_MODEL) or vendor:name, such as openai:gpt-5-mini")
        return model

    @field_validator("memory_consolidation")
    @classmethod
    def _interval(cls, text: str) -> str:
        if text != "off" and not INTERVAL.fullmatch(text):
            raise ValueError(f"{text!r} is no length of time; write for example 1d, 12h or 30m, or off")
        return text

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: Any) -> Any:
        return level.lower() if isinstance(level, str) else level

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        """A copy of the database must not carry the keys."""
        if self.keys_dir == self.postgres_dir or self.postgres_dir in self.keys_dir.parents:
            raise ValueError(f"WEFT_KEYS_DIR={self.keys_dir} is inside the database's folder: a copy of the data would carry the keys")
        return self

    @model_validator(mode="after")
    def _named(self) -> Settings:
        if self.host not in LOOPBACK and not self.host.startswith("127.") and not self.allowed_hosts:
            raise ValueError(
                f"WEFT_HOST={self.host} opens the server to the network: also set WEFT_ALLOWED_HOSTS to the host names "
                "clients use for it, for example WEFT_ALLOWED_HOSTS=weft.example.com"
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether Weft starts its own Postgres."""
        return self.database_url is None

    @property
    def consolidated_every(self) -> timedelta | None:
        """None: only by hand."""
        parts = INTERVAL_PART.findall(self.memory_consolidation)
        return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in parts)) if parts else None

    @property
    def postgres_dir(self) -> Path:
        return self.data_dir / "postgres"

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the log filter; also the parts of URLs that must not be shown."""
        held = (self.database_url, self.admin_database_url, self.listen_database_url, self.openai_api_key, self.anthropic_api_key)
        return tuple(secret.get_secret_value() for secret in held if secret)


def load(**chosen: Any) -> Settings:
    """The settings of this process: `chosen` (command line options; None is not chosen), then the environment, then defaults.
    Raises Misconfigured with a sentence for every variable that is wrong or unknown."""
    problems = _unknown(os.environ)
    variables = {key.removeprefix(VARIABLE): value for key, value in os.environ.items() if key.startswith(VARIABLE)}
    try:
        settings = Settings(variables=variables, **{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as wrong:
        raise Misconfigured("\n".join(problems + _sentences(wrong))) from None
    except SettingsError as wrong:
        raise Misconfigured("\n".join([*problems, f"{wrong}."])) from None
    if problems:
        raise Misconfigured("\n".join(problems))
    return settings


def debugging() -> bool:
    """Whether tracebacks are wanted; asked where settings may be what is wrong."""
    return os.environ.get("WEFT_LOG_LEVEL", "").lower() == "debug"


def environment(**extra: str) -> dict[str, str]:
    """The environment for a child process of ours: this one's without our settings, except those about models, plus `extra`."""
    models = ("WEFT_MODEL", "WEFT_MEMORY_MODEL", "WEFT_OPENAI", "WEFT_ANTHROPIC")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name.startswith(models)}
    return {**kept, **extra}


def names() -> tuple[str, ...]:
    """The environment variables that Settings reads under our prefix."""
    return tuple(PREFIX + field.upper() for field in Settings.model_fields if field != "variables")


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = names()
    problems: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(VARIABLE) or name.upper() in known:
            continue
        nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
        hint = f"did you mean {nearest[0]}?" if nearest else f"a value for expressions is called {VARIABLE}NAME."
        problems.append(f"{name} is not a setting of Weft; {hint}")
    return problems


def _sentences(wrong: ValidationError) -> list[str]:
    problems: list[str] = []
    for error in wrong.errors(include_url=False, include_input=False):
        if error["type"] == "default_factory_not_called":  # it follows from another problem
            continue
        message = error["msg"].removeprefix("Value error, ")
        if not error["loc"]:
            problems.append(message + ".")
            continue
        where = str(error["loc"][0])
        name = where if where.isupper() else PREFIX + where.upper()
        message = message.replace("Input should be", "must be").partition(", unable to")[0]
        problems.append(f"{name} {message}." if message.startswith("must") else f"{name}: {message}.")
    return problems
