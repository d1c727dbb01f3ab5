"""The outbound policy: which hosts, ports and addresses a step may reach. Only the operator's settings make one."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from graphs.nodetype import Failure
from graphs.outbound.addresses import Network, kind, never_by_name, read
from store.errors import Misconfigured

WEB_PORTS = frozenset({80, 443})
MIB = 2**20
ENTRY = re.compile(r"(?P<star>\*\.)?(?P<name>[a-z0-9_-][a-z0-9_.-]*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows besides the public internet.

    allow_hosts: "shop.internal", "127.0.0.1:8123", "[::1]:9000", "*.corp.example"; with a port, that port only, but
    whichever it is. allow_nets: "10.2.0.0/16". max_bytes counts the decoded answer; timeout (seconds) bounds the
    whole call."""

    allow_hosts: tuple[str, ...] = ()
    allow_nets: tuple[str, ...] = ()
    max_bytes: int = 10 * MIB
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    name: str  # lower case, no brackets; for a pattern the part after "*", with its dot
    port: int | None
    pattern: bool

    def fits(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return host.endswith(self.name) if self.pattern else host == self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A Policy read once: refuses by raising Failure("blocked_address", …)."""

    hosts: tuple[Host, ...]
    nets: tuple[Network, ...]

    @classmethod
    def of(cls, policy: Policy, also: tuple[str, ...] = ()) -> Rules:
        """Raises Misconfigured with the entry that cannot be read."""
        return cls(hosts=tuple(map(_host, (*policy.allow_hosts, *also))), nets=tuple(map(_net, policy.allow_nets)))

    def named(self, host: str, port: int) -> Host | None:
        """The operator's entry that covers this host and port."""
        name = spelled(host)
        return next((entry for entry in self.hosts if entry.fits(name, port)), None)

    def check_port(self, host: str, port: int) -> None:
        if port in WEB_PORTS or 1024 <= port <= 65535:
            return
        entry = self.named(host, port)
        if entry is None or entry.port is None:
            raise Failure(
                "blocked_address",
                f"port {port} of {host} is not a web port (80, 443 or 1024 and above); "
                f"the operator can allow it with WEFT_ALLOW_HOSTS={bracketed(host)}:{port}",
            )

    def check_addresses(self, host: str, port: int, answers: tuple[str, ...]) -> None:
        """Every answer must pass: one bad address among good ones is how rebinding begins."""
        entry = self.named(host, port)
        for answer in answers:
            self._check_address(host, port, answer, entry)

    def _check_address(self, host: str, port: int, answer: str, entry: Host | None) -> None:
        address = read(answer)
        if address is None:
            raise Failure("blocked_address", f"{host} resolves to {answer[:80]!r}, which is not an IP address")
        wrong = kind(address)
        if wrong is None or any(address.version == net.version and address in net for net in self.nets):
            return
        literal = read(spelled(host)) is not None
        if entry is not None and (not never_by_name(address) or (literal and not entry.pattern)):
            return
        verb = "is" if literal else "resolves to"
        if entry is None and not never_by_name(address):
            raise Failure(
                "blocked_address",
                f"{host} {verb} {wrong}; the operator can allow it with WEFT_ALLOW_HOSTS={bracketed(host)}:{port} "
                "(or its network with WEFT_ALLOW_NETS)",
            )
        raise Failure(
            "blocked_address",
            f"{host} {verb} {wrong}, which no allowed name may reach; the operator can allow its network with WEFT_ALLOW_NETS",
        )


def spelled(host: str) -> str:
    """One spelling per host: lower case, without brackets and final dot; IPv6 literals compressed."""
    name = host.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _host(entry: str) -> Host:
    text = entry.strip().lower()
    found = ENTRY.fullmatch(text if text.count(":") < 2 or text.startswith("[") else f"[{text}]")
    if found is None or not 0 < int(found["port"] or 1) < 65536:
        raise Misconfigured(
            f"WEFT_ALLOW_HOSTS: {entry!r} is not a host; write for example shop.internal, 127.0.0.1:8123, [::1]:9000 or *.corp.example"
        )
    port = int(found["port"]) if found["port"] else None
    if found["star"]:
        return Host(name="." + found["name"], port=port, pattern=True)
    return Host(name=spelled(found["name"]), port=port, pattern=False)


def _net(entry: str) -> Network:
    try:
        return ipaddress.ip_network(entry.strip())
    except ValueError:
        raise Misconfigured(f"WEFT_ALLOW_NETS: {entry!r} is not a network; write for example 10.0.0.0/8 or 127.0.0.1/32") from None
