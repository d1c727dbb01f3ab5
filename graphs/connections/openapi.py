"""openapi: an HTTP API that a document describes; its operations are tools."""

from __future__ import annotations

from graphs.connections import http
from graphs.connections.http import SECRETS, check, needs, takes

__all__ = ["SECRETS", "SUMMARY", "Settings", "check", "needs", "takes"]

SUMMARY = "An HTTP API with an OpenAPI document: each operation becomes a tool that is called once a person has approved it."


class Settings(http.Settings):
    pass
