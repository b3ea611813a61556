"""Which resources exist: the built-in ones, and what one needs to know about each.

Names, short names and scopes as `kubectl api-resources` of Kubernetes 1.36 prints them. Kinds marked
only "stored" have no behaviour here: their controllers and enforcement are not simulated.
"""

from dataclasses import dataclass, field

from deploy.local.kubernetes.errors import Json

ALL_VERBS = (
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
)  # fmt: skip
_COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True)
class ResourceType:
    """One served resource: a (group, version, plural) and how it behaves."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    scale: bool = False
    more_subresources: tuple[str, ...] = ()
    generation: bool = False
    verbs: tuple[str, ...] = ALL_VERBS
    fields: frozenset[str] = _COMMON_FIELDS
    schema: Json | None = field(default=None, hash=False, compare=False)
    columns: tuple[Json, ...] = field(default=(), hash=False, compare=False)
    custom: bool = False

    @property
    def api_version(self) -> str:
        """`v1` or `group/version`, as written in objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def store(self) -> str:
        """Where its objects are kept: versions of one resource, and both Event APIs, share it."""
        return "events" if self.kind == "Event" else f"{self.plural}.{self.group}".rstrip(".")

    @property
    def list_kind(self) -> str:
        """The kind of a list of these."""
        return f"{self.kind}List"


def _fields(*names: str) -> frozenset[str]:
    return _COMMON_FIELDS | frozenset(names)


def _type(
    group: str, version: str, plural: str, kind: str, namespaced: bool = True, **more: object
) -> ResourceType:
    singular = kind.lower()
    return ResourceType(group, version, plural, kind, namespaced, singular, **more)  # type: ignore[arg-type]


_EVENT_FIELDS = _fields(
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "source", "type",
)  # fmt: skip
_NEW_EVENT_FIELDS = _fields(
    "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid",
    "reason", "reportingController", "type",
)  # fmt: skip

_RBAC = "rbac.authorization.k8s.io"
_WEBHOOKS = "admissionregistration.k8s.io"

BUILT_IN: tuple[ResourceType, ...] = (
    _type("", "v1", "pods", "Pod", short_names=("po",), categories=("all",), status=True,
          more_subresources=("binding", "eviction"), generation=True,
          fields=_fields("spec.nodeName", "spec.restartPolicy", "spec.schedulerName",
                         "spec.serviceAccountName", "spec.hostNetwork", "status.phase",
                         "status.podIP", "status.nominatedNodeName")),
    _type("", "v1", "nodes", "Node", False, short_names=("no",), status=True,
          fields=_fields("spec.unschedulable")),
    _type("", "v1", "namespaces", "Namespace", False, short_names=("ns",), status=True,
          more_subresources=("finalize",), fields=_fields("status.phase")),
    _type("", "v1", "configmaps", "ConfigMap", short_names=("cm",)),
    _type("", "v1", "secrets", "Secret", fields=_fields("type")),
    _type("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",)),
    _type("", "v1", "services", "Service", short_names=("svc",), categories=("all",), status=True,
          fields=_fields("spec.clusterIP", "spec.type")),
    _type("", "v1", "endpoints", "Endpoints", short_names=("ep",)),
    _type("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",),
          status=True),
    _type("", "v1", "events", "Event", short_names=("ev",), fields=_EVENT_FIELDS),
    _type("events.k8s.io", "v1", "events", "Event", short_names=("ev",), fields=_NEW_EVENT_FIELDS),
    _type("apps", "v1", "statefulsets", "StatefulSet", short_names=("sts",), categories=("all",),
          status=True, scale=True, generation=True),
    _type("apps", "v1", "deployments", "Deployment", short_names=("deploy",), categories=("all",),
          status=True, scale=True, generation=True),
    _type("apps", "v1", "replicasets", "ReplicaSet", short_names=("rs",), categories=("all",),
          status=True, scale=True, generation=True,
          fields=_fields("status.replicas")),
    _type("apps", "v1", "daemonsets", "DaemonSet", short_names=("ds",), categories=("all",),
          status=True, generation=True),
    _type("apps", "v1", "controllerrevisions", "ControllerRevision"),
    _type("batch", "v1", "jobs", "Job", categories=("all",), status=True, generation=True),
    _type("coordination.k8s.io", "v1", "leases", "Lease"),
    _type("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short_names=("pdb",),
          status=True, generation=True),
    _type("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short_names=("netpol",),
          generation=True),
    _type("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False,
          short_names=("pc",)),
    _type(_RBAC, "v1", "roles", "Role"),
    _type(_RBAC, "v1", "rolebindings", "RoleBinding"),
    _type(_RBAC, "v1", "clusterroles", "ClusterRole", False),
    _type(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    _type("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
          False, short_names=("crd", "crds"), categories=("api-extensions",), status=True,
          generation=True),
    _type(_WEBHOOKS, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False,
          categories=("api-extensions",), generation=True),
    _type(_WEBHOOKS, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration",
          False, categories=("api-extensions",), generation=True),
    _type("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", False, verbs=("create",)),
    _type("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False,
          verbs=("create",)),
    _type("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False,
          verbs=("create",)),
    _type("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
          False, verbs=("create",)),
)  # fmt: skip


def custom_types(crd: Json) -> list[ResourceType]:
    """The resource types one CustomResourceDefinition serves: one per served version."""
    spec = crd["spec"]
    names = spec["names"]
    found = []
    for version in spec.get("versions") or []:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        selectable = [f["jsonPath"].lstrip(".") for f in version.get("selectableFields") or []]
        found.append(
            ResourceType(
                group=spec["group"],
                version=version["name"],
                plural=names["plural"],
                kind=names["kind"],
                namespaced=spec["scope"] == "Namespaced",
                singular=names.get("singular") or names["kind"].lower(),
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                status="status" in subresources,
                scale="scale" in subresources,
                generation=True,
                fields=_fields(*selectable),
                schema=(version.get("schema") or {}).get("openAPIV3Schema"),
                columns=tuple(version.get("additionalPrinterColumns") or ()),
                custom=True,
            )
        )
    return found
