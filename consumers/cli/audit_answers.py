"""How an answer of `eni-ledger audit` is written: for people, as JSON, or as CSV.

Each is written as it is read. An answer of ten million periods is never held in memory.
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from sqlalchemy import Connection

from consumers.cli.book import local, plain
from ledger.audit.capacity import NodeCapacity, VSwitchCapacity
from ledger.audit.past import moved_away
from ledger.audit.periods import Because, Key, Tenure, When
from ledger.audit.questions import StoryEntry, each_story_entry
from ledger.rules.allocation import Allocation

Form = Literal["text", "json", "csv"]
#: Keys whose periods are one holder's story; the others are places that many share.
HOLDERS: frozenset[Key] = frozenset({"ip", "eni", "mac", "pod"})

_KINDS = {
    "preparing": "made for it, not in use yet",
    "bound": "in use",
    "leaving": "its Pod is gone, being unbound",
    "reserved": "kept for its return",
    "releasing": "on its way back",
}


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there is nothing to tell, and what is known beside it."""

    why: str
    managed: bool = False
    before: Tenure | None = None
    after: Tenure | None = None
    reported_by: tuple[str, ...] = ()
    vswitch: str | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How full a place is: for programs, and in a line."""

    told: VSwitchCapacity | NodeCapacity
    line: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked, and what there is to tell. `periods` can be read once.

    `missing` are archives that were moved away and have a part of the answer.
    """

    cluster: str
    key: Key
    value: str
    when: When
    periods: Iterator[Tenure]
    states: Sequence[Allocation]
    room: Room | None
    nothing: Nothing | None
    missing: Sequence[str] = ()


def give(connection: Connection, answer: Answer, form: Form, whole: bool) -> None:
    """Write an answer on standard output; `whole` adds every entry of the allocations it is about."""
    match form:
        case "json":
            _as_json(connection, answer, whole)
        case "csv":
            _as_csv(answer)
        case "text" if answer.nothing is None:
            _as_text(connection, answer, whole)


# ---------------------------------------------------------------------------- for programs


def _as_json(connection: Connection, answer: Answer, whole: bool) -> None:
    nothing, when = answer.nothing, answer.when
    asked = {answer.key: answer.value, "at": when.at, "from": when.since, "to": when.until}
    managed = nothing is None or nothing.managed
    sys.stdout.write(f'{{\n "cluster": {_json(answer.cluster)},\n "query": {_json(asked)},\n')
    sys.stdout.write(f' "managed": {_json(managed)},\n "tenures": [')
    ids: dict[UUID, None] = {}
    _write_each(_remembered(answer, ids))
    sys.stdout.write(' ],\n "states": [')
    _write_each(state.model_dump(mode="json") for state in answer.states)
    sys.stdout.write(" ],")
    if answer.missing:
        sys.stdout.write(f'\n "missing": {_json(answer.missing)},')
    if answer.room is not None:
        sys.stdout.write(f'\n "capacity": {_json(answer.room.told)},')
    if nothing is not None:
        sys.stdout.write(
            f'\n "reported_by": {_json(nothing.reported_by)},\n "vswitch": {_json(nothing.vswitch)},'
            f'\n "before": {_json(nothing.before)},\n "after": {_json(nothing.after)},'
        )
    sys.stdout.write('\n "story": [')
    if whole:
        _write_each(each_story_entry(connection, answer.cluster, list(ids)))
    sys.stdout.write(" ]\n}\n")


def _write_each(rows: Iterator[Any]) -> None:
    for number, row in enumerate(rows):
        sys.stdout.write(f"{',' if number else ''}\n  {_json(row)}")


def _json(told: Any) -> str:
    return json.dumps(plain(told), default=str, ensure_ascii=False)


_COLUMNS = (
    "cluster", "kind", "namespace", "pod", "interface", "pod_uid", "node", "ipv4", "ipv6", "eni",
    "mac", "vlan", "vswitch", "vpc", "security_groups", "since", "until", "allocation_id",
    "opened_by_entry", "opened_by_kind", "opened_because", "closed_by_entry", "closed_by_kind",
    "closed_because", "decision_entry", "decision_kind", "message_entry", "message_topic",
    "message_partition", "message_offset", "message_event", "requests",
)  # fmt: skip


def _as_csv(answer: Answer) -> None:
    written = csv.DictWriter(sys.stdout, _COLUMNS)
    written.writeheader()
    for each in answer.periods:
        decision, message, closed = each.decision or {}, each.message or {}, each.closed
        row = {name: getattr(each, name) for name in _COLUMNS if hasattr(each, name)}
        row |= {
            "security_groups": " ".join(each.security_groups),
            "since": each.since.isoformat(),
            "until": each.until.isoformat() if each.until else "",
            "opened_by_entry": each.opened.entry,
            "opened_by_kind": each.opened.kind,
            "opened_because": _json(each.opened.cause),
            "closed_by_entry": closed.entry if closed else "",
            "closed_by_kind": closed.kind if closed else "",
            "closed_because": _json(closed.cause) if closed else "",
            "decision_entry": decision.get("entry", ""),
            "decision_kind": decision.get("kind", ""),
            "requests": " ".join(f"{r['api']}:{r['request_id']}" for r in each.requests),
        }
        for name in ("entry", "topic", "partition", "offset", "event"):
            row[f"message_{name}"] = message.get(name, "")
        written.writerow(row)


# ---------------------------------------------------------------------------- for people


