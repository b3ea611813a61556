"""Stops terway-controlplane's part in PodENIs, brings it back, or clears it away.

The product document's migration by command. Each can be broken off anywhere and run again: what is done is
seen to be done, and nothing is removed before it is kept.
"""

from collections.abc import Callable
from functools import partial

from consumers.kube.names import INCUMBENT, SYSTEM_NAMESPACE
from consumers.kube.objects import Objects
from consumers.kube.port import KubeObject
from consumers.kube.resources import CONFIG_MAPS, DEPLOYMENTS, MUTATING_WEBHOOKS, Resource
from consumers.takeover.backups import KINDS, BackupDiffers, Backups
from consumers.takeover.controlplane import (
    WEBHOOKS,
    ControlPlane,
    look_at_controlplane,
    portable,
    restart_due,
    restarted,
    scaled,
    switched_off,
    to_be_restarted,
    with_config,
)
from consumers.takeover.source import Source
from consumers.takeover.steps import Steps, Unsafe
from ledger.store.returns import live_allocations

Master = Callable[[], str | None]


def stop(source: Source, backups: Backups, steps: Steps) -> None:
    """Back up its Deployment, configuration and webhooks; switch it off; remove its webhooks."""
    objects = source.objects
    seen = look_at_controlplane(objects)
    kept = any(backups.read(resource) for resource in KINDS)
    if seen.deployment is None and not seen.webhooks and not kept:
        raise Unsafe(f"there is no {INCUMBENT} in this cluster: nothing is to be stopped")
    if objects.get(MUTATING_WEBHOOKS, source.settings.webhook.name) is None:
        steps.warnings.append(
            f"webhook {source.settings.webhook.name} is not registered: Pods that are created before "
            "it is start on the shared network; run `eni-ledger run webhook` first"
        )
    if seen.shared_ipam:
        _switch_off(source, seen, backups, steps)
    elif seen.deployment is not None:
        _scale_down(source, seen, seen.deployment, backups, steps)
    for resource, hook in seen.webhooks.items():
        _back_up(backups, resource, hook, steps)
    for resource in WEBHOOKS:
        found = seen.webhooks.get(resource)
        what = f"remove {resource.plural} {INCUMBENT}"
        remove = partial(objects.delete, resource, found or {}, unchanged=True)
        steps.take(what, found is not None, remove)


def _scale_down(
    source: Source, seen: ControlPlane, deployment: KubeObject, backups: Backups, steps: Steps
) -> None:
    if seen.replicas > 0:
        _back_up(backups, DEPLOYMENTS, deployment, steps)
    what = f"scale Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} to 0"
    now = scaled(deployment, 0)
    steps.take(what, seen.replicas > 0, lambda: source.objects.replace(DEPLOYMENTS, now))


def _switch_off(source: Source, seen: ControlPlane, backups: Backups, steps: Steps) -> None:
    """It runs shared-ENI IPAM: it goes on running, without PodENI controllers and webhook."""
    config_map, deployment = seen.config_map, seen.deployment
    if config_map is None or deployment is None:
        raise Unsafe(
            f"{seen.shared_ipam}, and the ConfigMap that {INCUMBENT} mounts was not found: add "
            "-pod,-pod-eni,-eni,-pod-networking to its controllers and disableWebhook by hand"
        )
    needed = not seen.switched_off
    if needed:
        _back_up(backups, CONFIG_MAPS, config_map, steps)
    off = with_config(config_map, switched_off(seen.config))
    where = f"ConfigMap {SYSTEM_NAMESPACE}/{config_map['metadata']['name']}"
    what = f"switch PodENI controllers and webhook off in {where} ({seen.shared_ipam})"
    steps.take(what, needed, partial(_configure, source.objects, deployment, off))
    _restart(source, needed or seen.restart_due, steps)


def _configure(objects: Objects, deployment: KubeObject, config_map: KubeObject) -> None:
    """Change its configuration, with a mark on its Deployment first: its replicas don't see the change.

    Without the mark, a command that is broken off before the restart would find everything done that can be
    read, while a replica goes on by the earlier configuration.
    """
    if not restart_due(deployment):
        objects.replace(DEPLOYMENTS, to_be_restarted(deployment))
    objects.replace(CONFIG_MAPS, config_map)


def _restart(source: Source, needed: bool, steps: Steps) -> None:
    def act() -> None:
        at = source.now().isoformat(timespec="seconds")
        _rewrite(source.objects, lambda live: restarted(live, at))

    steps.take(f"restart Deployment {SYSTEM_NAMESPACE}/{INCUMBENT}", needed, act)


def _rewrite(objects: Objects, change: Callable[[KubeObject], KubeObject]) -> None:
    """Change its Deployment as it is after the steps before."""
    live = objects.get(DEPLOYMENTS, INCUMBENT, SYSTEM_NAMESPACE)
    if live is None:
        raise Unsafe(
            f"Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} was removed meanwhile: run it again"
        )
    objects.replace(DEPLOYMENTS, change(live))


def _back_up(backups: Backups, resource: Resource, obj: KubeObject, steps: Steps) -> None:
    what = f"keep {resource.plural} {obj['metadata']['name']} in {backups.path(resource)}"
    kept = backups.has(resource, obj)
    if kept and not steps.dry_run:
        backups.settle(resource)
    steps.take(what, not kept, lambda: backups.keep(resource, obj))


