"""One look that may fail: what it saw, or why it could not."""

from collections.abc import Awaitable, Callable

from consumers.doctor.facts import Look, Thing, Unseen

_LONGEST = 400


def attempt(look: Callable[[], Thing]) -> Look[Thing]:
    """What `look` returns, or Unseen with the cause of its failure. Raises nothing."""
    try:
        return look()
    except Exception as failure:  # noqa: BLE001 - the failure of a look is what the doctor reports
        return Unseen(cause_of(failure))


async def attempt_async(looking: Awaitable[Thing]) -> Look[Thing]:
    """As `attempt`, for what is awaited. A cancellation goes on."""
    try:
        return await looking
    except Exception as failure:  # noqa: BLE001 - the failure of a look is what the doctor reports
        return Unseen(cause_of(failure))


def cause_of(failure: BaseException) -> str:
    """A failure in words, on one line; never without its kind where it has no words."""
    original = getattr(failure, "orig", None) or failure  # SQLAlchemy wraps the driver's
    words = " ".join(str(original).split()) or type(original).__name__
    expected = type(original).__module__.split(".")[0] in ("consumers", "ledger", "psycopg")
    text = words if expected else f"{type(original).__name__}: {words}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
