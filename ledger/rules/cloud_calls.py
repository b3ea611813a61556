"""What became of each cloud call, told from the entries of its allocation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.entries import Entry

Outcome = Literal["done", "refused", "undone"]


@dataclass(frozen=True, slots=True)
class CloudCall:
    """An intended call and its outcome; `settled_at` and `outcome` are None while it is open."""

    intent: UUID
    api: str
    client_token: str | None
    parameters: Mapping[str, str]
    intended_at: datetime
    deadline: datetime
    settled_at: datetime | None = None
    outcome: Outcome | None = None
    code: str | None = None
    request_id: str | None = None


def follow(calls: Mapping[UUID, CloudCall], entry: Entry, at: datetime) -> CloudCall | None:
    """The call as one more entry leaves it; None where the entry changes none.

    The first outcome counts: a call that is settled changes no more.
    """
    match entry:
        case e.CallIntended():
            return CloudCall(
                intent=entry.intent,
                api=entry.api,
                client_token=entry.client_token,
                parameters=entry.parameters,
                intended_at=at,
                deadline=entry.deadline,
            )
        case e.CallRepeated() | e.CallDone() | e.CallRefused() | e.CallUndone():
            call = calls.get(entry.intent)
        case _:
            return None
    if call is None or call.settled_at is not None:
        return None
    match entry:
        case e.CallRepeated():
            return replace(call, deadline=entry.deadline)
        case e.CallDone():
            return replace(call, settled_at=at, outcome="done", request_id=entry.request_id)
        case e.CallUndone():
            return replace(call, settled_at=at, outcome="undone", request_id=entry.request_id)
    return replace(
        call, settled_at=at, outcome="refused", code=entry.code, request_id=entry.request_id
    )
