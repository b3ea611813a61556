"""Gives a cluster back to the incumbent: at rest, its records in step, and nothing of ours acting on it.

In this order, so that it can be broken off and run again anywhere: our work comes to rest and stops;
what the incumbent would take from a running Pod is looked for; podLastSeen and NetworkInterfaces are put
right while nobody acts on them; the ledger's stories end; the incumbent comes back; our webhook goes last,
so that every Pod is admitted by one of the two.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from consumers.kube.port import KubeError, KubeObject
from consumers.kube.resources import CRDS, NETWORK_INTERFACES
from consumers.takeover.backups import Backups
from consumers.takeover.controlplane import WEBHOOKS
from consumers.takeover.facts import list_pods, look_at_enis, name_of, named_enis, pod_seen
from consumers.takeover.source import Source
from consumers.takeover.steps import Steps, Unsafe
from consumers.takeover.stopping import Master, can_be_restored, restore_incumbent
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.found_podenis import Item, read_podeni
from ledger.rules.handing_back import (
    RecordWrite,
    dangers,
    forget_record,
    fresh_last_seen,
    in_flight,
    next_record_write,
)
from ledger.rules.podeni import Object
from ledger.rules.takeover import Name
from ledger.store import brakes
from ledger.store.database import ledger_now
from ledger.store.incarnations import BY_RETURN, BY_SHADOW, NOT_THE_TRUTH
from ledger.store.places import confirm_cluster
from ledger.store.returns import claims_held, live_allocations, record_returned

LOOK_EVERY_S = 1.0
_WRITES_MAX = 6


def give_back(
    source: Source, backups: Backups, steps: Steps, master: Master, reason: str, wait: timedelta
) -> None:
    """All of it. Raises Unsafe, with nothing or only whole steps done, where it can't go on."""
    if not steps.dry_run:
        _right_cluster(source)
    can_be_restored(source, backups)
    pulled = _pulled_by(source)
    if BY_SHADOW in pulled:
        raise Unsafe("this ledger is a shadow's, and nothing was taken over: stop its processes")
    # Requests of Pods that came since are nothing that was taken over.
    held = [a for a in _held(source) if a.address is not None or a.podeni_uid is not None]
    if BY_RETURN not in pulled or held:
        why = master()
        if why is not None:
            raise Unsafe(f"two masters: {why}: `eni-ledger handover stop` first")
        _come_to_rest(source, steps, reason, wait)
        try:
            _put_right(source, steps)
        except (Unsafe, KubeError):
            if not steps.dry_run:
                _let_go(source)  # nothing is given back: our work goes on
            raise
        entry = e.Returned(to="terway-controlplane", by=source.by, reason=reason)
        what = f"end {len(_held(source))} stories in the ledger: given back"
        steps.take(what, bool(_held(source)), lambda: _end_stories(source, entry))
    elif master() is None:
        _still_seen(source, steps)
    restore_incumbent(source, backups, steps)
    for resource in WEBHOOKS:
        ours = source.objects.get(resource, source.settings.webhook.name)
        what = f"remove {resource.plural} {source.settings.webhook.name}"
        steps.take(what, ours is not None, partial(source.objects.delete, resource, ours or {}))


def _right_cluster(source: Source) -> None:
    """Raises WrongCluster: another cluster's PodENIs say nothing about what this ledger holds (P11)."""
    uid = source.kube.cluster_uid()
    with source.database.transaction() as connection:
        confirm_cluster(connection, source.cluster, uid)


def _held(source: Source) -> list[Allocation]:
    with source.database.transaction() as connection:
        return live_allocations(connection, source.cluster)


def _pulled_by(source: Source) -> set[str]:
    with source.database.transaction() as connection:
        return {brake.pulled_by for brake in brakes.read_brakes(connection, source.cluster)}


