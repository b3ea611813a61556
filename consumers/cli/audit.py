"""`eni-ledger audit`: who held an address, an ENI, a MAC or a Pod's network; when; and why."""

import ipaddress
import re
from itertools import chain
from typing import Annotated

import typer
from sqlalchemy import Connection

from consumers.cli.audit_answers import HOLDERS, Answer, Form, Nothing, Room, give, printable
from consumers.cli.audit_capacity import node_line, tell_capacity, vswitch_line
from consumers.cli.book import ledger_settings, local, moment, opened, pod_name
from consumers.cli.errors import CommandError, WrongUsage
from ledger.audit.capacity import NodeCapacity, VSwitchCapacity, node_capacity, vswitch_capacity
from ledger.audit.past import MovedAway, Past, past_of, past_of_pod, unknown_groups
from ledger.audit.periods import Key, Tenure, When, each_tenure, neighbours
from ledger.audit.questions import pods_reporting, vswitch_around
from ledger.store.database import ledger_now

app = typer.Typer(no_args_is_help=True, add_completion=False)

At = Annotated[
    str | None,
    typer.Option(help="a moment: 2026-01-31T14:03:00+08:00, 'yesterday 14:03', '2h ago', -90m"),
]
From = Annotated[str | None, typer.Option("--from", help="only what held at or after this time")]
To = Annotated[str | None, typer.Option("--to", help="only what held before this time")]
Json = Annotated[bool, typer.Option("--json", help="for programs: one document, times in ISO 8601")]
Csv = Annotated[bool, typer.Option("--csv", help="for spreadsheets: a row a period")]
Story = Annotated[bool, typer.Option("--story", help="every entry, not only the periods")]

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@app.command(epilog="Example: [bold]eni-ledger audit ip 192.168.0.12 --at '2h ago'[/bold]")
def ip(
    address: str, at: At = None, since: From = None, until: To = None, whole: Story = False,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """Who held an IP address, from when to when, and why."""
    _answer("ip", _ip(address), at, since, until, _form(as_json, as_csv, whole), whole)


@app.command(epilog="Example: [bold]eni-ledger audit eni eni-bp1abc[/bold]")
def eni(
    eni_id: str, at: At = None, since: From = None, until: To = None, whole: Story = False,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """Whom an ENI served, from when to when, and why."""
    _answer("eni", eni_id, at, since, until, _form(as_json, as_csv, whole), whole)


@app.command(epilog="Example: [bold]eni-ledger audit mac 00:16:3e:01:02:03[/bold]")
def mac(
    address: str, at: At = None, since: From = None, until: To = None, whole: Story = False,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """Whom a MAC address served, from when to when, and why."""
    _answer("mac", _mac(address), at, since, until, _form(as_json, as_csv, whole), whole)


@app.command(epilog="Example: [bold]eni-ledger audit pod shop/web-0 --story[/bold]")
def pod(
    name: str, at: At = None, since: From = None, until: To = None, whole: Story = False,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """Which addresses a Pod (NAMESPACE/NAME) had, from when to when, and why."""
    named = "/".join(pod_name(name))
    _answer("pod", named, at, since, until, _form(as_json, as_csv, whole), whole)


@app.command(epilog="Example: [bold]eni-ledger audit node cn-hangzhou.10.0.0.7 --at -1h[/bold]")
def node(
    name: str, at: At = None, since: From = None, until: To = None,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """What the Pods of a node hold, now or at another time, and its slots for member ENIs."""
    _answer("node", name, at, since, until, _form(as_json, as_csv))


@app.command(epilog="Example: [bold]eni-ledger audit vswitch vsw-bp1abc --from -7d --csv[/bold]")
def vswitch(
    vswitch_id: str, at: At = None, since: From = None, until: To = None,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """What is held in a vSwitch, now or at another time, and how full it is."""
    _answer("vswitch", vswitch_id, at, since, until, _form(as_json, as_csv))


@app.command(
    "security-group", epilog="Example: [bold]eni-ledger audit security-group sg-bp1abc[/bold]"
)
def security_group(
    group_id: str, at: At = None, since: From = None, until: To = None,
    as_json: Json = False, as_csv: Csv = False,
) -> None:  # fmt: skip
    """Whose ENIs are in a security group, now or at another time."""
    _answer("security-group", group_id, at, since, until, _form(as_json, as_csv))


@app.command(epilog="Example: [bold]eni-ledger audit capacity --json[/bold]")
def capacity(as_json: Json = False) -> None:
    """How full vSwitches and nodes are, and when a vSwitch is full if it goes on like this."""
    settings = ledger_settings()
    with opened(settings) as connection:
        now = ledger_now(connection)
        vswitches = vswitch_capacity(connection, settings.cluster_id, now)
        nodes = node_capacity(connection, settings.cluster_id)
    tell_capacity(vswitches, nodes, now, as_json)


def _answer(
    key: Key, value: str, at: str | None, since: str | None, until: str | None, form: Form,
    whole: bool = False,
) -> None:  # fmt: skip
    if not value.isprintable() or not 0 < len(value) <= 512:
        raise WrongUsage(f"{value!r} is no {key}: give one, without control characters")
    settings = ledger_settings()
    cluster = settings.cluster_id
    with opened(settings) as connection:
        when = _when(connection, key, at, since, until)
        asked_now = at is since is until is None
        found = each_tenure(connection, cluster, key, value, when)
        first = next(found, None)
        past = Past((), ())
        if key == "pod" and not (when.since or when.until):
            past = past_of_pod(connection, cluster, *pod_name(value), when.at)
        elif first and key in HOLDERS and when.at:
            past = past_of(connection, cluster, [first.allocation_id], when.at)
        living = [state for state in past.states if state.phase != "released"]
        missing = past.missing if when.at else ()
        if key == "security-group":
            missing = unknown_groups(connection, cluster, when)
        room = _room(connection, cluster, key, value) if asked_now else None
        nothing = None
        if first is None and not living and room is None and not missing:
            nothing = _nothing(connection, cluster, key, value, when)
        periods = chain([first], found) if first else iter(())
        give(
            connection,
            Answer(cluster, key, value, when, periods, living, room, nothing, missing),
            form,
            whole,
        )
    if nothing is not None:
        raise CommandError(printable(nothing.why))
    if missing:
        raise CommandError(f"{key} {printable(value)}: {MovedAway(missing)}")


def _room(connection: Connection, cluster: str, key: Key, value: str) -> Room | None:
    """How full the place is that was asked about; None where that is no such question."""
    now = ledger_now(connection)
    told: VSwitchCapacity | NodeCapacity | None = None
    if key == "vswitch":
        told = next(iter(vswitch_capacity(connection, cluster, now, value)), None)
        return Room(told, vswitch_line(told, now)) if told else None
    if key == "node":
        told = next(iter(node_capacity(connection, cluster, value)), None)
        return Room(told, node_line(told)) if told else None
    return None


def _when(
    connection: Connection, key: Key, at: str | None, since: str | None, until: str | None
) -> When:
    """The times of a question. Raises WrongUsage for those that can't be asked about."""
    if at is not None and (since is not None or until is not None):
        raise WrongUsage("--at is one moment, --from and --to are a range: give one of them")
    now = ledger_now(connection)
    meant = When(*(moment(n, t, now) for n, t in (("at", at), ("from", since), ("to", until))))
    if meant.at is not None and meant.at > now:
        raise WrongUsage(f"--at {at!r} is in the future: the ledger tells what was, up to now")
    if meant.since is not None and meant.since > now:
        raise WrongUsage(f"--from {since!r} is in the future: the ledger tells what was, up to now")
    if meant.since is not None and meant.until is not None and meant.until <= meant.since:
        raise WrongUsage(f"--to {until!r} is not after --from {since!r}: nothing is between them")
    if key not in HOLDERS and meant == When():  # many share a place: what is so now is meant
        return When(at=now)
    return meant


def _form(as_json: bool, as_csv: bool, whole: bool = False) -> Form:
    if as_csv and (as_json or whole):
        raise WrongUsage("--csv gives periods only: it goes with neither --json nor --story")
    return "json" if as_json else "csv" if as_csv else "text"


def _ip(text: str) -> str:
    """The one address that is meant, without its mask: `ip addr` prints 192.168.0.3/19.

    Where nothing stands behind the mask it is a network, and that is another question.
    """
    try:
        given = ipaddress.ip_interface(text.strip())
    except ValueError as wrong:
        raise WrongUsage(
            f"{text!r} is no IP address: write one, for example 192.168.0.12"
        ) from wrong
    address, network = given.ip, given.network
    if network.num_addresses > 1 and address == network.network_address:
        raise WrongUsage(
            f"{text!r} is a network: ask about one address in it, or about the whole of its vSwitch "
            "with `eni-ledger audit vswitch`"
        )
    if "%" in text:
        raise WrongUsage(f"{text!r} has a zone of one machine: leave out what follows %")
    # ::ffff:192.168.0.3 is how sockets of both families, and so many logs, write 192.168.0.3.
    return str(getattr(address, "ipv4_mapped", None) or address)


def _mac(text: str) -> str:
    mac_ = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(mac_):
        raise WrongUsage(f"{text!r} is no MAC address: write one, for example 00:16:3e:01:02:03")
    return mac_


# ---------------------------------------------------------------------------- when there is none


def _nothing(connection: Connection, cluster: str, key: Key, value: str, when: When) -> Nothing:
    """Why there is nothing to tell, and what is known beside it."""
    beginning = when.at or when.since
    if key not in HOLDERS:
        told = f"at {local(when.at)}" if when.at else "in that time"
        return Nothing(f"{key} {value}: this ledger held nothing there {told}")
    before = after = None
    if beginning is not None:
        before, _ = neighbours(connection, cluster, key, value, beginning)
        _, after = neighbours(connection, cluster, key, value, when.until or beginning)
    elif when.until is not None:
        _, after = neighbours(connection, cluster, key, value, when.until)
    if before or after:
        told = f"at {local(when.at)}" if when.at else "in that time"
        held = "held nothing" if key == "pod" else "is managed here, and was free"
        last = f"; before: {_holder(before)} until {local(before.until)}" if before else ""
        following = f"; after: {_holder(after)} since {local(after.since)}" if after else ""
        return Nothing(f"{key} {value} {held} {told}{last}{following}", True, before, after)
    why = f"{key} {value} is not managed here"
    if key != "ip":
        return Nothing(f"{why}: this ledger never gave it to anybody" if key != "pod" else
                       f"{why}: this ledger never gave it anything")  # fmt: skip
    reporting = tuple(pods_reporting(connection, cluster, value))
    around = vswitch_around(connection, cluster, value)
    if reporting:
        why += f"; Pod {', '.join(reporting)} reports it as its own"
    else:
        why += ": this ledger never gave it to anybody"
    if around:
        why += f". It is in vSwitch {around}, which others may use, too"
    return Nothing(why, reported_by=reporting, vswitch=around)


def _holder(tenure: Tenure) -> str:
    return f"{tenure.kind} for {tenure.namespace}/{tenure.pod} {tenure.interface}"
