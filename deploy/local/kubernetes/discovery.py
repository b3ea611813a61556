"""The discovery documents: which groups, versions and resources there are, and the server's version."""

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.registry import Registry

VERSION: Json = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "simulated",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
}
"""What `/version` says. `platform: simulated` tells that no genuine server answers."""

AGGREGATED = "apidiscovery.k8s.io"


def core_versions(address: str) -> Json:
    """`/api`."""
    server = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [server]}


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def groups(registry: Registry) -> Json:
    """`/apis`."""
    named = {name: v for name, v in registry.groups().items() if name}
    listed = [_group(name, versions) for name, versions in named.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(registry: Registry, name: str) -> Json | None:
    """`/apis/<group>`, None where there is none."""
    versions = registry.groups().get(name) if name else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resources(registry: Registry, group_name: str, version: str) -> Json | None:
    """`/api/v1` and `/apis/<group>/<version>`, None where there is none."""
    served = registry.of_version(group_name, version)
    if not served:
        return None
    listed: list[Json] = []
    for found in served:
        listed.append(_resource(found))
        listed += [_subresource(found, name) for name in _subresources(found)]
    name = f"{group_name}/{version}" if group_name else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": name,
        "resources": listed,
    }


def _resource(found: ResourceType) -> Json:
    made: Json = {
        "name": found.plural,
        "singularName": found.singular,
        "namespaced": found.namespaced,
        "kind": found.kind,
        "verbs": list(found.verbs),
    }
    if found.short_names:
        made["shortNames"] = list(found.short_names)
    if found.categories:
        made["categories"] = list(found.categories)
    return made


def _subresources(found: ResourceType) -> list[str]:
    named = [*found.more_subresources]
    if found.status:
        named.append("status")
    if found.scale and not found.custom:
        named.append("scale")
    return named


_SUBRESOURCE_KINDS = {
    "binding": ("", "v1", "Binding", ["create"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "finalize": ("", "v1", "Namespace", ["update"]),
}


def _subresource_kind(found: ResourceType, name: str) -> tuple[str, str, str, list[str]]:
    own = (found.group, found.version, found.kind, ["get", "patch", "update"])
    return _SUBRESOURCE_KINDS.get(name, own)


def _subresource(found: ResourceType, name: str) -> Json:
    group_name, version, kind, verbs = _subresource_kind(found, name)
    made: Json = {
        "name": f"{found.plural}/{name}",
        "singularName": "",
        "namespaced": found.namespaced,
        "kind": kind,
        "verbs": verbs,
    }
    if (group_name, version) != (found.group, found.version):
        made.update(group=group_name, version=version)
    return made


def aggregated(registry: Registry, core: bool) -> Json:
    """`/api` or `/apis` as one APIGroupDiscoveryList (`apidiscovery.k8s.io/v2`)."""
    items = []
    for name, versions in registry.groups().items():
        if (name == "") != core:
            continue
        listed = [
            {
                "version": version,
                "resources": [_aggregated(found) for found in registry.of_version(name, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": {"name": name, "creationTimestamp": None}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{AGGREGATED}/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated(found: ResourceType) -> Json:
    made: Json = {
        "resource": found.plural,
        "responseKind": {"group": found.group, "version": found.version, "kind": found.kind},
        "scope": "Namespaced" if found.namespaced else "Cluster",
        "singularResource": found.singular,
        "verbs": list(found.verbs),
    }
    if found.short_names:
        made["shortNames"] = list(found.short_names)
    if found.categories:
        made["categories"] = list(found.categories)
    subresources = []
    for name in _subresources(found):
        group_name, version, kind, verbs = _subresource_kind(found, name)
        response = {"group": group_name, "version": version, "kind": kind}
        subresources.append({"subresource": name, "responseKind": response, "verbs": verbs})
    if subresources:
        made["subresources"] = subresources
    return made
