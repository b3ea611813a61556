"""The simulated cloud's own rate limits: one token bucket per API, over all callers."""

from collections.abc import Mapping
from datetime import datetime

from deploy.local.cloud.world import RateLimit


class Buckets:
    """Token buckets that start full and refill with the injected clock."""

    def __init__(self, limits: Mapping[str, RateLimit]) -> None:
        self._limits = dict(limits)
        self._levels: dict[str, tuple[float, datetime]] = {}

    def admits(self, api: str, now: datetime) -> bool:
        """Take a token if there is one. An API without a limit always admits."""
        limit = self._limits.get(api)
        if limit is None:
            return True
        level, since = self._levels.get(api, (float(limit.burst), now))
        passed = max(0.0, (now - since).total_seconds())
        level = min(float(limit.burst), level + passed * limit.per_minute / 60)
        # Refilling in floating point may fall an ulp short of a whole token.
        admitted = level >= 1 - 1e-9
        self._levels[api] = (level - 1 if admitted else level, now)
        return admitted
