"""Which archives there are, and which of them are attached: what every reader of old entries asks first."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ledger.store.named_sql import queries


@dataclass(frozen=True, slots=True)
class Archive:
    """A range of the feed that was moved to the table `ledger.<name>`, positions both inclusive.

    `seal` is the hash, in hex, of the seal that ends at `last`; `told_by` the entry that tells of
    the move. `here` is false where somebody detached it.
    """

    name: str
    first: int
    last: int
    oldest: datetime
    newest: datetime
    archived_at: datetime
    archived_by: str
    seal: str
    told_by: int
    here: bool

    @property
    def entries(self) -> int:
        """How many: one a position."""
        return self.last - self.first + 1


def read_archives(connection: Connection) -> list[Archive]:
    """Every archive that was ever made, the oldest entries first."""
    return [Archive(*row) for row in connection.exec_driver_sql(queries("archive")["archives"])]


def away(connection: Connection) -> list[Archive]:
    """Those that were moved away."""
    return [archive for archive in read_archives(connection) if not archive.here]
