"""How one outbound call behaves: bounded in size and time, careful with redirects, clear about what went wrong."""

from __future__ import annotations

import asyncio
import datetime
import functools
import gc
import gzip
import ssl
import time
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from graphs.nodetype import Failure
from graphs.outbound import Answer, Outbound, Policy
from tests.outbound.loopback import Asked, Reply, always, answer, names, origin

pytestmark = pytest.mark.anyio
LOCAL = Policy(allow_nets=("127.0.0.0/8",))


async def fails(reply: Reply, *, timeout: float = 5.0, max_bytes: int | None = None) -> Failure:
    async with origin(reply) as here, Outbound(LOCAL) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.request("GET", here.url + "/path?token=secret", timeout=timeout, max_bytes=max_bytes)
    assert "secret" not in failed.value.message
    return failed.value


async def test_a_call_carries_what_it_was_given_and_brings_back_the_answer() -> None:
    raw = b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-A: 1\r\nX-a: 2\r\n\r\nok"
    async with origin(always(raw)) as here, Outbound(LOCAL) as outbound:
        got = await outbound.request("post", here.url + "/a?b=1", params={"c": "é", "d": [1, 2]}, json={"n": None}, headers={"X-B": "2"})
    (asked,) = here.asked
    assert got == Answer(
        status=201, reason="Made", headers={"content-length": "2", "x-a": "1, 2"}, body=b"ok", url=here.url + "/a?b=1&c=%C3%A9&d=1&d=2"
    )
    assert (asked.method, asked.target, asked.body) == ("POST", "/a?b=1&c=%C3%A9&d=1&d=2", b'{"n":null}')
    assert (asked.headers["content-type"], asked.headers["x-b"]) == ("application/json", "2")


async def test_any_json_value_can_be_sent_even_a_lone_surrogate() -> None:
    async with origin(always(answer())) as here, Outbound(LOCAL) as outbound:
        await outbound.request("POST", here.url, json="\ud800\x00")
        await outbound.request("POST", here.url, json=None)
    assert [asked.body for asked in here.asked] == [b'"\\ud800\\u0000"', b"null"]


async def test_cookies_of_one_call_are_unknown_to_the_next() -> None:
    async with origin(always(answer(set_cookie="session=1; Path=/"))) as here, Outbound(LOCAL) as outbound:
        for _ in range(2):
            await outbound.request("GET", here.url)
            await outbound.client(here.url).get(here.url)
    assert not any("cookie" in asked.headers for asked in here.asked)


async def test_connections_are_kept_alive() -> None:
    async with origin(always(answer(body=b"ok"))) as here, Outbound(LOCAL) as outbound:
        for _ in range(5):
            await outbound.request("GET", here.url)
        assert here.connections == 1


# --- size and time ---------------------------------------------------------------------------------------------------


@functools.cache
def gzip_bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


async def test_a_gzip_bomb_is_refused_by_its_unpacked_size() -> None:
    bomb = gzip_bomb(200)
    began = time.process_time()
    failure = await fails(always(answer(body=bomb, content_encoding="gzip")))
    assert failure.code == "too_large"
    assert len(bomb) < 300_000
    assert time.process_time() - began < 2.0  # stops at the limit; unpacking all of it takes longer and 200 MB


async def test_a_bomb_inside_a_bomb_is_refused_too() -> None:
    bomb = gzip.compress(gzip_bomb(200), 9)
    failure = await fails(always(answer(body=bomb, content_encoding="gzip, gzip")))
    assert failure.code == "too_large"


async def test_what_is_not_packed_as_it_says_is_a_clear_failure() -> None:
    assert (await fails(always(answer(body=b"plain", content_encoding="gzip")))).code == "bad_answer"


