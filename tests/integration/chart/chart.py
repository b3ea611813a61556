"""The chart as genuine helm renders it, and what one process gets to see of it."""

import functools
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from consumers.runtime.incumbent_files import CONFIG_VARIABLE, CREDENTIAL_VARIABLE

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/helm/eni-ledger"
EXAMPLES = {
    path.stem.removeprefix("values-"): path
    for path in sorted((ROOT / "deploy/helm/examples").glob("values-*.yaml"))
}
PROCESSES = ("watcher", "intake", "reconciler", "webhook", "console")
RELEASE, NAMESPACE = "ledger", "eni-ledger"
#: The variables that name the incumbent's files, and the volumes that these are in.
INCUMBENT = {CONFIG_VARIABLE: "incumbent", CREDENTIAL_VARIABLE: "incumbent-credential"}

Json = dict[str, Any]


@functools.cache
def helm_path() -> str:
    """Where `.ci/parts/helm` keeps it."""
    part = subprocess.run(
        [str(ROOT / ".ci/parts/helm"), "--path"], capture_output=True, text=True, check=True
    )
    return part.stdout.strip()


def helm(*words: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    done = subprocess.run(
        [helm_path(), *words], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering."""

    objects: tuple[Json, ...]

    def of(self, kind: str) -> dict[str, Json]:
        """Name -> object of a kind; for Roles and their bindings: namespace/name."""
        key = (lambda m: f"{m['namespace']}/{m['name']}") if "Role" in kind else None
        return {
            key(each["metadata"])
            if key and "namespace" in each["metadata"]
            else each["metadata"]["name"]: each
            for each in self.objects
            if each["kind"] == kind
        }

    def process(self, name: str) -> "Process | None":
        found = self.of("Deployment").get(f"eni-ledger-{name}")
        return None if found is None else Process(self, name, found)

    def processes(self) -> "Iterator[Process]":
        for name in PROCESSES:
            if (found := self.process(name)) is not None:
                yield found


@functools.cache
def rendered(example: str, *words: str) -> Rendered:
    """An example's values through `helm template`; `words` are further arguments."""
    code, out, err = helm(
        "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(EXAMPLES[example]), *words
    )  # fmt: skip
    assert code == 0, err
    return Rendered(tuple(each for each in yaml.safe_load_all(out) if each))


@dataclass(frozen=True)
class Process:
    """One Deployment, with what its one container gets."""

    all: Rendered
    name: str
    deployment: Json

    @property
    def spec(self) -> Json:
        spec: Json = self.deployment["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Json:
        [container] = self.spec["containers"]
        return dict(container)

    def port(self, name: str) -> int:
        [port] = [each for each in self.container["ports"] if each["name"] == name]
        return int(port["containerPort"])

    def mounted(self, volume: str) -> str:
        [mount] = [each for each in self.container["volumeMounts"] if each["name"] == volume]
        return str(mount["mountPath"])

    def environment(
        self, directory: Path, secrets: Mapping[str, str], pod_ip: str
    ) -> dict[str, str]:
        """As the kubelet would give it. `secrets` maps "secret/key" to what is in it, and "name/key" of
        the incumbent's files; files are laid out below `directory`, which stands for the container's
        file system."""
        given: dict[str, str] = {}
        for each in self.container["env"]:
            name = each["name"]
            assert name not in given, f"{name} twice"
            source = each.get("valueFrom", {})
            if "secretKeyRef" in source:
                ref = source["secretKeyRef"]
                given[name] = secrets[f"{ref['name']}/{ref['key']}"]
            elif "fieldRef" in source:
                assert source["fieldRef"]["fieldPath"] == "status.podIP"
                given[name] = pod_ip
            else:
                value = each["value"]
                assert isinstance(value, str), f"{name}: {value!r} is no string"
                given[name] = value.replace("$(POD_IP)", given.get("POD_IP", "$(POD_IP)"))
        file = Path(given["ENI_LEDGER_CONFIG"])
        assert str(file.parent) == self.mounted("settings")
        [volume] = [each for each in self.spec["volumes"] if each["name"] == "settings"]
        content = self.all.of("ConfigMap")[volume["configMap"]["name"]]["data"][file.name]
        laid = directory / file.name
        laid.write_text(content)
        for name, volume_name in INCUMBENT.items():
            if name in given:
                path, content = self._file(volume_name, secrets)
                assert path == Path(given[name])
                (directory / path.name).write_text(content)
                given[name] = str(directory / path.name)
        return given | {"ENI_LEDGER_CONFIG": str(laid)}

    def _file(self, name: str, contents: Mapping[str, str]) -> tuple[Path, str]:
        """Where a volume of one file that is not the chart's is in the container, and what is in it."""
        [volume] = [each for each in self.spec["volumes"] if each["name"] == name]
        source = volume.get("configMap") or volume["secret"]
        [item] = source["items"]
        held = contents[f"{source.get('name') or source['secretName']}/{item['key']}"]
        return Path(self.mounted(name)) / item["path"], held


def rules_of(all_of_it: Rendered, account: str) -> list[Json]:
    """Every rule that is bound to a service account, wherever."""
    found: list[Json] = []
    for kind in ("ClusterRole", "Role"):
        roles = all_of_it.of(kind)
        for name, binding in all_of_it.of(f"{kind}Binding").items():
            subjects = binding["subjects"]
            if subjects == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]:
                found += roles[name]["rules"]
    return found


def grants(rules: list[Json]) -> set[tuple[str, str, str, str]]:
    """(group, resource, name, verb), one by one; names of our own objects are made alike."""
    return {
        (group, resource, name.replace("trunk-eni-ledger", "eni-ledger"), verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
