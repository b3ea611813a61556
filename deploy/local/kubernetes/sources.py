"""Where the core gets time, uids and random names from: injected, so that a run can be repeated."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5


@dataclass(frozen=True)
class Sources:
    """`now` is an aware UTC clock, `uid` a fresh UUID, `suffix` five letters for `generateName`."""

    now: Callable[[], datetime]
    uid: Callable[[], str]
    suffix: Callable[[], str]

    @classmethod
    def seeded(cls, seed: int | str, now: Callable[[], datetime]) -> "Sources":
        """The same seed and the same clock give the same uids and names."""
        dice = random.Random(seed)  # noqa: S311 - repeatable on purpose, guards nothing
        return cls(
            now,
            lambda: str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            lambda: "".join(dice.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH)),
        )

    @classmethod
    def real(cls) -> "Sources":
        """Wall clock and fresh randomness."""
        return cls.seeded(uuid.uuid4().hex, lambda: datetime.now(UTC))

    def stamp(self) -> str:
        """Now as `metav1.Time` writes it: RFC 3339, whole seconds."""
        return timestamp(self.now())


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
