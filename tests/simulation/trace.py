"""What happened in one simulated run, line by line, and the hash that two runs of a seed share."""

import hashlib
from collections.abc import Iterator
from datetime import datetime

from tests.simulation.ground import START


class Trace:
    """The lines of a run. Nothing that differs between two runs of a seed may be told to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._digest = hashlib.sha256()

    def tell(self, now: datetime, who: str, what: str) -> None:
        """One line: since the beginning, who, what."""
        line = f"{_since_start(now)}  {who:<12} {what}"
        self.lines.append(line)
        self._digest.update(line.encode() + b"\n")

    @property
    def hash(self) -> str:
        return self._digest.hexdigest()[:16]

    def last(self, count: int) -> Iterator[str]:
        """The newest lines, oldest first."""
        yield from self.lines[-count:]


def _since_start(now: datetime) -> str:
    seconds = (now - START).total_seconds()
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"+{int(hours):02}:{int(minutes):02}:{rest:06.3f}"
