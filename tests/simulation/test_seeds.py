"""A few seeds of the simulation as tests; `make simulate` plays as many as you have time for."""

import pytest

from tests.simulation.ground import Ground
from tests.simulation.run import play
from tests.simulation.story import write_story

#: Lives per story here: small enough to play some of them in a minute.
LIVES = 6


@pytest.mark.parametrize("seed", range(10_000, 10_010))
def test_p1_to_p11_every_promise_holds(ground: Ground, seed: int) -> None:
    report = play(ground, seed, LIVES)
    told = "\n".join([*report.lines[-40:], *(f"{f.promise}: {f.what}" for f in report.findings)])
    assert not report.findings, f"seed {seed} breaks a promise:\n{told}"
    assert report.lives == LIVES


@pytest.mark.parametrize("seed", [10_001, 10_004])
def test_the_same_seed_tells_the_same_story(ground: Ground, seed: int) -> None:
    first, second = play(ground, seed, LIVES), play(ground, seed, LIVES)
    assert first.lines == second.lines
    assert first.hash == second.hash
    assert first.entries == second.entries


def test_seeds_differ() -> None:
    assert write_story(1) != write_story(2)
    assert write_story(1) == write_story(1)
