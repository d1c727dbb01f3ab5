"""Which targets a step may reach: every way to spell, resolve or redirect to a private address ends at the policy."""

from __future__ import annotations

import pytest

from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from graphs.outbound.policy import Rules
from store.errors import Misconfigured
from tests.outbound.loopback import always, answer, names, origin

pytestmark = pytest.mark.anyio

SPELLINGS = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://127.255.255.254/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[2001:db8::1]/",
    "http://[2a00:1450:4001:831::5efe:127.0.0.1]/",
    "http://[2a00:1450:4001:831:200:5efe:7f00:1]/",
    "http://[fd00:ec2::254]/",
    "http://[fc00::1]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[4000::1]/",
]


@pytest.mark.parametrize("url", SPELLINGS)
async def test_no_spelling_of_a_private_address_is_connected_to(url: str) -> None:
    async with Outbound(Policy()) as outbound:
        with pytest.raises(Failure) as refused:
            await outbound.request("GET", url)
    assert refused.value.code == "blocked_address"
    assert not refused.value.retryable


@pytest.mark.parametrize("host", ["１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "ⅼocalhost", "0177.0.0.1", "127.0.0.1."])
async def test_what_only_looks_like_an_address_does_not_lead_inside(host: str) -> None:
    async with Outbound(Policy()) as outbound:
        with pytest.raises(Failure) as refused:
            await outbound.request("GET", f"http://{host}/")
    assert refused.value.code in ("blocked_address", "bad_url", "connect")


async def test_a_link_local_address_with_a_scope_is_refused() -> None:
    async with Outbound(Policy(allow_hosts=("printer.local",)), resolver=names(printer_local=("fe80::1%1",))) as outbound:
        with pytest.raises(Failure, match="link-local"):
            await outbound.request("GET", "http://printer.local/")


@pytest.mark.parametrize(
    "answers", [("10.0.0.5",), ("93.184.216.34", "10.0.0.5"), ("::ffff:10.0.0.5",), ("93.184.216.34", "fd00::1"), ("nonsense",)]
)
async def test_every_answer_of_the_resolver_must_be_public(answers: tuple[str, ...]) -> None:
    async with Outbound(Policy(), resolver=names(shop_example=answers)) as outbound:
        with pytest.raises(Failure) as refused:
            await outbound.request("GET", "https://shop.example/")
    assert refused.value.code == "blocked_address"
    assert refused.value.message.startswith("shop.example resolves to ")
    assert "10.0.0.5" not in refused.value.message  # nobody learns the map of the inside from a refusal


async def test_the_refusal_says_what_the_operator_can_do() -> None:
    async with Outbound(Policy(), resolver=names(shop_internal=("10.0.0.5",))) as outbound:
        with pytest.raises(Failure) as refused:
            await outbound.request("GET", "http://shop.internal:8080/secret?token=abc")
    assert refused.value.message == (
        "shop.internal resolves to a private address; the operator can allow it with WEFT_ALLOW_HOSTS=shop.internal:8080 "
        "(or its network with WEFT_ALLOW_NETS)"
    )


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 111, 445, 631, 1023])
async def test_ports_that_are_not_for_the_web_are_refused(port: int) -> None:
    async with Outbound(Policy(), resolver=names(mail_example=("93.184.216.34",))) as outbound:
        with pytest.raises(Failure, match=f"port {port} of mail.example is not a web port") as refused:
            await outbound.request("GET", f"http://mail.example:{port}/")
    assert refused.value.code == "blocked_address"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "unix:///var/run/docker.sock",
        "//example.com/",
        "example.com",
        "",
        "http://",
        "http:///path",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "http://exa mple.com/",
        "http://example.com:99999/",
        "http://[::1",
        "http://" + "a" * 70_000 + "/",
    ],
)
async def test_what_is_not_a_plain_web_address_is_refused_before_anything_is_resolved(url: str) -> None:
    async with Outbound(Policy(), resolver=names()) as outbound:
        with pytest.raises(Failure) as refused:
            await outbound.request("GET", url)
    assert refused.value.code == "bad_url"
    assert "secret" not in refused.value.message


