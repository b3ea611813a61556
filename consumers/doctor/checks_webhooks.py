"""Checks of what is installed in the cluster: CRDs, webhooks, and the incumbent beside us. Pure."""

from collections.abc import Iterable
from typing import Final

from consumers.doctor.checks_cluster import EDIT_ENI_CONFIG
from consumers.doctor.eni_config_text import EniConfigTextError, parsed
from consumers.doctor.facts import Asked, Facts, Hook
from consumers.doctor.judging import (
    Check,
    NotMade,
    Part,
    Verdict,
    blocks,
    fine,
    listed,
    seen,
    warns,
)
from consumers.kube.names import GROUP, INCUMBENT, VERSION

_WANTED_CRDS: Final = (f"podenis.{GROUP}", f"podnetworkings.{GROUP}")
_SEE_WEBHOOK: Final = (
    "see that `eni-ledger run webhook` runs and is ready, and the API server reaches it"
)
_SWITCH_OFF: Final = (
    "set controllers to -pod,-pod-eni,-eni,-pod-networking and disableWebhook: true in its "
    "ctrl-config.yaml"
)


def _crds(facts: Facts) -> Verdict:
    there = {each.name: each for each in seen(facts.cluster.crds)}
    missing = [name for name in _WANTED_CRDS if name not in there]
    if missing:
        return blocks(f"not installed: {', '.join(missing)}", "kubectl create -f deploy/crds")
    wrong = []
    for name in _WANTED_CRDS:
        crd = there[name]
        if VERSION not in crd.served:
            wrong.append(f"{name} does not serve {VERSION}")
        elif VERSION not in crd.with_status:
            wrong.append(f"{name} has no status subresource in {VERSION}")
        elif not crd.established:
            wrong.append(f"{name} is not established: the API server does not serve it")
    if wrong:
        return blocks(listed(wrong), f"kubectl describe crd {_WANTED_CRDS[0]} {_WANTED_CRDS[1]}")
    return fine("PodENI and PodNetworking are installed")


def _podnetworkings(facts: Facts) -> Verdict:
    found = [each for each in seen(facts.cluster.podnetworkings) if not each.deleting]
    wrong = [
        f"{each.name} ({each.selector_error or each.status_message or each.status or 'no status yet'})"
        for each in found
        if each.status != "Ready" or each.selector_error
    ]
    if wrong:
        return warns(
            f"not Ready: {listed(wrong)}; Pods that match get the shared network",
            "kubectl describe podnetworkings.network.alibabacloud.com",
        )
    return fine(f"{len(found)} PodNetworkings, all Ready")


# --- webhooks -------------------------------------------------------------------------------------


def _ours(facts: Facts, hooks: Iterable[Hook], resource: str) -> Hook | None:
    name = facts.meant.webhook_name
    return next((h for h in hooks if h.configuration == name and resource in h.resources), None)


def _installed(facts: Facts) -> Verdict:
    name = facts.meant.webhook_name
    missing = [
        f"{kind} {name} for {resource}"
        for kind, hooks, resource in (
            ("mutatingwebhookconfigurations", facts.cluster.mutating, "pods"),
            ("mutatingwebhookconfigurations", facts.cluster.mutating, "podnetworkings"),
            ("validatingwebhookconfigurations", facts.cluster.validating, "podnetworkings"),
        )
        if _ours(facts, seen(hooks), resource) is None
    ]
    if missing:
        return blocks(
            f"not there: {listed(missing)}. Pods are created without being asked about",
            "install the webhook configurations, or set ENI_LEDGER_WEBHOOK__REGISTER_URL and run "
            "the webhook, which then registers itself",
        )
    return fine(f"{name}: Pods and PodNetworkings are asked about")


def _pods_answered(facts: Facts) -> Verdict:
    hook = _ours(facts, seen(facts.cluster.mutating), "pods")
    return _answer(hook, "a Pod", facts)


def _podnetworkings_answered(facts: Facts) -> Verdict:
    hook = _ours(facts, seen(facts.cluster.validating), "podnetworkings")
    return _answer(hook, "a PodNetworking", facts)


