"""http: an HTTP API under one address, and how calls to it are authorized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from graphs.connections._auth import SECRETS, Address, Auth, NoAuth, OAuth2, needs, takes
from graphs.definition import Closed
from graphs.nodetype import Failure

if TYPE_CHECKING:
    from graphs.connections import Connection
    from graphs.outbound import Outbound

__all__ = ["SECRETS", "SUMMARY", "Auth", "NoAuth", "OAuth2", "Settings", "check", "needs", "takes"]

SUMMARY = "An HTTP API: its address, and a bearer token, password, header, query parameter or OAuth token that goes with each call."


class Settings(Closed):
    base_url: Address = Field(description="of the API; nothing secret is ever sent to another origin")
    auth: Auth = Field(default_factory=NoAuth)
    health_path: str = Field(default="", max_length=500, description="asked with GET when the connection is tested")

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if isinstance(self.auth, OAuth2) and self.auth.grant == "authorization_code" and not self.auth.authorize_url:
            raise ValueError("auth with grant authorization_code needs authorize_url")
        return self


async def check(connection: Connection, outbound: Outbound) -> str:
    """Asks `health_path`; an answer that refuses the credentials is a failure, any other shows that the address is right."""
    url = connection.address(str(connection.settings.get("health_path") or ""))
    answer = await outbound.request(
        "GET", url, headers=await connection.headers(url), params=await connection.params(url), timeout=15, max_bytes=100_000
    )
    if answer.status in (401, 403):
        raise Failure("connection_unusable", f"it answered {answer.status}: the credentials are not accepted; set the secret again")
    if answer.status >= 500:
        raise Failure("connection_unusable", f"it answered {answer.status}: the server has a problem", retryable=True)
    return f"it answered {answer.status}"
