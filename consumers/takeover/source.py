"""What a take-over looks at and writes to, and how it stays within the shared budgets (P9)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from consumers.cloud.port import Cloud
from consumers.kube.objects import Objects
from consumers.kube.port import Kube
from consumers.runtime.settings import Settings
from ledger.store.database import Database, ledger_now
from ledger.store.work import Bucket, take_permit

DESCRIBE = "DescribeNetworkInterfaces"


@dataclass(frozen=True, slots=True)
class Source:
    """The book and the two ports; `objects` for what the port does not know. `by` is who commands."""

    database: Database
    kube: Kube
    objects: Objects
    cloud: Cloud
    settings: Settings
    new_id: Callable[[], UUID]
    sleep: Callable[[float], None]
    by: str

    @property
    def cluster(self) -> str:
        return self.settings.cluster_id

    def now(self) -> datetime:
        """By the ledger's clock."""
        with self.database.transaction() as connection:
            return ledger_now(connection)

    def await_permit(self, api: str = DESCRIBE) -> None:
        """Wait until the shared budget lets one more call go."""
        cloud = self.settings.cloud
        limit, share = cloud.rate_limit(api), cloud.budget_share
        burst = max(1, int(limit.burst * share))
        bucket = Bucket("", cloud.region_id, api, limit.per_minute / 60 * share, burst)
        while True:
            with self.database.transaction() as connection:
                again = take_permit(connection, bucket)
                now = ledger_now(connection)
            if again is None:
                return
            self.sleep(max(0.01, min(again - now, timedelta(seconds=5)).total_seconds()))
