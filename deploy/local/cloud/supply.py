"""What the simulated cloud chooses itself: ids, MACs, addresses and VLAN ids."""

import ipaddress
from random import Random

from deploy.local.cloud.addresses import AddressPool, ipv6_assignable
from deploy.local.cloud.apis import ApiError
from deploy.local.cloud.enis import Eni
from deploy.local.cloud.faults import FaultBoard, IpExhaustion
from deploy.local.cloud.world import VSwitch, World

LAST_VLAN = 4094

_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Supply:
    """Gives out what must be unique, and takes it back. What is returned may be re-issued."""

    def __init__(self, world: World, random: Random, faults: FaultBoard) -> None:
        at_once = world.reuse_addresses_at_once
        self._random = random
        self._faults = faults
        self._first_vlan = world.first_vlan
        self._ipv4 = {
            vswitch.id: AddressPool(vswitch.assignable(), lowest_first=at_once)
            for vswitch in world.vswitches
        }
        self._ipv6 = {
            vswitch.id: AddressPool(ipv6_assignable(vswitch.ipv6_cidr), lowest_first=at_once)
            for vswitch in world.vswitches
            if vswitch.ipv6_cidr
        }
        self._macs: set[str] = set()
        self._ids: set[str] = set()
        self._vlans: dict[str, set[int]] = {}
        self._ordinal = 0

    def ordinal(self) -> int:
        """The next creation number."""
        self._ordinal += 1
        return self._ordinal

    def eni_id(self) -> str:
        """An id that was never given out before."""
        while True:
            identity = "eni-bp1" + "".join(self._random.choices(_ID_ALPHABET, k=17))
            if identity not in self._ids:
                self._ids.add(identity)
                return identity

    def mac(self) -> str:
        while True:
            mac = "00:16:3e:" + self._random.getrandbits(24).to_bytes(3, "big").hex(":")
            if mac not in self._macs:
                self._macs.add(mac)
                return mac

    def available(self, vswitch_id: str) -> int:
        """Free IPv4 addresses; 0 while an ip_exhaustion fault is up."""
        if self._faults.stands(IpExhaustion, vswitch_id=vswitch_id):
            return 0
        return self._ipv4[vswitch_id].available

    def leave_free(self, vswitch: VSwitch) -> None:
        """Let the world's free_ips hold from now on."""
        if vswitch.free_ips is not None:
            self._ipv4[vswitch.id].leave_free(vswitch.free_ips)

    def ipv4(self, vswitch_id: str, wanted: str | None = None) -> str:
        """An IPv4 address of the vSwitch, or the wanted one. Raises ApiError."""
        pool = self._ipv4[vswitch_id]
        if pool.available <= 0:
            raise ip_not_enough(vswitch_id)
        if wanted is None:
            taken = pool.take_next()
            assert taken is not None, "the pool said it had addresses"
            return str(ipaddress.IPv4Address(taken))
        try:
            address = int(ipaddress.IPv4Address(wanted))
        except ValueError:
            raise ApiError("InvalidIPAddress.Malformed", f"{wanted} is no address.") from None
        if not pool.take(address):
            raise ApiError(
                "InvalidIPAddress.AlreadyUsed", f"{wanted} is used or not assignable.", 403
            )
        return wanted

    def ipv6(self, vswitch_id: str, count: int) -> tuple[str, ...]:
        """That many IPv6 addresses of the vSwitch; it must have an IPv6 CIDR unless count is 0."""
        pool = self._ipv6[vswitch_id] if count else AddressPool(range(0), lowest_first=True)
        taken = [pool.take_next() for _ in range(count)]
        return tuple(str(ipaddress.IPv6Address(address)) for address in taken if address)

    def vlan(self, trunk_id: str) -> int:
        """The trunk's lowest free VLAN id: a released one is given out again at once."""
        taken = self._vlans.setdefault(trunk_id, set())
        for vlan in range(self._first_vlan, LAST_VLAN + 1):
            if vlan not in taken:
                taken.add(vlan)
                return vlan
        raise ApiError("EniPerInstanceLimitExceeded", f"Trunk {trunk_id} has no VLAN left.", 403)

    def give_back_vlan(self, eni: Eni) -> None:
        if eni.trunk_id is not None and eni.vlan is not None:
            self._vlans[eni.trunk_id].discard(eni.vlan)

    def give_back_eni(self, eni: Eni) -> None:
        """Addresses and MAC of an ENI that is gone."""
        self._ipv4[eni.vswitch_id].give_back(int(ipaddress.IPv4Address(eni.ipv4)))
        for address in eni.ipv6:
            self._ipv6[eni.vswitch_id].give_back(int(ipaddress.IPv6Address(address)))
        self._macs.discard(eni.mac)


def ip_not_enough(vswitch_id: str) -> ApiError:
    return ApiError(
        "InvalidVSwitchId.IpNotEnough",
        f"The specified vSwitch {vswitch_id} has not enough IP addresses.",
        403,
    )
