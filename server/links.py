"""Links that Weft gives out: the address by which a person's browser reaches this server."""

from __future__ import annotations

from collections.abc import Mapping

from server.settings import Settings


def base_of(headers: Mapping[str, str], public_url: str | None = None) -> str:
    """WEFT_PUBLIC_URL, else the name by which this request came; the gate has checked that it is ours."""
    return public_url or f"http://{headers['host']}"


def base_for(settings: Settings) -> str:
    """For whoever asks from the same machine, where no request tells."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"


def connect_url(base: str, ticket: str) -> str:
    """The page on which a connection is set up. Whoever has this link may do so."""
    return f"{base}/connect/{ticket}"


def callback_url(base: str) -> str:
    """Where an authorization server sends the browser back to; it must be registered there."""
    return f"{base}/oauth/callback"
