"""`eni-ledger audit`: who held an address, an ENI, a MAC or a Pod's network; when; and why."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from consumers.cli.book import (
    ledger_settings,
    local,
    moment,
    opened,
    pod_name,
    print_json,
    print_table,
)
from consumers.cli.errors import CommandError
from ledger.audit.questions import Because, Key, Tenure, pods_reporting, story, tenures

app = typer.Typer(no_args_is_help=True, add_completion=False)

At = Annotated[str | None, typer.Option(help="a moment: 2026-01-31T14:03:00+08:00, or '90m ago'")]
Json = Annotated[bool, typer.Option("--json", help="for programs")]
Story = Annotated[bool, typer.Option("--story", help="every entry, not only the periods")]

_KINDS = {
    "preparing": "made for it, not in use yet",
    "bound": "in use",
    "leaving": "its Pod is gone, being unbound",
    "reserved": "kept for its return",
    "releasing": "on its way back",
}


@app.command(epilog="Example: [bold]eni-ledger audit ip 192.168.0.12 --at '2h ago'[/bold]")
def ip(address: str, at: At = None, whole: Story = False, as_json: Json = False) -> None:
    """Who held an IP address, from when to when, and why."""
    _answer("ip", address, at, whole, as_json)


@app.command(epilog="Example: [bold]eni-ledger audit eni eni-bp1abc[/bold]")
def eni(eni_id: str, at: At = None, whole: Story = False, as_json: Json = False) -> None:
    """Whom an ENI served, from when to when, and why."""
    _answer("eni", eni_id, at, whole, as_json)


@app.command(epilog="Example: [bold]eni-ledger audit mac 00:16:3e:01:02:03[/bold]")
def mac(address: str, at: At = None, whole: Story = False, as_json: Json = False) -> None:
    """Whom a MAC address served, from when to when, and why."""
    _answer("mac", address.lower(), at, whole, as_json)


@app.command(epilog="Example: [bold]eni-ledger audit pod shop/web-0 --story[/bold]")
def pod(name: str, at: At = None, whole: Story = False, as_json: Json = False) -> None:
    """Which addresses a Pod (NAMESPACE/NAME) had, from when to when, and why."""
    _answer("pod", "/".join(pod_name(name)), at, whole, as_json)


def _answer(key: Key, value: str, at: str | None, whole: bool, as_json: bool) -> None:
    settings = ledger_settings()
    with opened(settings) as connection:
        when = moment(at, connection)
        found = tenures(connection, settings.cluster_id, key, value, when)
        ids = list(dict.fromkeys(each.allocation_id for each in found))
        entries = story(connection, settings.cluster_id, ids) if whole else []
        reporting = (
            pods_reporting(connection, settings.cluster_id, value)
            if key == "ip" and not found
            else []
        )
    if as_json:
        print_json({"query": {key: value, "at": when}, "tenures": found, "story": entries})
    elif found:
        _print_tenures(f"{key} {value} in cluster {settings.cluster_id}", found)
        if whole:
            print_table(
                "Every entry",
                ("entry", "at", "what", "details", "because"),
                [
                    (str(e.entry), local(e.recorded_at), e.kind, _short(e.data), _cause(e.cause))
                    for e in entries
                ],
            )
    if not found:
        raise CommandError(_nobody(key, value, at, reporting))


def _print_tenures(title: str, found: list[Tenure]) -> None:
    """Periods as a story, oldest first: what it is once, then who, how long and why."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(title)}[/bold]")
    what = ""
    for each in found:
        if what != (what := _what(each)):
            console.print(f"\n{what}")
        span = f"{local(each.since)} → {local(each.until, 'now')}"
        who = f"{each.namespace}/{each.pod} {each.interface} on {each.node}"
        vlan = f", VLAN {each.vlan}" if each.vlan is not None else ""
        console.print(f"  {span}  [bold]{each.kind:<9}[/bold]  {who}{vlan}")
        console.print(f"      {_KINDS[each.kind]}; Pod uid {each.pod_uid}")
        console.print(f"      since {escape(_why(each.opened))}")
        if each.closed:
            console.print(f"      until {escape(_why(each.closed))}")


def _what(each: Tenure) -> str:
    addresses = " and ".join(text for text in (each.ipv4, each.ipv6) if text)
    return f"{addresses}: {each.eni}, MAC {each.mac}, of {each.vswitch} in {each.vpc}"


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
    if "command" in cause:
        return f"{cause['command']} by {cause['by']}"
    return _short(cause)


def _short(data: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", {}))


def _nobody(key: Key, value: str, at: str | None, reporting: list[str]) -> str:
    if at is not None:
        return f"{key} {value} was not managed here at {at}; without --at you see other times"
    if reporting:
        return (
            f"{key} {value} is not managed here; Pod {', '.join(reporting)} reports it as its own"
        )
    return f"{key} {value} is not managed here: this ledger never gave it to anybody"
