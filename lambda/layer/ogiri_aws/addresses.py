"""Connections to public addresses only, so that a CSV cannot make this account's network answer.

The name is resolved once, every address is checked, and the connection goes to the address that was checked: what the
name resolves to a moment later does not matter. Each hop of a redirect is a connection of its own.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NameResolutionError

if TYPE_CHECKING:
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(HTTPError):
    """A host whose address pictures may not come from. It is not tried again."""


def check_address(text: str, networks: Sequence[Network] = ()) -> str:
    """Return an address if it is a public one, or in one of `networks`.

    Raises:
        ForbiddenAddressError: it is private, loopback, link-local (where credentials are), or made to look public.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if any(address in network for network in networks):
        return text
    inner = _embedded(address)
    if inner is not None or not address.is_global or address.is_multicast or address.is_reserved:
        raise ForbiddenAddressError(f"{inner or address} is no public address")
    return text


def _embedded(address: Address) -> Address | None:
    """The IPv4 address that a gateway may make of an IPv6 one. None of these is a public server's own address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


class GuardedAdapter(HTTPAdapter):
    """An adapter of requests that connects to public addresses, and to those of `networks`."""

    def __init__(self, networks: Sequence[str], **options: Any) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        super().__init__(**options)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """As HTTPAdapter's, with guarded connections."""
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._networks)


def _pools(networks: Sequence[Network]) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn, networks)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn, networks)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connected(connection: HTTPConnection, connect: Any, networks: Sequence[Network]) -> socket.socket:
    """A socket to one of the host's addresses; certificates are still checked against the host's name."""
    host = connection.host
    try:
        found = socket.getaddrinfo(host.strip("[]"), connection.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    addresses = [check_address(str(entry[4][0]), networks) for entry in found]
    try:
        for number, address in enumerate(addresses, 1):
            connection.host = address
            try:
                return connect()  # type: ignore[no-any-return]
            except HTTPError:
                if number == len(addresses):
                    raise
    finally:
        connection.host = host
    raise NameResolutionError(host, connection, socket.gaierror("it has no address"))
