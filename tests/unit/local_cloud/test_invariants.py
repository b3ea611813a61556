"""Whatever is called in whatever order, with faults: the simulated cloud never contradicts itself."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.cloud.port import CloudError, CreateEni, EniQuery
from deploy.local.cloud.faults import read_fault
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.cloud.simulator import Simulator
from deploy.local.cloud.world import parse_world

from .conftest import Clock, world_data

INSTANCES = ("h1", "h2", "i1")
FAULTS = (
    {"kind": "timeout", "api": "*", "effect": "after", "times": 1},
    {"kind": "gateway", "api": "*", "effect": "before", "times": 1},
    {"kind": "stuck", "state": "Detaching", "times": 1},
    {"kind": "stuck", "state": "Attaching", "seconds": 5, "times": 2},
    {"kind": "attach_fails", "times": 1},
    {"kind": "ip_exhaustion", "times": 1},
    {"kind": "describe_lag", "seconds": 3, "times": 3},
)

number = st.integers(0, 9)
instance = st.sampled_from(INSTANCES)
step = st.one_of(
    st.tuples(st.just("create"), number, st.sampled_from(["vsw-h", "vsw-small", "vsw-i"])),
    st.tuples(st.just("attach"), number, instance),
    st.tuples(st.just("detach"), number, instance),
    st.tuples(st.just("delete"), number, instance),
    st.tuples(st.just("wait"), number, instance),
    st.tuples(st.just("fault"), st.integers(0, len(FAULTS) - 1), instance),
    st.tuples(st.just("clear"), number, instance),
    st.tuples(st.just("kill"), number, instance),
)


def play(simulator: Simulator, clock: Clock, what: str, which: int, where: str) -> None:
    """One step; refusals and lost answers are part of the game."""
    cloud = simulated_cloud(simulator, now=clock, wait=clock.advance)
    mine = [eni.id for eni in simulator.model.enis() if eni.type in ("Secondary", "Member")]
    chosen = mine[which % len(mine)] if mine else "eni-none"
    try:
        match what:
            case "create":
                tags = {"n": str(which)}
                cloud.create_eni(CreateEni(where, ("sg-1",), f"t-{which}", tags, which % 2 == 0))
            case "attach":
                cloud.attach_eni(chosen, f"i-{where}", f"eni-t-{where}", None)
            case "detach":
                cloud.detach_eni(chosen, f"i-{where}", None)
            case "delete":
                cloud.delete_eni(chosen)
            case "wait":
                clock.advance(which / 2)
                cloud.describe_enis(EniQuery())
            case "fault":
                simulator.faults.put(read_fault(FAULTS[which]))
            case "clear":
                simulator.clear_faults()
            case "kill" if f"i-{where}" in {one.id for one in simulator.model.instances()}:
                simulator.model.kill(f"i-{where}")
    except CloudError:
        return


def check(simulator: Simulator) -> None:
    enis = simulator.model.enis()
    addresses = [eni.ipv4 for eni in enis]
    assert len(set(addresses)) == len(addresses), "two ENIs hold one address"
    assert len({eni.mac for eni in enis}) == len(enis), "two ENIs hold one MAC"
    tunnels = [(eni.trunk_id, eni.vlan) for eni in enis if eni.vlan is not None]
    assert len(set(tunnels)) == len(tunnels), "two members of a trunk share a VLAN"
    alive = {one.id for one in simulator.model.instances()}
    for eni in enis:
        attached = eni.status in ("Attaching", "InUse", "Detaching")
        assert (eni.instance_id is not None) is attached
        assert eni.instance_id is None or eni.instance_id in alive
        assert (eni.type == "Member") is (eni.trunk_id is not None) is (eni.vlan is not None)
    for one in simulator.model.instances():
        kind = simulator.world.type_of(one)
        held = [eni for eni in enis if eni.instance_id == one.id]
        assert len(held) <= kind.eni_total_quantity
    for switch in simulator.model.vswitches():
        used = sum(eni.vswitch_id == switch.id for eni in enis)
        free = simulator.model.available_ips(switch.id)
        limit = 2 if switch.id == "vsw-small" else len(switch.assignable())
        assert free in (0, limit - used), "an address was lost or made up"


@settings(max_examples=100)
@given(steps=st.lists(step, min_size=5, max_size=60), at_once=st.booleans())
def test_the_cloud_never_contradicts_itself(
    steps: list[tuple[str, int, str]], at_once: bool
) -> None:
    clock = Clock()
    world = parse_world(world_data() | {"reuse_addresses_at_once": at_once}, "test")
    simulator = Simulator(world, now=clock, random=Random(1))
    for what, which, where in steps:
        play(simulator, clock, what, which, where)
        check(simulator)
    simulator.clear_faults()
    clock.advance(3600)
    settled = {"Available", "InUse"}
    assert {eni.status for eni in simulator.model.enis()} <= settled, "something stays on its way"
    assert simulator.model.next_change_at() is None
