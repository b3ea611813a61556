"""`python -m tests.simulation.run`: plays seeds, one after another, and says what they came to."""

import argparse
import logging
import multiprocessing
import os
import queue
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path

import structlog

from deploy.local.parts.postgres import create_database, start_postgres
from ledger.store import migrate
from tests.simulation.ground import Ground
from tests.simulation.simulation import Report, Simulation
from tests.simulation.story import LIVES, write_story

LAST_LINES = 60
#: How often it is looked whether those who play are still alive.
LOOK_EVERY_S = 5


def play(ground: Ground, seed: int, lives: int = LIVES) -> Report:
    """One seed from beginning to end. Without a line for each entry that is recorded."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return Simulation(ground, write_story(seed, lives)).run()


@contextmanager
def own_grounds(count: int) -> Iterator[list[str]]:
    """A PostgreSQL of our own for the time of the run; the DSNs of so many databases on it."""
    with tempfile.TemporaryDirectory(prefix="eni-ledger-simulation-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        server = start_postgres(place / "postgres", log=place / "postgres.log", throwaway=True)
        try:
            migrate.upgrade(create_database(server.dsn(), "migrated"))
            yield [
                create_database(server.dsn(), f"simulated_{number}", template="migrated")
                for number in range(count)
            ]
        finally:
            server.stop()


def play_each(dsn: str, seeds: Iterable[int]) -> Generator[Report, None, None]:
    """One seed after another on one database. Only a story that broke something keeps its lines."""
    ground = Ground(dsn)
    try:
        for seed in seeds:
            report = play(ground, seed)
            yield report if report.findings else replace(report, lines=())
    finally:
        ground.close()


def _play_all(dsn: str, seeds: range, reports: "Queue[Report | None]") -> None:
    for report in play_each(dsn, seeds):
        reports.put(report)
    reports.put(None)


def play_side_by_side(dsns: list[str], seeds: range) -> Generator[Report, None, None]:
    """Every seed, shared out among as many processes as there are databases, as they come in."""
    spawning = multiprocessing.get_context("spawn")
    reports: Queue[Report | None] = spawning.Queue()
    workers = [
        spawning.Process(target=_play_all, args=(dsn, seeds[first :: len(dsns)], reports))
        for first, dsn in enumerate(dsns)
    ]
    for worker in workers:
        worker.start()
    try:
        left = len(workers)
        while left:
            report = _next(reports, workers)
            if report is None:
                left -= 1
            else:
                yield report
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _next(reports: "Queue[Report | None]", workers: Sequence[BaseProcess]) -> Report | None:
    """The next report, however long a busy machine takes. Raises where a worker died."""
    while True:
        try:
            return reports.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            if dead := [worker.exitcode for worker in workers if worker.exitcode]:
                raise RuntimeError(f"a worker ended with exit code {dead[0]}: see above") from None


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
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    given = parser.parse_args()
    if given.seed is not None:
        with own_grounds(1) as dsns:
            return _one(dsns[0], given.seed)
    seeds = range(given.first, given.first + given.seeds)
    with own_grounds(given.jobs) as dsns:
        return _many(dsns, seeds, given.keep_going)


def _one(dsn: str, seed: int) -> int:
    ground = Ground(dsn)
    report = play(ground, seed)
    ground.close()
    show(report, None)
    return 1 if report.findings else 0


def _many(dsns: list[str], seeds: range, keep_going: bool) -> int:
    began = time.monotonic()
    trouble: Counter[str] = Counter()
    lives = entries = played = 0
    broken: list[Report] = []
    virtual = timedelta()
    reports = play_each(dsns[0], seeds) if len(dsns) == 1 else play_side_by_side(dsns, seeds)
    with closing(reports):
        for report in reports:
            played += 1
            lives, entries = lives + report.lives, entries + report.entries
            virtual += report.virtual
            trouble += report.trouble
            if played % 50 == 0:
                print(f"{played} seeds in {time.monotonic() - began:.0f} s", flush=True)
            if report.findings:
                broken.append(report)
                if not keep_going:
                    show(report, LAST_LINES)
                    break
                for finding in report.findings:
                    print(
                        f"seed {report.seed} breaks {finding.promise}: {finding.what}", flush=True
                    )
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