async def test_an_answer_that_declares_or_reaches_too_many_bytes_is_refused() -> None:
    declared = await fails(always(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"))
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + bytes(0x400) + b"\r\n"
    undeclared = await fails(always(endless), max_bytes=1000)
    assert (declared.code, undeclared.code) == ("too_large", "too_large")
    assert "larger than 1,000 bytes" in undeclared.message


async def test_an_answer_of_exactly_the_limit_is_accepted() -> None:
    async with origin(always(answer(body=b"x" * 1000))) as here, Outbound(LOCAL) as outbound:
        assert len((await outbound.request("GET", here.url, max_bytes=1000)).body) == 1000


async def dripping(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """One byte of body every 10 ms: no single read ever times out."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def dripping_headers(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("reply", [dripping, dripping_headers, silent])
async def test_the_deadline_is_of_the_whole_call(reply: Reply) -> None:
    began = time.monotonic()
    failure = await fails(reply, timeout=0.3)
    assert (failure.code, failure.retryable) == ("timeout", True)
    assert failure.message.endswith("did not finish its answer within 0.3 s")
    assert time.monotonic() - began < 5


async def test_endless_headers_are_refused() -> None:
    failure = await fails(always(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000))
    assert failure.code == "cut"


# --- what can go wrong -----------------------------------------------------------------------------------------------


async def cut(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def hang_up(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("reply", [cut, hang_up, always(b"SMTP ready\r\n\r\n")])
async def test_a_broken_answer_says_so_and_may_be_tried_again(reply: Reply) -> None:
    failure = await fails(reply)
    assert (failure.code, failure.retryable) == ("cut", True)
    assert "broke before its answer was complete" in failure.message


async def test_a_port_nobody_listens_on_says_so_and_may_be_tried_again() -> None:
    async with origin(always(b"")) as gone:
        pass
    async with Outbound(LOCAL) as outbound:
        with pytest.raises(Failure, match="does not accept connections") as failed:
            await outbound.request("GET", gone.url)
    assert (failed.value.code, failed.value.retryable) == ("connect", True)


async def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    resolver = names(two_example=("127.0.0.2", "127.0.0.1"))
    async with origin(always(answer(body=b"second"))) as here, Outbound(LOCAL, resolver=resolver) as outbound:
        assert (await outbound.request("GET", f"http://two.example:{here.port}")).body == b"second"


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-B: 2"}, {"X A": "1"}, {"": "1"}, {"X-Ü": "1"}])
async def test_a_header_cannot_carry_another_request(headers: dict[str, str]) -> None:
    async with origin(always(answer())) as here, Outbound(LOCAL) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.request("GET", here.url, headers=headers)
    assert failed.value.code == "bad_request"
    assert not here.asked


# --- redirects -------------------------------------------------------------------------------------------------------


def moved(where: str, status: int = 302) -> Reply:
    return always(answer(status, location=where))


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "blocked_address"),
        ("http://[::ffff:10.0.0.1]/", "blocked_address"),
        ("http://127.0.0.1:22/", "blocked_address"),
        ("file:///etc/passwd", "bad_url"),
        ("http://user:password@example.com/", "bad_url"),
        ("http://[broken", "bad_url"),
    ],
)
async def test_a_redirect_leads_nowhere_a_call_could_not_go(target: str, code: str) -> None:
    async with origin(moved(target)) as here, Outbound(Policy(allow_hosts=(here.host,))) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.request("GET", here.url)
    assert failed.value.code == code
    assert failed.value.details == {"sent": True}


async def test_a_circle_of_redirects_ends() -> None:
    async with origin(moved("/again")) as here, Outbound(LOCAL) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.request("GET", here.url)
        assert failed.value.code == "redirects"
        assert len(here.asked) == 11


async def test_redirects_are_an_answer_when_they_are_not_followed() -> None:
    async with origin(moved("/there")) as here, Outbound(LOCAL) as outbound:
        got = await outbound.request("GET", here.url, follow_redirects=False)
    assert (got.status, got.headers["location"]) == (302, "/there")


async def test_credentials_stay_with_the_origin_they_were_given_for() -> None:
    async with origin(always(answer(body=b"end"))) as other, origin(moved(other.url + "/x")) as here, Outbound(LOCAL) as outbound:
        headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "X-Api-Key": "secret", "Accept": "text/plain"}
        assert (await outbound.request("GET", here.url, headers=headers)).body == b"end"
    assert here.asked[0].headers["authorization"] == "Bearer secret"
    assert "secret" not in str(other.asked[0])
    assert "cookie" not in other.asked[0].headers
    assert other.asked[0].headers["accept"] == "text/plain"


async def test_credentials_go_along_within_one_origin() -> None:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(302, location="/b") if asked.target == "/a" else answer(body=b"end"))

    async with origin(reply) as here, Outbound(LOCAL) as outbound:
        await outbound.request("GET", here.url + "/a", headers={"Authorization": "Bearer secret"})
    assert [asked.headers.get("authorization") for asked in here.asked] == ["Bearer secret", "Bearer secret"]


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (303, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (301, "PUT", "PUT", b'"x"'),
        (307, "POST", "POST", b'"x"'),
        (308, "PATCH", "PATCH", b'"x"'),
    ],
)
async def test_a_redirected_method_changes_as_in_a_browser(status: int, method: str, then: str, body: bytes) -> None:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status, location="/b") if asked.target == "/a" else answer(body=b"end"))

    async with origin(reply) as here, Outbound(LOCAL) as outbound:
        await outbound.request(method, here.url + "/a", json="x")
    assert (here.asked[1].method, here.asked[1].body) == (then, body)


# --- TLS -------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a fresh certificate for `name`, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "pem").write_bytes(plain + signed.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "pem")
    return server, ssl.create_default_context(cadata=signed.public_bytes(serialization.Encoding.PEM).decode())


@asynccontextmanager
async def secure(folder: Path) -> AsyncGenerator[tuple[Outbound, int]]:
    server, client = certificate(folder, "good.example")
    resolver = names(good_example=("127.0.0.1",), other_example=("127.0.0.1",))
    async with origin(always(answer(body=b"safe")), tls=server) as here, Outbound(LOCAL, resolver=resolver, tls=client) as outbound:
        yield outbound, here.port


async def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    async with secure(tmp_path) as (outbound, port):
        assert (await outbound.request("GET", f"https://good.example:{port}/")).body == b"safe"
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(Failure, match=r"the certificate of https://.* is not valid for it") as failed:
                await outbound.request("GET", f"https://{host}:{port}/")
            assert (failed.value.code, failed.value.retryable) == ("tls", False)


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "good.example")
    resolver = names(good_example=("127.0.0.1",))
    async with origin(always(answer()), tls=server) as here, Outbound(LOCAL, resolver=resolver) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.request("GET", f"https://good.example:{here.port}/")
    assert failed.value.code == "tls"


async def test_a_plain_server_behind_https_is_a_tls_failure() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server, Outbound(LOCAL) as outbound:
        with pytest.raises(Failure, match=r"no TLS connection to https://127\.0\.0\.1") as failed:
            await outbound.request("GET", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert failed.value.code == "tls"


async def test_a_handshake_that_never_ends_does_and_leaves_no_connection_open(tmp_path: Path) -> None:
    _, client = certificate(tmp_path, "good.example")
    async with origin(silent) as here, Outbound(LOCAL, tls=client) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.request("GET", f"https://127.0.0.1:{here.port}/", timeout=0.2)
    assert failed.value.code in ("timeout", "connect")
    gc.collect()  # an open socket found here is a ResourceWarning, hence an error


# --- the client of the SDKs ------------------------------------------------------------------------------------------


async def test_the_client_of_the_sdks_is_bounded_and_follows_nothing() -> None:
    async with (
        origin(always(answer(body=bytes(2000)))) as large,
        origin(moved(large.url)) as moving,
        Outbound(Policy(max_bytes=1000)) as outbound,
    ):
        for here, code in ((large, "too_large"), (moving, "redirects")):
            with pytest.raises(Failure) as failed:
                await outbound.client(here.url).get(here.url, follow_redirects=True)
            assert failed.value.code == code
    assert len(large.asked) == 1
    assert large.asked[0].headers["accept-encoding"] == "identity"


async def test_the_client_of_the_sdks_refuses_packed_answers() -> None:
    async with origin(always(answer(body=gzip_bomb(20), content_encoding="gzip"))) as here, Outbound(Policy()) as outbound:
        with pytest.raises(Failure) as failed:
            await outbound.client(here.url).get(here.url)
    assert failed.value.code == "bad_answer"
