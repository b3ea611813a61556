"""Asks the cloud which ENIs there are, each page of an answer within the shared budget (P9)."""

from datetime import timedelta

from consumers.cloud.port import Answer, CloudError, Eni, EniQuery, Throttled
from consumers.reconciler.tools import THROTTLE_BACKOFF_S, Pause, Tools
from ledger.store.work import Claim, back_off

DESCRIBE = "DescribeNetworkInterfaces"

#: Within this time a look may still show what was before.
DESCRIBE_LAG = timedelta(seconds=30)

#: What a question with many pages may take of the Describe rate: the rest is for Pods that wait.
PAGES_SHARE = 0.4


def describe(tools: Tools, held: Claim, query: EniQuery) -> Answer[tuple[Eni, ...]] | Pause:
    """One look at the cloud, within its budget; a Pause where it could not be had.

    Where the answer has more pages, this waits between them. Raises ClaimLost.
    """
    permit = tools.permit(DESCRIBE, held)
    if permit is not None:
        return permit
    try:
        return tools.cloud.describe_enis(query, lambda: _await_page(tools, held))
    except CloudError as failed:
        until = tools.now() + timedelta(seconds=THROTTLE_BACKOFF_S)
        if isinstance(failed, Throttled):
            with tools.database.transaction() as connection:
                back_off(connection, tools.bucket(DESCRIBE), until)
        return Pause(until, str(failed), problem=True, code=failed.code)


def page_interval(tools: Tools) -> timedelta:
    """Between two pages, so that they stay within their share of the rate."""
    return timedelta(seconds=1 / (tools.bucket(DESCRIBE).per_second * PAGES_SHARE))


def _await_page(tools: Tools, held: Claim) -> None:
    """Wait until the next page may be asked for.

    The one place where a worker is held by waiting: what a half-read answer is worth is gone with
    the turn, and a sweep has one worker at a time in the whole fleet.
    """
    interval = page_interval(tools)
    tools.sleep(interval.total_seconds())
    while (pause := tools.permit(DESCRIBE, held)) is not None:
        # Sooner than the queue is told to: this is one among the many that it was made for.
        wait = min(interval, pause.until - tools.now())
        tools.sleep(max(0.001, wait.total_seconds()))
