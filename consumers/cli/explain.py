"""`eni-ledger explain`: why a Pod has, or will have, the network it has. Looks at the live cluster."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from consumers.cli.errors import CommandError
from consumers.kube import wire
from consumers.kube.explaining import explain_live_pod
from consumers.kube.port import KubeError, KubeObject
from consumers.runtime.errors import OperatorError
from consumers.runtime.policy import pod_policy
from consumers.runtime.settings import load_settings
from ledger.rules.admission_explanation import Explanation, as_document
from ledger.rules.changes import CHANGES
from ledger.rules.objects import ObjectError, mapping_at

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
            policy = pod_policy(settings.policy, settings.webhook)
            explanation = explain_live_pod(client, namespace, pod_name, policy, manifest)
    except (KubeError, OperatorError, ObjectError) as failure:
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


def _manifest(file: Path) -> KubeObject:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as wrong:
        raise CommandError(f"--file {file}: {wrong}") from wrong
    if not isinstance(document, dict):
        raise CommandError(f"--file {file}: one YAML document of a Pod or a workload is needed")
    return document
