"""PostgreSQL 15, the oldest that we support: the same tests of the store and of the audit's plans, run
again on its binaries.

What befalls it while the processes work is in tests/integration/replicas/test_database_failures.py.
"""

import os
import subprocess
import sys

import pytest

from deploy.local.pytest_plugin import POSTGRES_BINARIES
from tests.integration.servers import binaries_of_15

pytestmark = pytest.mark.genuine("postgres15")

#: What says something about the server: its SQL, its locks, its planner.
AGAIN = {
    "schema and store": (
        "tests/integration/store/test_migrations.py",
        "tests/integration/store/test_book.py",
        "tests/integration/store/test_claims.py",
        "tests/integration/store/test_lock_order.py",
    ),
    "plans": ("tests/integration/audit/test_plans.py",),
    "views": ("tests/integration/audit/test_public_sql.py",),
}


@pytest.mark.parametrize("what", AGAIN)
def test_it_holds_on_postgresql_15(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *AGAIN[what]],
        env=os.environ | {POSTGRES_BINARIES: str(binaries_of_15())},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
