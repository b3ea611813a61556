"""P2, P3: the hard case that is told holds what it tells."""

from tests.simulation.tales import down_longer_than_the_ttl
from tests.simulation.world import SimulatedWorld


def test_p2_nobody_is_robbed_by_a_silence_longer_than_the_ttl(world: SimulatedWorld) -> None:
    lines = list(down_longer_than_the_ttl(world))
    assert sum("is reserved until" in line for line in lines) == 2
    assert "back-0 and late-0 have the addresses they always had" in lines[-1]
