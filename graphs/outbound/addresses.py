"""Which IP addresses belong to the public internet, and what the others are called in a sentence."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA special-purpose registries (RFC 6890 and successors). Written out because `ipaddress.is_global` has changed
# between patch releases of Python and does not know the platform addresses of the clouds.
PRIVATE_V4: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a shared (carrier NAT) address"),
    ("127.0.0.0/8", "a loopback address"),
    ("168.63.129.16/32", "a cloud metadata address"),  # the Azure platform channel, although formally public
    ("169.254.0.0/16", "a link-local (cloud metadata) address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "a documentation address"),
    ("192.88.99.0/24", "a 6to4 relay address"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "a benchmark address"),
    ("198.51.100.0/24", "a documentation address"),
    ("203.0.113.0/24", "a documentation address"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
)
PRIVATE_V6: tuple[tuple[str, str], ...] = (
    ("::1/128", "a loopback address"),
    ("::/96", "a reserved address"),
    ("64:ff9b:1::/48", "a private address"),  # local NAT64: leads wherever the operator of the network says
    ("2001::/23", "a reserved address"),  # Teredo, ORCHID, benchmarking and other protocol assignments
    ("2001:db8::/32", "a documentation address"),
    ("2002::/16", "a 6to4 address"),
    ("3fff::/20", "a documentation address"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a private address"),
    ("ff00::/8", "a multicast address"),
)
GLOBAL_V6 = IPv6Network("2000::/3")  # all global unicast there is; anything outside is refused whatever it may become
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = (0x00005EFE, 0x02005EFE)  # upper half of the interface identifier, RFC 5214 §6.1

_V4 = tuple((IPv4Network(net), name) for net, name in PRIVATE_V4)
_V6 = tuple((IPv6Network(net), name) for net, name in PRIVATE_V6)

# Never reached through a name the operator allowed: a subdomain under somebody else's control could point there.
_NEVER_BY_NAME: tuple[Network, ...] = tuple(
    ipaddress.ip_network(net)
    for net in ("0.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "100.100.100.200/32", "224.0.0.0/4", "240.0.0.0/4")
) + tuple(ipaddress.ip_network(net) for net in ("::/128", "fe80::/10", "fd00:ec2::254/128", "ff00::/8"))


def read(text: str) -> Address | None:
    """The address that a resolver's answer stands for, an IPv4 address inside IPv6 taken out; None when it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in NAT64 and address.scope_id is None:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def kind(address: Address) -> str | None:
    """What is wrong with connecting to `address`, as "a private address"; None for a public one."""
    if isinstance(address, IPv4Address):
        return next((name for net, name in _V4 if address in net), None)
    if address.scope_id is not None:
        return "a link-local address"
    found = next((name for net, name in _V6 if address in net), None)
    if found or address not in GLOBAL_V6:
        return found or "a reserved address"
    return "an ISATAP address" if (int(address) >> 32) & 0xFFFF_FFFF in ISATAP else None


def never_by_name(address: Address) -> bool:
    """Whether `address` stays refused for an allowed host name (metadata, link-local, multicast, unspecified)."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return True
    return any(address.version == net.version and address in net for net in _NEVER_BY_NAME)
