"""A sealed ledger, and its owner with bad intentions."""

import random
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ledger.rules.seals import Head
from ledger.store.database import Database
from ledger.store.feed import stamp
from ledger.store.seal import read_head, seal
from ledger.store.tampering import Finding, Verdict, examine

_ENTRY = (
    "INSERT INTO ledger.entry (cluster, allocation_id, version, kind, recorded_at, cause, data) "
    "VALUES ('c1', %s, %s, %s, ledger.now(), %s, %s)"
)


class SealedLedger:
    """Entries that are stamped and sealed, in seals of `per_seal`; `owner` may do anything."""

    def __init__(self, dsn: str, entries: int = 0, per_seal: int = 10, seed: int = 1) -> None:
        self.database = Database(dsn, pool_size=2)
        self.owner = psycopg.connect(dsn, autocommit=True)
        self._dice = random.Random(seed)
        self.append(entries)
        self.seal(per_seal)

    def close(self) -> None:
        self.owner.close()
        self.database.close()

    def append(self, count: int) -> None:
        """Entries of allocations, and a remark now and then."""
        allocation, version = uuid.UUID(int=self._dice.getrandbits(128), version=4), 0
        for number in range(count):
            if number % 7 == 6:
                row: tuple[Any, ...] = (
                    None,
                    None,
                    "paused",
                    Jsonb({"by": "ops"}),
                    Jsonb({"reason": "ä\n☃"}),
                )
            else:
                version += 1
                cause = {"look": f"r-{number}", "share": 0.3, "at": [1, None, True]}
                data = {"pod_uid": f"u-{number}", "found": "absent", "n": number}
                row = (allocation, version, "absence-confirmed", Jsonb(cause), Jsonb(data))
            self.owner.execute(_ENTRY, row)
        with self.database.transaction() as connection:
            stamp(connection)

    def seal(self, per_seal: int = 10) -> None:
        while True:
            with self.database.transaction() as connection:
                if seal(connection, per_seal) is None:
                    return

    def head(self) -> Head:
        with self.database.transaction() as connection:
            head = read_head(connection, "c1")
        assert head is not None
        return head

    def verdict(self, *heads: Head) -> Verdict:
        with self.database.transaction() as connection:
            return examine(connection, heads)

    def findings(self, *heads: Head) -> Sequence[Finding]:
        return self.verdict(*heads).findings

    def told(self, *heads: Head) -> list[tuple[str, int | None, int | None]]:
        """What, position and entry of each finding."""
        return [(each.what, each.position, each.entry) for each in self.findings(*heads)]

    def tamper(self, *statements: str, parameters: Any = None) -> None:
        """As the owner who means it: triggers and foreign keys off, and on again."""
        with self.owner.transaction():
            self.owner.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                self.owner.execute(statement, parameters)

    def one(self, query: str) -> Any:
        row = self.owner.execute(query).fetchone()
        assert row is not None
        return row[0]
