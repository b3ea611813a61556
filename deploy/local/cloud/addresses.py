"""Addresses of one vSwitch: which are held, which comes next, how many are left."""

import ipaddress
from collections.abc import Iterable


class AddressPool:
    """Gives out addresses of a range, as integers, each once until it is given back.

    Args:
        assignable: what may be given out.
        lowest_first: always the lowest free one, so that a freed address is re-issued at once;
            otherwise go round, so that a freed one comes back after a full turn.
    """

    def __init__(self, assignable: range, *, lowest_first: bool) -> None:
        self._assignable = assignable
        self._lowest_first = lowest_first
        self._held: set[int] = set()
        self._limit = len(assignable)
        self._next = assignable.start

    def __contains__(self, address: int) -> bool:
        return address in self._held

    @property
    def available(self) -> int:
        """How many addresses can still be given out."""
        return self._limit - len(self._held)

    def leave_free(self, count: int) -> None:
        """From now on, all but `count` of the free addresses belong to somebody else."""
        self._limit = len(self._held) + count

    def take(self, address: int) -> bool:
        """Hold this very address. False if it is held or not assignable."""
        if address in self._held or address not in self._assignable or self.available <= 0:
            return False
        self._held.add(address)
        return True

    def take_next(self, avoid: Iterable[int] = ()) -> int | None:
        """Hold the next free address, or answer None when none is left."""
        if self.available <= 0:
            return None
        kept_back = frozenset(avoid)
        start = self._assignable.start if self._lowest_first else self._next
        for step in range(len(self._assignable)):
            offset = (start - self._assignable.start + step) % len(self._assignable)
            address = self._assignable[offset]
            if address not in self._held and address not in kept_back:
                self._held.add(address)
                self._next = address + 1 if address + 1 in self._assignable else start
                return address
        return None

    def give_back(self, address: int) -> None:
        self._held.discard(address)


def ipv6_assignable(cidr: str) -> range:
    """A workable part of an IPv6 network: enough addresses, without the first few."""
    network = ipaddress.IPv6Network(cidr)
    first = int(network.network_address)
    # range() can't take the length of a whole /64 (len() would overflow).
    return range(first + 0x10, first + min(network.num_addresses, 1 << 32))
