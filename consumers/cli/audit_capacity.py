"""Capacity in words: what `eni-ledger audit` says of vSwitches and nodes."""

from datetime import datetime

from consumers.cli.book import local, print_json, print_table
from ledger.audit.capacity import NodeCapacity, VSwitchCapacity
from ledger.rules.capacity import NoTrend, Trend, range_of


def tell_capacity(
    vswitches: list[VSwitchCapacity], nodes: list[NodeCapacity], now: datetime, as_json: bool
) -> None:
    """Every vSwitch and every node, as tables or as one JSON document."""
    if as_json:
        print_json({"vswitches": vswitches, "nodes": nodes})
        return
    columns = ("vSwitch", "zone", "size", "in use", "reserved", "for ever", "free", "full")
    rows = [
        (v.vswitch, v.zone, str(v.size or "?"), str(v.in_use), str(v.reserved),
         str(v.reserved_for_ever), f"~{v.free}", forecast(v.trend, now))
        for v in vswitches
    ]  # fmt: skip
    print_table("vSwitches (what is free is an estimate: others use them, too)", columns, rows)
    columns_of_nodes = ("node", "member slots", "attached", "waiting", "free")
    slots = [(n.node, str(n.slots), str(n.attached), str(n.waiting), str(n.free)) for n in nodes]
    print_table("Nodes", columns_of_nodes, slots)


def vswitch_line(v: VSwitchCapacity, now: datetime) -> str:
    """One vSwitch in a line."""
    size = f" of {v.size}" if v.size else ""
    return (
        f"{v.in_use} in use, {v.reserved} reserved ({v.reserved_for_ever} of them for ever), "
        f"{v.releasing} on their way back, about {v.free}{size} free (looked at "
        f"{local(v.looked_at)}); full: {forecast(v.trend, now)}"
    )


def node_line(n: NodeCapacity) -> str:
    """One node in a line."""
    return f"member slots: {n.slots}, {n.attached} attached, {n.waiting} waiting, {n.free} free"


def forecast(trend: Trend | NoTrend, now: datetime) -> str:
    """When it is full, with the range of that guess."""
    if isinstance(trend, NoTrend):
        return f"no trend: {trend.why}"
    pace = f"{trend.per_day:+.1f} a day"
    if trend.full is None:
        return f"not within a year ({pace}; {range_of(trend, now)})"
    return f"about {local(trend.full)} ({pace}; {range_of(trend, now)})"
