"""`python -m tests.simulation.run`: plays seeds, one after another, and says what they came to."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from deploy.local.parts.postgres import create_database, start_postgres
from ledger.store import migrate
from tests.simulation.ground import Ground
from tests.simulation.simulation import Report, Simulation
from tests.simulation.story import LIVES, write_story

LAST_LINES = 60


def play(ground: Ground, seed: int, lives: int = LIVES) -> Report:
    """One seed from beginning to end."""
    return Simulation(ground, write_story(seed, lives)).run()


@contextmanager
def own_ground() -> Iterator[Ground]:
    """A PostgreSQL of our own for the time of the run."""
    with tempfile.TemporaryDirectory(prefix="eni-ledger-simulation-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        server = start_postgres(place / "postgres", log=place / "postgres.log", throwaway=True)
        try:
            dsn = create_database(server.dsn(), "simulated")
            migrate.upgrade(dsn)
            ground = Ground(dsn)
            yield ground
            ground.close()
        finally:
            server.stop()


def show(report: Report, lines: int | None) -> None:
    """The newest lines of a story (None: all), and what it broke."""
    told = report.lines if lines is None else report.lines[-lines:]
    for line in told:
        print(line)
    for finding in report.findings:
        print(f"\nseed {report.seed} breaks {finding.promise}: {finding.what}")
    print(
        f"\nseed {report.seed}: {report.lives} lives, {report.entries} entries, {report.calls} cloud "
        f"calls, {report.boundaries} boundaries, {report.virtual} of virtual time; trace {report.hash}"
    )


def main() -> int:
    """Exit code 0 when every promise held in every seed, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--seeds", type=int, default=100, help="how many, from --first on")
    chosen.add_argument("--seed", type=int, help="this one only, with its whole story")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--keep-going", action="store_true", help="also after a broken promise")
    given = parser.parse_args()
    with own_ground() as ground:
        if given.seed is not None:
            report = play(ground, given.seed)
            show(report, None)
            return 1 if report.findings else 0
        return _many(ground, range(given.first, given.first + given.seeds), given.keep_going)


def _many(ground: Ground, seeds: range, keep_going: bool) -> int:
    began = time.monotonic()
    trouble: Counter[str] = Counter()
    lives = entries = played = 0
    broken: list[Report] = []
    virtual = timedelta()
    for seed in seeds:
        report = play(ground, seed)
        played += 1
        lives, entries = lives + report.lives, entries + report.entries
        virtual += report.virtual
        trouble += report.trouble
        if report.findings:
            broken.append(report)
            if not keep_going:
                show(report, LAST_LINES)
                break
            for finding in report.findings:
                print(f"seed {seed} breaks {finding.promise}: {finding.what}", flush=True)
        if played % 25 == 0:
            print(f"{played} seeds in {time.monotonic() - began:.0f} s", flush=True)
    took = time.monotonic() - began
    print(
        f"{played} seeds, {lives} Pod lives, {entries} entries, {virtual} of virtual time in "
        f"{took:.1f} s ({played / took:.1f} seeds/s); {len(broken)} broke a promise"
    )
    print("trouble: " + ", ".join(f"{count} {kind}" for kind, count in sorted(trouble.items())))
    for report in broken:
        print(f"repeat with: make simulate SEED={report.seed}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
