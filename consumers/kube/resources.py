"""Which API resources we speak of, and their HTTP paths."""

from dataclasses import dataclass
from typing import Final

from consumers.kube.names import ENI_CONFIG, GROUP, SYSTEM_NAMESPACE, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """One API resource.

    Attributes:
        group: empty for the core group.
        plural: as in the path.
        namespaced: whether its objects live in a namespace.
        only_namespace, only_name: narrow a list and a watch to one namespace or one object.
    """

    group: str
    version: str
    plural: str
    namespaced: bool
    only_namespace: str = ""
    only_name: str = ""

    @property
    def rbac(self) -> str:
        """`<plural>.<group>`, or `<plural>`: how RBAC and kubectl name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection (no name), an object, or its subresource."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [base]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)

    def collection(self) -> tuple[str, dict[str, str]]:
        """Path and parameters that list or watch all of it, narrowed as it says."""
        narrowed = {"fieldSelector": f"metadata.name={self.only_name}"} if self.only_name else {}
        return self.path(self.only_namespace), narrowed


PODS: Final = Resource("", "v1", "pods", namespaced=True)
NODES: Final = Resource("", "v1", "nodes", namespaced=False)
NAMESPACES: Final = Resource("", "v1", "namespaces", namespaced=False)
PODNETWORKINGS: Final = Resource(GROUP, VERSION, "podnetworkings", namespaced=False)
PODENIS: Final = Resource(GROUP, VERSION, "podenis", namespaced=True)
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", namespaced=True)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", namespaced=True)
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", namespaced=True)
SECRETS: Final = Resource("", "v1", "secrets", namespaced=True)
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", namespaced=True)
CRDS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
NETWORK_INTERFACES: Final = Resource(GROUP, VERSION, "networkinterfaces", namespaced=False)
MUTATING_WEBHOOKS: Final = Resource(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False
)
VALIDATING_WEBHOOKS: Final = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False
)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", namespaced=True)
ENI_CONFIG_MAP: Final = Resource(
    "",
    "v1",
    "configmaps",
    namespaced=True,
    only_namespace=SYSTEM_NAMESPACE,
    only_name=ENI_CONFIG,
)