def restore(source: Source, backups: Backups, steps: Steps) -> None:
    """Bring the incumbent back as it was before `stop`. Refused while this ledger is live."""
    with source.database.transaction() as connection:
        held = [a for a in live_allocations(connection, source.cluster) if a.address is not None]
    if held:
        raise Unsafe(
            f"this ledger holds {len(held)} ENIs of cluster {source.cluster}: the incumbent would act on "
            "its old records of them; give the cluster back with `eni-ledger handover return`"
        )
    restore_incumbent(source, backups, steps)


def can_be_restored(source: Source, backups: Backups) -> None:
    """Raises Unsafe where what is needed to bring the incumbent back is not there."""
    seen = look_at_controlplane(source.objects)
    if seen.deployment is None and backups.read(DEPLOYMENTS) is None:
        raise Unsafe(
            f"there is no Deployment {INCUMBENT}, and no {backups.path(DEPLOYMENTS)}: give the "
            "--backup-dir of `handover stop`, or install terway-controlplane first"
        )
    for resource in WEBHOOKS:
        if resource not in seen.webhooks and backups.read(resource) is None:
            raise Unsafe(
                f"there is no {resource.plural} {INCUMBENT}, and no {backups.path(resource)}: give the "
                "--backup-dir of `handover stop`"
            )
    if seen.shared_ipam and seen.switched_off and backups.read(CONFIG_MAPS) is None:
        raise Unsafe(
            f"PodENI controllers are off, and there is no {backups.path(CONFIG_MAPS)} with the earlier "
            "configuration: give the --backup-dir of `handover stop`"
        )


def restore_incumbent(source: Source, backups: Backups, steps: Steps) -> None:
    """Webhooks first, then configuration, then replicas: no Pod is admitted past them."""
    can_be_restored(source, backups)
    objects = source.objects
    seen = look_at_controlplane(objects)
    for resource in WEBHOOKS:
        kept = backups.read(resource)
        what = f"restore {resource.plural} {INCUMBENT}"
        needed = resource not in seen.webhooks
        steps.take(what, needed, partial(objects.create, resource, kept or {}))
    old, deployment = backups.read(CONFIG_MAPS), seen.deployment
    if old is not None and seen.config_map is not None and deployment is not None:
        before = {**seen.config_map, "data": old.get("data") or {}}
        what = f"restore ConfigMap {SYSTEM_NAMESPACE}/{old['metadata']['name']}"
        change = partial(_configure, objects, deployment, before)
        steps.take(what, seen.switched_off, change)
        _restart(source, seen.switched_off or seen.restart_due, steps)
    elif seen.restart_due:
        _restart(source, True, steps)
    _scale_up(source, backups.read(DEPLOYMENTS), seen, steps)


def _scale_up(source: Source, kept: KubeObject | None, seen: ControlPlane, steps: Steps) -> None:
    objects, deployment = source.objects, seen.deployment
    replicas = max(1, int((kept or {}).get("spec", {}).get("replicas", 1)))
    what = f"run Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} with {replicas} replicas"
    if deployment is None:
        assert kept is not None, "can_be_restored looked"
        made = scaled(portable(kept, *KINDS[DEPLOYMENTS]), replicas)
        steps.take(what, True, lambda: objects.create(DEPLOYMENTS, made))
        return
    up = partial(_rewrite, objects, lambda live: scaled(live, replicas))
    steps.take(what, seen.replicas == 0, up)


def cleanup(source: Source, backups: Backups, steps: Steps) -> None:
    """Remove what is left of the incumbent after a migration that succeeded. The backups stay."""
    seen = look_at_controlplane(source.objects)
    if seen.shared_ipam:
        raise Unsafe(
            f"{INCUMBENT} also runs shared-ENI IPAM here ({seen.shared_ipam}): Pods on shared ENIs need "
            "it; it stays, with its PodENI controllers off"
        )
    if seen.replicas > 0 or seen.webhooks:
        left = ", ".join(each.plural for each in seen.webhooks)
        raise Unsafe(
            f"{INCUMBENT} is not stopped ({seen.replicas} replicas; webhooks: {left or 'none'}): "
            "`eni-ledger handover stop` first"
        )
    deployment = seen.deployment
    if deployment is not None:
        _back_up_stopped(backups, deployment, steps)
    what = f"remove Deployment {SYSTEM_NAMESPACE}/{INCUMBENT}"
    remove = partial(source.objects.delete, DEPLOYMENTS, deployment or {}, unchanged=True)
    steps.take(what, deployment is not None, remove)


def _back_up_stopped(backups: Backups, deployment: KubeObject, steps: Steps) -> None:
    """Its Deployment is at 0: what `stop` kept is the same but for the replicas."""
    kept = backups.read(DEPLOYMENTS)
    if kept is None:
        _back_up(backups, DEPLOYMENTS, deployment, steps)
        return
    now = portable(deployment, *KINDS[DEPLOYMENTS])
    if scaled(kept, 0) != scaled(now, 0):
        raise BackupDiffers(
            f"Deployment {SYSTEM_NAMESPACE}/{INCUMBENT} was changed since {backups.path(DEPLOYMENTS)} was "
            "written: move that file away, or give another --backup-dir, so that it is kept as it is now"
        )
    _back_up(backups, DEPLOYMENTS, kept, steps)
