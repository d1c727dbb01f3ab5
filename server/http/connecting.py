"""Pages for people, opened by a one-time ticket: where a connection is set up, and where an authorization server sends the browser back to.

What is typed here goes to the vault and nowhere else. No script, no cookie but the one that ties an OAuth flow to its browser, and no
answer holds a secret. No other page can send the form: it takes the ticket, and browsers say where forms come from, which the gate checks.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from graphs import authorizing, inviting
from graphs.connections import origin_of
from graphs.connections.http import OAuth2
from graphs.inviting import Guest
from graphs.remote.registering import about
from graphs.runtime import Runtime
from server.auth import Scope, need
from server.http.forms import form_of, secrets_of, settings_of
from server.links import base_of, callback_url
from store.connections import Row
from store.errors import Invalid, NotFound, WeftError

logger = logging.getLogger(__name__)

COOKIE = "weft_oauth"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}"
    "label{display:block;margin:1rem 0 .25rem;font-weight:600}"
    "input,select{width:100%;box-sizing:border-box;font:inherit;padding:.5rem}"
    "small{color:#555}button{margin-top:1.5rem;font:inherit;padding:.6rem 1.2rem}.wrong{border-left:4px solid #b00020;padding-left:.75rem}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
Handler = Callable[[Request], Awaitable[Response]]


def routes(runtime: Runtime) -> list[Route]:
    async def show(request: Request) -> Response:
        who = await _guest(runtime, request)
        return _page(f"Connection {who.name}", form_of(who), sends_to=_sends_to(who))

    async def save(request: Request) -> Response:
        who = await _guest(runtime, request)
        given = _fields(await request.body(), request.headers.get("content-type", ""))
        back = callback_url(base_of(request.headers, runtime.public_url))
        try:
            settings = await inviting.settled(runtime, who, settings_of(who, given))
            client = given.get("sign_in.client_id", "").strip() or None
            arranged = await authorizing.arrange(runtime, who.actor, who.kind.name, settings, back, client_id=client)
            row = await inviting.complete(runtime, who, settings, secrets_of(who, given))
        except Invalid as wrong:
            return _page(f"Connection {who.name}", form_of(who, wrong.message), 422, sends_to=_sends_to(who))
        if arranged is None and authorizing.auth_of(row.kind, row.settings) is None:
            return _page("Done", f"<p>The connection <b>{escape(row.name)}</b> is set up. You can close this page.</p>")
        url, nonce = await authorizing.begin(runtime, who.actor, row, back, arranged)
        there = _sign_in(row, url) if arranged else RedirectResponse(url, 303, headers=_headers(sends_to=origin_of(url)))
        https = (runtime.public_url or "").startswith("https:")
        there.set_cookie(COOKIE, nonce, max_age=int(inviting.SECONDS), path="/oauth", httponly=True, samesite="lax", secure=https)
        return there

    async def returned(request: Request) -> Response:
        given = request.query_params
        if error := given.get("error"):
            said = f" ({error})" if re.fullmatch(r"[a-z_]{1,60}", error) else ""
            raise Invalid(f"The other side did not agree{said}. Nothing was changed; ask for a new link to try again.")
        row = await authorizing.finish(
            runtime,
            given.get("state", ""),
            given.get("code", ""),
            request.cookies.get(COOKIE, ""),
            given.get("iss"),
            may=lambda role: need(role, Scope.AUTHOR),
        )
        done = _page("Done", f"<p>Weft may use the connection <b>{escape(row.name)}</b> now. You can close this page.</p>")
        done.delete_cookie(COOKIE, path="/oauth")
        return done

    async def client(request: Request) -> Response:
        """Who Weft is, for authorization servers that read it there (Client ID Metadata Document)."""
        url = authorizing.document_url(runtime)
        if url is None:
            raise NotFound("This server has no public address with https, so nobody can know it by a document.")
        return JSONResponse({"client_id": url, **about(callback_url(runtime.public_url or ""))}, headers={"Cache-Control": "max-age=3600"})

    return [
        Route("/connect/{ticket}", _told(show), methods=["GET"]),
        Route("/connect/{ticket}", _told(save), methods=["POST"]),
        Route("/oauth/callback", _told(returned), methods=["GET"]),
        Route(authorizing.DOCUMENT, _told(client), methods=["GET"]),
    ]


async def _guest(runtime: Runtime, request: Request) -> Guest:
    """Whoever holds the ticket, if they may still author: a key may have been taken away, or a role, since it was made."""
    who = await inviting.guest(runtime, request.path_params["ticket"])
    need(who.actor.role, Scope.AUTHOR)
    return who


def _told(handle: Handler) -> Handler:
    """Errors as pages. What nobody foresaw is logged without the address: it holds the ticket."""

    async def answered(request: Request) -> Response:
        try:
            return await handle(request)
        except WeftError as error:
            title = "This link is not good" if isinstance(error, NotFound) else "That did not work"
            return _page(title, f"<p>{escape(error.message)}</p>", error.status)
        except Exception:
            logger.exception("a page for people failed")
            return _page("That did not work", "<p>Something failed inside Weft; the log says what.</p>", 500)

    return answered


def _fields(raw: bytes, content_type: str) -> Mapping[str, str]:
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Invalid("This page takes its own form only.")
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=100, errors="strict")
    except ValueError:
        raise Invalid("The form could not be read.") from None
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def _sends_to(who: Guest) -> str:
    """Browsers also hold a redirect after a form to what the page says its forms may lead to."""
    auth = authorizing.auth_of(who.row.kind, who.row.settings) if who.row else None
    return origin_of(auth.authorize_url) if isinstance(auth, OAuth2) and auth.authorize_url else ""


def _sign_in(row: Row, url: str) -> Response:
    """Where to agree is the word of a stranger: the person sees whom they are sent to before they go."""
    at = escape(origin_of(url))
    told = f"<p>The server of the connection <b>{escape(row.name)}</b> wants you to sign in at <b>{at}</b>.</p>"
    return _page("Sign in", f'{told}<p><a href="{escape(url)}">Sign in at {at}</a></p>')


def _headers(*, sends_to: str = "") -> dict[str, str]:
    policy = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self' {sends_to}".rstrip()
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "same-origin",  # with no-referrer a browser would send the form as from nowhere
        "Cache-Control": "no-store",
    }


def _page(title: str, body: str, status: int = 200, *, sends_to: str = "") -> Response:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Weft: {escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    )
    return HTMLResponse(html, status, _headers(sends_to=sends_to))
