"""`eni-ledger explain`: why a Pod has, or will have, the network it has. Looks at the live cluster."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from consumers.cli.errors import CommandError
from consumers.kube import wire
from consumers.kube.names import ENI_CONFIG, SYSTEM_NAMESPACE
from consumers.kube.port import KubeError, KubeObject, NotFound
from consumers.kube.resources import (
    ENI_CONFIG_MAP,
    NAMESPACES,
    PODENIS,
    PODNETWORKINGS,
    PODS,
    Resource,
)
from consumers.runtime.settings import load_settings
from ledger.rules.admission_explanation import Explanation, explain_pod
from ledger.rules.admission_pods import ClusterView, PodPolicy
from ledger.rules.changes import CHANGES
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.objects import ObjectError, mapping_at, text_map_at
from ledger.rules.podnetworkings import PodNetworking

if TYPE_CHECKING:
    import httpx2

    from consumers.runtime.settings import Settings

EXIT_REFUSED = 1

explain = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Why a Pod has the network it has, before and after it exists.",
    epilog="Example: [bold]eni-ledger explain pod example/my-nginx-0[/bold]",
)
app = typer.Typer(add_completion=False)
app.add_typer(explain, name="explain")


@explain.callback()
def _explain() -> None:
    """Why a Pod has the network it has, before and after it exists."""


@explain.command(
    epilog="Example: [bold]eni-ledger explain pod example/my-nginx-0[/bold], or before it exists: "
    "[bold]eni-ledger explain pod example/my-nginx-0 --file pod.yaml[/bold]"
)
def pod(
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="the Pod")],
    file: Annotated[
        Path | None,
        typer.Option(help="manifest of a Pod, or of a workload with a Pod template; - is stdin"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON on stdout")] = False,
) -> None:
    """Which PodNetworkings were considered for a Pod, which one it gets, and why not the others.

    Exit code 1 when admission refuses the Pod.
    """
    namespace, slash, pod_name = name.partition("/")
    if not (namespace and slash and pod_name):
        raise typer.BadParameter(f"{name!r} is not NAMESPACE/NAME", param_hint="NAMESPACE/NAME")
    settings = load_settings()
    try:
        with wire.connect(settings.kube) as client:
            manifest = None if file is None else pod_of(_manifest(file), namespace, pod_name)
            obj, view = _look(client, namespace, pod_name, manifest)
        explanation = explain_pod(obj, namespace, view, _policy(settings))
    except (KubeError, wire.KubeConfigError, ObjectError) as failure:
        raise CommandError(f"explain pod {name}: {failure}") from failure
    if as_json:
        typer.echo(json.dumps(as_document(explanation), indent=2))
    else:
        show(explanation, Console(highlight=False))
    if explanation.refused:
        raise typer.Exit(EXIT_REFUSED)


def pod_of(manifest: KubeObject, namespace: str, name: str) -> KubeObject:
    """The Pod of a manifest: itself, or what its template would make, owned by that workload.

    Raises CommandError for anything else.
    """
    kind = manifest.get("kind")
    if kind == "Pod":
        template, owners = manifest, mapping_at(manifest, "metadata").get("ownerReferences") or []
    else:
        template = dict(mapping_at(manifest, "spec", "template"))
        if not template:
            raise CommandError(f"--file: a {kind} has no Pod template: give a Pod or a workload")
        owner = str(mapping_at(manifest, "metadata").get("name") or name)
        # A Deployment's Pods belong to its ReplicaSet.
        owner_kind = "ReplicaSet" if kind == "Deployment" else str(kind)
        owners = [{"kind": owner_kind, "name": owner, "uid": ""}]
    metadata = {**mapping_at(template, "metadata"), "namespace": namespace, "name": name}
    return {**template, "metadata": {**metadata, "ownerReferences": owners}}


def as_document(explanation: Explanation) -> dict[str, Any]:
    """The answer as JSON; keys are stable."""
    report = explanation.report
    return {
        "pod": f"{explanation.pod.namespace}/{explanation.pod.name}",
        "verdict": explanation.verdict,
        "refused": explanation.refused,
        "admitted": explanation.admitted,
        "stateful": explanation.stateful,
        "chosen": report.chosen.name if report.chosen else None,
        "considered": [
            {"podNetworking": each.name, "outcome": each.outcome, "reason": each.reason}
            for each in report.considered
        ],
        "networks": [network.to_object() for network in explanation.networks],
        "resource": explanation.resource or None,
        "zones": list(explanation.zones),
        "previousZones": list(explanation.previous_zones),
        "limits": list(explanation.limits),
        "warnings": list(explanation.warnings),
        "changes": [asdict(change) for change in CHANGES],
    }


def show(explanation: Explanation, console: Console) -> None:
    """Print the answer for people: the verdict first, then what it rests on."""
    pod_facts = explanation.pod
    console.print(f"[bold]Pod {pod_facts.namespace}/{pod_facts.name}[/bold]")
    console.print(explanation.verdict, markup=False)
    if explanation.report.considered:
        table = Table("PodNetworking", "outcome", "why", box=None, pad_edge=False)
        for each in explanation.report.considered:
            table.add_row(each.name, each.outcome, each.reason)
        console.print()
        console.print(table)
    if explanation.networks:
        console.print("\nRequested:")
        for network in explanation.networks:
            console.print(f"  {json.dumps(network.to_object())}", markup=False, soft_wrap=True)
        console.print(f"  {len(explanation.networks)} × {explanation.resource}", markup=False)
        for what, zones in (
            ("zones of its vSwitches", explanation.zones),
            ("zone of its fixed IP", explanation.previous_zones),
        ):
            if zones:
                console.print(f"  {what}: {', '.join(zones)}", markup=False)
    for title, lines in (("Limits", explanation.limits), ("Warnings", explanation.warnings)):
        if lines:
            console.print(f"\n{title}:")
            for line in lines:
                console.print(f"  - {line}", markup=False)
    if explanation.report.chosen:
        console.print("\nWhen a change of the PodNetworking applies:")
        for change in CHANGES:
            told = f"  - {change.field}: {change.when}; {change.what}"
            console.print(told, markup=False, soft_wrap=True)


def _look(
    client: "httpx2.Client", namespace: str, name: str, manifest: KubeObject | None
) -> tuple[KubeObject, ClusterView]:
    obj = manifest or _get(client, PODS, name, namespace)
    if obj is None:
        raise CommandError(
            f"Pod {namespace}/{name} does not exist: check the name, or explain its manifest "
            f"with --file"
        )
    found = _get(client, NAMESPACES, namespace)
    if found is None and manifest is None:
        raise CommandError(f"namespace {namespace} does not exist")
    return obj, ClusterView(
        podnetworkings=[PodNetworking.from_object(each) for each in _list(client, PODNETWORKINGS)],
        namespace_labels=text_map_at(found or {}, "metadata", "labels"),
        podeni=_get(client, PODENIS, name, namespace),
        eni_config=_eni_config(client),
    )


def _eni_config(client: "httpx2.Client") -> EniConfig | EniConfigError | None:
    found = _get(client, ENI_CONFIG_MAP, ENI_CONFIG, SYSTEM_NAMESPACE)
    if found is None:
        return None
    try:
        return EniConfig.from_object(found)
    except EniConfigError as wrong:
        return wrong


def _get(
    client: "httpx2.Client", resource: Resource, name: str, namespace: str = ""
) -> KubeObject | None:
    target = f"{resource.rbac} {namespace}/{name}" if namespace else f"{resource.rbac} {name}"
    try:
        return _call(client, "get", target, resource.path(namespace, name))
    except NotFound:
        return None


def _list(client: "httpx2.Client", resource: Resource) -> list[KubeObject]:
    try:
        return list(_call(client, "list", resource.rbac, resource.path()).get("items") or [])
    except NotFound as missing:
        raise CommandError(
            f"{resource.rbac} are not installed in this cluster: apply deploy/crds first"
        ) from missing


def _call(client: "httpx2.Client", verb: str, target: str, path: str) -> KubeObject:
    import httpx2

    try:
        response = client.get(path)
    except httpx2.HTTPError as failure:
        raise wire.unreachable(verb, target, failure) from failure
    if not response.is_success:
        raise wire.refused_response(verb, target, response)
    return wire.decode_object(verb, target, response.content)


def _manifest(file: Path) -> KubeObject:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as wrong:
        raise CommandError(f"--file {file}: {wrong}") from wrong
    if not isinstance(document, dict):
        raise CommandError(f"--file {file}: one YAML document of a Pod or a workload is needed")
    return document


def _policy(settings: "Settings") -> PodPolicy:
    """As the webhook process reads the same settings."""
    from consumers.admission.answers import pod_policy

    return pod_policy(settings.policy, settings.webhook)