def _answer(hook: Hook | None, what: str, facts: Facts) -> Verdict:
    """Whether our webhook was the one that refused what it must refuse."""
    if hook is None:
        raise NotMade("not asked: the webhook is not installed")
    look = facts.cluster.asked_pod if what == "a Pod" else facts.cluster.asked_podnetworking
    asked: Asked = seen(look)
    if asked.refused_by == hook.name:
        return fine(f"{hook.name} refused {what} that it must refuse (a dry run)")
    if asked.failure:
        return blocks(f"the API server can't call it: {asked.failure}", _SEE_WEBHOOK)
    if asked.refused_by:
        return warns(
            f"{asked.refused_by} refused {what} before {hook.name} could: whether ours answers is not "
            "known",
            f"remove the other webhook, or look at /readyz of the webhook process ({_SEE_WEBHOOK})",
        )
    return blocks(
        f"{what} that it must refuse was let through (a dry run): the API server did not reach "
        f"{hook.name}, and its failurePolicy is Ignore",
        _SEE_WEBHOOK,
    )


def _doubled(facts: Facts) -> Verdict:
    name = facts.meant.webhook_name
    asked = {h.configuration: h for h in seen(facts.cluster.mutating) if "pods" in h.resources}
    twins = sorted(c for c, h in asked.items() if h.ours and c != name)
    if twins:
        return blocks(
            f"{listed(twins)} is a second installation of ours beside {name}: each Pod is decided twice",
            f"kubectl delete mutatingwebhookconfigurations,validatingwebhookconfigurations {twins[0]}",
        )
    if INCUMBENT not in asked:
        return fine("nobody else annotates Pods for Pod ENIs")
    remove = (
        f"kubectl delete mutatingwebhookconfigurations,validatingwebhookconfigurations {INCUMBENT} "
        "(keep a copy of both first: kubectl get … -o yaml)"
    )
    if name in asked and name < INCUMBENT:
        return blocks(
            f"{INCUMBENT}'s webhook is asked after {name}, and refuses the Pods that ours annotated",
            f"{remove}; or set ENI_LEDGER_WEBHOOK__NAME to a name that sorts after {INCUMBENT}",
        )
    return warns(f"{INCUMBENT}'s webhook annotates Pods, too; ours takes that as it is", remove)


# --- the incumbent --------------------------------------------------------------------------------


def _master(facts: Facts) -> Verdict:
    why = seen(facts.cluster.master)
    if why is None:
        return fine(f"{INCUMBENT} does not act on PodENIs")
    return blocks(
        why,
        "to compare first, leave it; to take over: eni-ledger handover stop, which switches off only its "
        "PodENI controllers where it gives out shared addresses too, and keeps a backup",
    )


def _central_ipam(facts: Facts) -> Verdict:
    incumbent = seen(facts.cluster.incumbent)
    config = seen(facts.cluster.eni_config)
    try:
        by_config = config is not None and parsed(config.text).get("ipam_type") == "crd"
    except EniConfigTextError:
        by_config = False  # the check of the eni-config says what is wrong with it
    if not by_config and (incumbent is None or not incumbent.centralized_ipam):
        return fine("not in use: addresses of shared ENIs are the node agents' own")
    where = "eni-config says ipam_type crd" if by_config else f"{INCUMBENT} has centralizedIPAM on"
    if incumbent is None or incumbent.replicas == 0:
        return blocks(
            f"centralised IPAM is in use ({where}) and {INCUMBENT} does not run: ordinary Pods get no "
            "address",
            f"kubectl scale deploy -n kube-system {INCUMBENT} --replicas 1, and {_SWITCH_OFF}; or "
            f"take it out of use: {EDIT_ENI_CONFIG}",
        )
    return fine(f"in use ({where}): {INCUMBENT} must keep running; {_SWITCH_OFF}")


CHECKS: Final = (
    Check("crds", Part.WEBHOOKS, "Pods' networks are kept in these objects.", _crds),
    Check(
        "podnetworkings",
        Part.WEBHOOKS,
        "Only one that is Ready is used; the others fall through without a word.",
        _podnetworkings,
    ),
    Check(
        "webhooks-installed",
        Part.WEBHOOKS,
        "The webhook says which network a Pod gets.",
        _installed,
    ),
    Check(
        "webhook-answers-pods",
        Part.WEBHOOKS,
        "Pods made while it is away run on the shared network.",
        _pods_answered,
    ),
    Check(
        "webhook-answers-podnetworkings",
        Part.WEBHOOKS,
        "While it is away no PodNetworking can be made or changed.",
        _podnetworkings_answered,
    ),
    Check("webhooks-doubled", Part.WEBHOOKS, "Two that annotate one Pod can contradict.", _doubled),
    Check("incumbent-controllers", Part.INCUMBENT, "Two masters never act at once.", _master),
    Check(
        "central-ipam",
        Part.INCUMBENT,
        "Where terway-controlplane gives out shared addresses, it must not be switched off whole.",
        _central_ipam,
    ),
)