def _as_text(connection: Connection, answer: Answer, whole: bool) -> None:
    """Periods as a story, oldest first: what it is once, then who, how long and why."""
    console = Console(highlight=False, soft_wrap=True)
    title = f"{answer.key} {answer.value} in cluster {answer.cluster}"
    console.print(f"[bold]{_safe(title)}[/bold]")
    if answer.when.at is not None:
        console.print(f"as of {local(answer.when.at)}")
    if answer.room is not None:
        console.print(_safe(answer.room.line))
    ids: dict[UUID, None] = {}
    what = ""
    kinds: Counter[str] = Counter()
    for each in _remembered(answer, ids):
        kinds[each.kind] += 1
        if what != (what := _what(each)):
            console.print(f"\n{_safe(what)}")
        _print_tenure(console, each)
    if answer.when.at is not None and len(kinds) > 0 and answer.key not in HOLDERS:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        console.print(f"\n{kinds.total()} held then: {told}")
    for state in answer.states:
        console.print(f"\n{_safe(_state(state))}")
    if whole:
        console.print("\n[bold]Every entry[/bold]")
        for piece in moved_away(connection, answer.cluster, list(ids)):
            console.print(_safe(f"  {piece}"))
        for entry in each_story_entry(connection, answer.cluster, list(ids)):
            console.print(_safe(_entry(entry)))


def _print_tenure(console: Console, each: Tenure) -> None:
    span = f"{local(each.since)} → {local(each.until, 'now')}"
    who = f"{each.namespace}/{each.pod} {each.interface} on {each.node}"
    vlan = f", VLAN {each.vlan}" if each.vlan is not None else ""
    console.print(f"  {span}  [bold]{each.kind:<9}[/bold]  {_safe(who)}{vlan}")
    groups = f"; security groups {', '.join(each.security_groups)}" if each.security_groups else ""
    console.print(f"      {_KINDS[each.kind]}; Pod uid {_safe(each.pod_uid + groups)}")
    console.print(f"      since {_safe(_why(each.opened))}")
    if each.decision and each.decision["entry"] != each.opened.entry:
        decision = f"entry {each.decision['entry']} {each.decision['kind']}"
        console.print(f"        decided by {_safe(decision)}")
    if each.message and each.message["entry"] != each.opened.entry:
        message = f"entry {each.message['entry']} {each.message['kind']}: {_cause(each.message)}"
        console.print(f"        told by {_safe(message)}")
    if each.requests:
        calls = ", ".join(f"{r['api']} {r['request_id']}" for r in each.requests)
        console.print(f"        cloud requests {_safe(calls)}")
    if each.closed:
        console.print(f"      until {_safe(_why(each.closed))}")


def _remembered(answer: Answer, ids: dict[UUID, None]) -> Iterator[Tenure]:
    """The periods; `ids` gathers the allocations of what one holder asked for, not of places."""
    holder = answer.key in HOLDERS
    if holder:
        ids.update((state.id, None) for state in answer.states)
    for each in answer.periods:
        if holder:
            ids[each.allocation_id] = None
        yield each


def _what(each: Tenure) -> str:
    addresses = " and ".join(text for text in (each.ipv4, each.ipv6) if text)
    return f"{addresses}: {each.eni}, MAC {each.mac}, of {each.vswitch} in {each.vpc}"


def _state(state: Allocation) -> str:
    """One allocation as it is or was, in a line."""
    facts = [f"{state.namespace}/{state.pod} {state.interface}: {state.phase.value}"]
    facts.append(f"allocation {state.id} at version {state.version}")
    facts.append(f"Pod uid {state.pod_uid} on {state.node}")
    if state.address is None:
        facts.append("no ENI yet")
    if state.retention.rule != "none":
        facts.append(f"kept by rule {state.retention.rule}")
    if state.ttl_due is not None:
        facts.append(f"until {local(state.ttl_due)} at least")
    if state.intent is not None:
        facts.append(f"{state.intent.api} is open")
    if state.parked is not None:
        facts.append(f"parked: {state.parked}")
    return ", ".join(facts)


def _entry(e: StoryEntry) -> str:
    told = _short(e.data)
    if e.kind == "carried-forward":  # the whole state: what stands beside it has been told
        told = f"older entries were archived; phase={e.data['state'].get('phase')}"
    return f"  {e.entry:>6}  {local(e.recorded_at)}  {e.kind}  {told}  [{_cause(e.cause)}]"


def _why(because: Because) -> str:
    return f"entry {because.entry} {because.kind}: {_cause(because.cause)}"


def _cause(cause: dict[str, Any]) -> str:
    """What led to an entry, in one line."""
    if "topic" in cause:
        return f"message {cause['topic']}[{cause['partition']}]@{cause['offset']} {cause['event']}"
    if "call" in cause:
        return f"{cause['call']}, request {cause.get('request_id', 'unknown')}"
    if cause.get("look") == "pod":
        found = cause.get("found_uid") or "no such Pod"
        return f"live look at version {cause['resource_version']}: {found}"
    if "look" in cause:
        return f"look at the cloud, request {cause['look']}"
    if "podeni" in cause:
        return f"PodENI written: {cause['podeni']}"
    if "archive" in cause:
        return f"kept in archive {cause['archive']}, which was moved away"
    if "command" in cause:
        return f"{cause['command']} by {cause['by']}"
    return _short(cause)


def _short(data: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", {}))


def _safe(text: str) -> str:
    """Names are other people's: neither markup nor a terminal's control codes in them take effect."""
    return escape(printable(text))


def printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return "".join(c if c.isprintable() else "�" for c in text)