async def test_an_allowed_host_and_port_is_reached_and_its_neighbour_is_not() -> None:
    async with origin(always(answer(body=b"in"))) as allowed, origin(always(answer())) as other:
        async with Outbound(Policy(allow_hosts=(allowed.host,))) as outbound:
            assert (await outbound.request("GET", allowed.url)).body == b"in"
            for url in (other.url, f"http://2130706433:{allowed.port}", f"http://localhost:{allowed.port}"):
                with pytest.raises(Failure) as refused:
                    await outbound.request("GET", url)
                assert refused.value.code == "blocked_address"
        assert (allowed.connections, other.connections) == (1, 0)


async def test_an_allowed_network_is_reached_by_any_name() -> None:
    async with origin(always(answer(body=b"in"))) as here:
        policy = Policy(allow_nets=("127.0.0.0/8",))
        async with Outbound(policy, resolver=names(shop_internal=("127.0.0.1",))) as outbound:
            assert (await outbound.request("GET", f"http://shop.internal:{here.port}/")).body == b"in"
            assert (await outbound.request("GET", here.url)).body == b"in"


async def test_a_pattern_covers_subdomains_and_never_the_metadata_address() -> None:
    resolver = names(a_corp_example=("127.0.0.1",), evil_corp_example=("169.254.169.254",), notcorp_example=("127.0.0.1",))
    policy = Policy(allow_hosts=("*.corp.example",))
    async with origin(always(answer(body=b"in"))) as here, Outbound(policy, resolver=resolver) as outbound:
        assert (await outbound.request("GET", f"http://a.corp.example:{here.port}/")).body == b"in"
        with pytest.raises(Failure, match="no allowed name may reach"):
            await outbound.request("GET", "http://evil.corp.example/")
        with pytest.raises(Failure, match=r"notcorp\.example resolves to a loopback address"):
            await outbound.request("GET", f"http://notcorp.example:{here.port}/")


async def test_a_name_that_changes_its_address_between_two_looks_is_judged_by_the_one_connected_to() -> None:
    turns = iter([("93.184.216.34", "127.0.0.1"), ("127.0.0.1",)])

    async def rebinding(host: str, port: int) -> tuple[str, ...]:
        return next(turns)

    async with origin(always(answer())) as here, Outbound(Policy(), resolver=rebinding) as outbound:
        for _ in range(2):
            with pytest.raises(Failure) as refused:
                await outbound.request("GET", f"http://rebind.example:{here.port}/")
            assert refused.value.code == "blocked_address"
        assert here.connections == 0


async def test_proxies_from_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with origin(always(answer())) as proxy, origin(always(answer(body=b"direct"))) as here:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with Outbound(Policy(allow_nets=("127.0.0.1/32",))) as outbound:
            assert (await outbound.request("GET", here.url)).body == b"direct"
            assert (await outbound.client(here.url).get(here.url)).content == b"direct"
        assert proxy.connections == 0


async def test_the_hosts_of_a_client_for_an_sdk_are_its_own_exception_only() -> None:
    async with origin(always(answer(body=b"model"))) as model, origin(always(answer())) as other, Outbound(Policy()) as outbound:
        client = outbound.client(model.url + "/v1")
        assert (await client.get(model.url + "/v1/models")).content == b"model"
        for act in (client.get(other.url), outbound.request("GET", model.url)):
            with pytest.raises(Failure) as refused:
                await act
            assert refused.value.code == "blocked_address"


@pytest.mark.parametrize("entry", ["", "*", "http://a.example", "a.example/x", "a.example:", "a.example:99999", "a.*.example"])
def test_an_unreadable_allowed_host_stops_the_start_with_a_sentence(entry: str) -> None:
    with pytest.raises(Misconfigured, match=r"WEFT_ALLOW_HOSTS: .* is not a host; write for example"):
        Rules.of(Policy(allow_hosts=(entry,)))


def test_an_unreadable_allowed_network_stops_the_start_with_a_sentence() -> None:
    with pytest.raises(Misconfigured, match=r"WEFT_ALLOW_NETS: '10\.0\.0\.1/8' is not a network"):
        Rules.of(Policy(allow_nets=("10.0.0.1/8",)))