def _come_to_rest(source: Source, steps: Steps, reason: str, wait: timedelta) -> None:
    """Pull the brake on everything in a moment in which nothing is under way."""
    moving = _moving(source)
    if steps.dry_run:
        for each in moving:
            steps.warnings.append(f"under way: {each}")
        steps.take("stop all of our work (pause all)", True, lambda: None)
        return
    needed = BY_RETURN not in _pulled_by(source)
    if moving and not needed:
        _let_go(source)  # of an earlier attempt that was broken off: what moves could not end
    until = source.now() + wait
    while True:
        if not moving:
            turns = _brake(source, reason)
            # A turn that began before may have looked at the brakes already: it ends first.
            while turns & _claims(source) and source.now() < until:
                source.sleep(LOOK_EVERY_S)
            moving = _moving(source)
            if turns & _claims(source):
                moving.append("turns that began before the pause have not ended")
            if not moving:
                break
            _let_go(source)
        if source.now() >= until:
            listed = "; ".join(moving[:5]) + ("; …" if len(moving) > 5 else "")
            raise Unsafe(
                f"{len(moving)} interfaces are under way: {listed}. Let the reconciler finish, or see "
                "`eni-ledger verify`; nothing was stopped"
            )
        source.sleep(LOOK_EVERY_S)
        moving = _moving(source)
    steps.take("stop all of our work (pause all)", needed, lambda: None)


def _moving(source: Source) -> list[str]:
    found = [(a, in_flight(a)) for a in _held(source)]
    return [f"{a.namespace}/{a.pod} {a.interface}: {why}" for a, why in found if why is not None]


def _claims(source: Source) -> set[UUID]:
    with source.database.transaction() as connection:
        return claims_held(connection, source.cluster)


def _brake(source: Source, reason: str) -> set[UUID]:
    """Stop everything; returns the turns that were going on."""
    why = (
        f"the cluster is given back to the incumbent ({reason}): `eni-ledger adopt` takes it again"
    )
    with source.database.transaction() as connection:
        for brake in brakes.read_brakes(connection, source.cluster):
            if brake.scope == "all" and brake.pulled_by not in NOT_THE_TRUTH:
                raise Unsafe(f"paused: {brake.reason}: `eni-ledger resume all` first")
        cause = {"command": "handover return", "by": source.by, "reason": reason}
        now = ledger_now(connection)
        brakes.pull(connection, source.cluster, "all", BY_RETURN, why, now, cause)
    return _claims(source)


def _let_go(source: Source) -> None:
    with source.database.transaction() as connection:
        cause = {"command": "handover return", "by": source.by, "reason": "something was under way"}
        now = ledger_now(connection)
        brakes.release(connection, source.cluster, "all", source.by, now, cause)


def _end_stories(source: Source, entry: e.Returned) -> None:
    cause = {"command": "handover return", "by": source.by, "reason": entry.reason}
    with source.database.transaction() as connection:
        record_returned(connection, source.cluster, entry, cause)


# ------------------------------------------------------------------------------ its records


def _put_right(source: Source, steps: Steps) -> None:
    """podLastSeen of what is held, and the incumbent's record of every ENI that a PodENI names."""
    held: dict[Name, list[Allocation]] = {}
    for a in _held(source):
        if a.phase in (Phase.BOUND, Phase.RESERVED):
            held.setdefault((a.namespace, a.pod), []).append(a)
        if a.parked:
            steps.warnings.append(f"{a.namespace}/{a.pod} is given back as it is: {a.parked}")
    podenis = list(source.kube.list_podenis())
    ours = [p for p in podenis if name_of(p) in held]
    _same_phases(ours, held)
    records = {each["metadata"]["name"]: each for each in source.objects.list(NETWORK_INTERFACES)}
    _harmless(source, podenis, records)
    _see(source, steps, ours, held)
    if source.objects.get(CRDS, NETWORK_INTERFACES.rbac) is None:
        return  # this incumbent keeps no such records
    for podeni in ours:
        for item in read_podeni(podeni, {}, {}).items:
            record = records.get(item.eni)
            needed = next_record_write(record, podeni, item) is not None
            steps.take(
                f"NetworkInterface {item.eni}",
                needed,
                partial(_write_record, source, record, podeni, item),
            )
    _forget(source, steps, podenis, records)


