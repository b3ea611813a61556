"""Counts every request that is sent to the cloud: which API, how it ended, with which code.

A page of an answer is a request of its own, as it is for the account's quota.
"""

import contextlib
import re
from collections.abc import Iterator

from consumers.cloud.port import CloudError, Refused, Throttled
from consumers.runtime import metrics

CALLS = metrics.counter(
    "cloud_calls",
    "Requests sent to the cloud, pages one by one; code is the cloud's own where it refused",
    ("api", "outcome", "code"),
)
SECONDS = metrics.histogram(
    "cloud_call_seconds", "From a request to the cloud until its answer", ("api",)
)

#: A label's values live as long as the process: whatever a proxy invents must not fill the memory.
CODES_MAX = 100
OTHER = "other"

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")
_seen: set[str] = set()


@contextlib.contextmanager
def counted(api: str) -> Iterator[None]:
    """Count the request that is made while the block runs; what it raises goes on."""
    outcome, code = "unknown", ""
    try:
        with SECONDS.labels(api).time():
            yield
        outcome = "done"
    except CloudError as failed:
        outcome = outcome_of(failed)
        code = bounded(failed.code, _seen)
        raise
    finally:
        CALLS.labels(api, outcome, code).inc()


def outcome_of(failed: CloudError) -> str:
    """The outcome as it is counted: throttled, refused or unknown."""
    if isinstance(failed, Throttled):
        return "throttled"
    return "refused" if isinstance(failed, Refused) else "unknown"


def bounded(code: str, seen: set[str]) -> str:
    """The code as a label's value: as it is, or `other` where it is no code or one too many."""
    if not code:
        return ""
    if code not in seen and (len(seen) >= CODES_MAX or not _CODE.fullmatch(code)):
        return OTHER
    seen.add(code)
    return code
