"""Where a call comes from, as far as it can be believed, and the stored lists of who may come (contract 3.2, 6)."""

import ipaddress
from collections.abc import Iterable, Sequence

from msgspec import Struct

from treadle.core.at_hand import AtHand
from treadle.core.clock import Clock
from treadle.core.documents import Collection
from treadle.core.errors import Conflict, Fault, Invalid
from treadle.core.ports import Store, Tx
from treadle.faces.console.errors import NotHere
from treadle.web.admission import Admission
from treadle.web.call import Call

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORWARDED = (b"x-forwarded-for", b"x-real-ip", b"forwarded")
_KEY = "lists"


class AddressLists(Struct, frozen=True):
    """Addresses and networks, as text: who may come (nobody listed: everyone), and who may not whatever else."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def admits(self, address: Address | None) -> bool:
        """Whether this address may come. One that cannot be read may only where there are no lists."""
        if not self.allow and not self.deny:
            return True
        return (
            address is not None
            and not _among(address, map(network, self.deny))
            and (not self.allow or _among(address, map(network, self.allow)))
        )


address_lists = Collection("console_addresses", AddressLists)


class Porch(Admission):
    """The doorkeeper of the Console's listener: as every face's, but it believes the proxies that it was told of.

    A call that comes from one of them gets the address, the scheme and the host that the proxy names; from anybody else
    the `X-Forwarded-*` headers change nothing.
    """

    def __init__(self, *, hosts: Iterable[str], origins: Iterable[str], proxies: Iterable[str]) -> None:
        super().__init__(hosts=hosts, origins=origins)
        self._proxies = tuple(map(network, proxies))

    def admit(self, call: Call) -> None:
        if self._proxies and _among(parsed(call.client), self._proxies):
            self._believe(call)
        super().admit(call)

    def _believe(self, call: Call) -> None:
        """Takes the right-most address that is no proxy of ours: what is left of it anybody may have written."""
        for text in reversed(_words(call, b"x-forwarded-for")):
            address = parsed(text)
            if address is None:
                break
            call.client = str(address)
            if not _among(address, self._proxies):
                break
        scheme = _words(call, b"x-forwarded-proto")[-1:]
        if scheme in (["http"], ["https"]):
            call.scheme = scheme[0]
        host = _words(call, b"x-forwarded-host")[-1:]
        if host and host[0]:
            call.host = host[0]

    @staticmethod
    def local(call: Call) -> bool:
        """Whether the caller is on this machine; what somebody passed on never is, whoever says so."""
        address = parsed(call.client)
        passed_on = any(name in call.headers for name in _FORWARDED)
        return address is not None and address.is_loopback and not passed_on


class Addresses:
    """The lists in the store, kept at hand."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store

        def read(tx: Tx, keys: Sequence[str]) -> dict[str, AddressLists]:
            found = address_lists.get(tx, _KEY)
            return {key: found.value if found else AddressLists() for key in keys}

        self._at_hand = AtHand[AddressLists](store, clock, read)

    async def lists(self) -> AddressLists:
        return await self._at_hand.get(_KEY) or AddressLists()

    async def check(self, call: Call) -> None:
        """Raises NotHere for an address that the lists keep out."""
        if not (await self.lists()).admits(parsed(call.client)):
            raise NotHere

    async def change(self, lists: AddressLists, by: str) -> AddressLists:
        """Store other lists. Raises Invalid for what is no address, Conflict where `by` would shut itself out."""
        entries = [("whitelist", text) for text in lists.allow] + [("blacklist", text) for text in lists.deny]
        faults = [
            Fault(field, f"{text[:60]!r} is no address or network") for field, text in entries if not _reads(text)
        ]
        if faults:
            raise Invalid(*faults)
        tidy = AddressLists(_tidy(lists.allow), _tidy(lists.deny))
        if not tidy.admits(parsed(by)):
            raise Conflict("These lists would shut out the address that you come from; nothing was changed")
        await self._store.write(lambda tx: address_lists.put(tx, _KEY, tidy))
        self._at_hand.forget_all()
        return tidy


def parsed(text: str) -> Address | None:
    """The address in a text, a mapped IPv4 one as IPv4; None for what is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network(text: str) -> Network:
    """An address or a network; raises ValueError."""
    return ipaddress.ip_network(text.strip(), strict=False)


def _among(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in each for each in networks)


def _reads(text: str) -> bool:
    try:
        network(text)
    except ValueError:
        return False
    return True


def _tidy(texts: Iterable[str]) -> tuple[str, ...]:
    """Each entry once, single addresses without their prefix length."""
    shown = (str(network(text)) for text in texts)
    return tuple(
        dict.fromkeys(text.removesuffix("/32") if "." in text else text.removesuffix("/128") for text in shown)
    )


def _words(call: Call, name: bytes) -> list[str]:
    value = call.headers.get(name)
    return [] if value is None else [word.strip() for word in value.decode("latin-1").split(",")]