def _harmless(source: Source, podenis: Sequence[Object], records: Mapping[str, Object]) -> None:
    """Raises Unsafe where the incumbent would take an ENI from a Pod that runs, or from a reservation."""
    listed = list_pods(source, [name_of(podeni) for podeni in podenis])
    pods = {name: pod_seen(pod) for name, pod in listed.items()}
    told = dangers(podenis, pods, records, _held(source))
    if told:
        raise Unsafe("the incumbent would do harm as soon as it starts: " + "; and: ".join(told))


def _see(
    source: Source,
    steps: Steps,
    podenis: Sequence[Object],
    held: Mapping[Name, Sequence[Allocation]],
) -> None:
    now = source.now()
    for podeni in podenis:
        fresh = fresh_last_seen(podeni, held.get(name_of(podeni), ()), now)
        what = f"podLastSeen of {'/'.join(name_of(podeni))}"
        steps.take(what, fresh is not None, partial(source.kube.replace_podeni_status, fresh or {}))


def _still_seen(source: Source, steps: Steps) -> None:
    """Broken off before the incumbent came back: what is bound was seen by nobody since.

    Its TTL would be counted from the first attempt; a Pod that went meanwhile would lose its address at
    the incumbent's first look (reference §6.6). A reservation's podLastSeen says when it ends, and stays.
    """
    bound = [p for p in source.kube.list_podenis() if p.get("status", {}).get("phase") == "Bind"]
    _see(source, steps, bound, {})


def _same_phases(podenis: Sequence[Object], held: Mapping[Name, Sequence[Allocation]]) -> None:
    """What the ledger holds at rest, its PodENI must show at rest. Raises Unsafe."""
    shown = {name_of(p): p for p in podenis}
    for name, allocations in sorted(held.items()):
        if all(a.parked or a.address is None for a in allocations):
            continue
        phase = (shown.get(name) or {}).get("status", {}).get("phase")
        bound = any(a.phase is Phase.BOUND for a in allocations)
        wanted = "Bind" if bound else "Unbind"
        if phase != wanted:
            raise Unsafe(
                f"PodENI {'/'.join(name)} is in phase {phase}, and the ledger has it in {wanted}: our work "
                "goes on and puts it right; look at `eni-ledger verify`, then try again"
            )


def _write_record(source: Source, record: Object | None, podeni: Object, item: Item) -> None:
    live = record
    for _ in range(_WRITES_MAX):
        write = next_record_write(live, podeni, item)
        if write is None:
            return
        live = _apply(source, write)
    raise Unsafe(f"NetworkInterface {item.eni} does not come to rest: somebody else writes it")


def _apply(source: Source, write: RecordWrite) -> KubeObject | None:
    objects, obj = source.objects, write.obj
    match write.verb:
        case "create":
            return objects.create(NETWORK_INTERFACES, obj)
        case "replace":
            return objects.replace(NETWORK_INTERFACES, obj)
        case "replace-status":
            return objects.replace(NETWORK_INTERFACES, obj, "status")
        case "renew" | "forget":
            bare = {**obj, "metadata": {**obj["metadata"], "finalizers": []}}
            objects.replace(NETWORK_INTERFACES, bare)
            objects.delete(NETWORK_INTERFACES, obj)
            return objects.get(NETWORK_INTERFACES, obj["metadata"]["name"])


def _forget(
    source: Source, steps: Steps, podenis: Sequence[Object], records: Mapping[str, Object]
) -> None:
    """Records of ENIs that are gone, which the incumbent would go on looking for."""
    unnamed = sorted(set(records) - named_enis(podenis))
    in_cloud = look_at_enis(source, unnamed) if unnamed else {}
    for eni in unnamed:
        write = forget_record(records[eni], eni in in_cloud)
        if write is not None:
            what = f"remove NetworkInterface {eni}: its ENI is gone"
            steps.take(what, True, partial(_apply, source, write))
