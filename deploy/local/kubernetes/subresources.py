"""The subresources with a shape of their own: binding, eviction, scale, finalize; and the review APIs."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import (
    Json,
    bad_request,
    conflict,
    method_not_allowed,
    not_found,
    unknown_path,
)
from deploy.local.kubernetes.requests import APPLY_PATCH, MERGE_PATCH, Answer, Request, Steps
from deploy.local.kubernetes.sources import Sources
from deploy.local.kubernetes.store import Store
from deploy.local.kubernetes.writes import Writes

_SUCCESS: Json = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}


class Subresources:
    """Answers for what is neither the object nor its status."""

    def __init__(
        self, store: Store, writes: Writes, sources: Sources, tokens: Mapping[str, str]
    ) -> None:
        self._store = store
        self._writes = writes
        self._sources = sources
        self._tokens = tokens

    def serve(self, request: Request) -> Steps[Answer]:
        """Dispatches by subresource."""
        match request.subresource:
            case "binding" if request.verb == "create":
                return self._bind(request)
                yield  # pragma: no cover - makes this a generator
            case "eviction" if request.verb == "create":
                return (yield from self._evict(request))
            case "scale":
                return (yield from self._scale(request))
            case "finalize" if request.verb == "update":
                return Answer(self._live(request))
        raise method_not_allowed(request.type.group, request.type.plural, request.verb)

    def _live(self, request: Request) -> Json:
        live = self._store.get(request.type.store, request.namespace, request.name)
        if live is None:
            raise not_found(request.type.group, request.type.plural, request.name)
        return live

    def _bind(self, request: Request) -> Answer:
        """`pods/binding`: what a scheduler does."""
        body = request.body if isinstance(request.body, dict) else {}
        node = (body.get("target") or {}).get("name")
        if not node:
            raise bad_request("Binding: target.name is required: the node to bind the Pod to")
        live = self._live(request)
        if "deletionTimestamp" in live["metadata"]:
            why = f"pod {request.name} is being deleted, cannot be assigned to a host"
            raise conflict("", "pods/binding", request.name, why)
        given = live.get("spec", {}).get("nodeName")
        if given:
            why = f'pod {request.name} is already assigned to node "{given}"'
            raise conflict("", "pods/binding", request.name, why)
        bound = copy.deepcopy(live)
        bound["spec"]["nodeName"] = node
        bound["metadata"].setdefault("annotations", {}).update(
            (body.get("metadata") or {}).get("annotations") or {}
        )
        if not bound["metadata"]["annotations"]:
            del bound["metadata"]["annotations"]
        conditions = bound.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c.get("type") != "PodScheduled"]
        conditions.append(
            {"type": "PodScheduled", "status": "True", "lastProbeTime": None,
             "lastTransitionTime": self._sources.stamp()}
        )  # fmt: skip
        if not request.dry_run:
            self._store.put("pods", request.namespace, request.name, bound)
        return Answer(_SUCCESS, 201)

    def _evict(self, request: Request) -> Steps[Answer]:
        """`pods/eviction`: a delete; disruption budgets are not simulated."""
        body = request.body if isinstance(request.body, dict) else {}
        deletion = replace(
            request, verb="delete", subresource="", body=body.get("deleteOptions"), options={}
        )
        yield from self._writes.delete(deletion)
        return Answer(_SUCCESS, 201)

    def _scale(self, request: Request) -> Steps[Answer]:
        """`…/scale` of a workload as `autoscaling/v1 Scale`."""
        if not request.type.scale or request.type.custom:
            raise unknown_path()
        live = self._live(request)
        if request.verb == "get":
            return Answer(_scale_of(live, request.type))
        body = request.body
        if request.verb not in ("update", "patch") or not isinstance(body, dict):
            raise bad_request("a scale is updated by PUT or by a merge patch")
        replicas = (body.get("spec") or {}).get("replicas")
        if not isinstance(replicas, int) or replicas < 0:
            raise bad_request(f"spec.replicas must be a whole number ≥ 0, not {replicas!r}")
        if request.patch_type == APPLY_PATCH:
            raise bad_request("server-side apply of a scale is not simulated: use a merge patch")
        version = (body.get("metadata") or {}).get("resourceVersion")
        patch: Json = {"spec": {"replicas": replicas}}
        if version:
            patch["metadata"] = {"resourceVersion": version}
        asked = replace(request, verb="patch", subresource="", body=patch, patch_type=MERGE_PATCH)
        answer = yield from self._writes.patch(asked)
        return Answer(_scale_of(answer.body, request.type), 200, answer.warnings)

    def review(self, request: Request) -> Answer:
        """Token and access reviews: a known token is its user, a known user may do everything."""
        body: Json = copy.deepcopy(request.body) if isinstance(request.body, dict) else {}
        body.update(kind=request.type.kind, apiVersion=request.type.api_version)
        body.setdefault("metadata", {"creationTimestamp": None})
        spec: dict[str, Any] = body.get("spec") or {}
        match request.type.kind:
            case "TokenReview":
                user = self._tokens.get(str(spec.get("token", "")))
                body["status"] = {"user": {}} if user is None else {
                    "authenticated": True,
                    "user": {"username": user, "groups": ["system:authenticated"]},
                    "audiences": spec.get("audiences") or ["https://kubernetes.default.svc"],
                }  # fmt: skip
            case "SubjectAccessReview":
                known = spec.get("user") in self._tokens.values()
                body["status"] = {"allowed": known}
            case "SelfSubjectAccessReview":
                body["status"] = {"allowed": True}
            case _:
                groups = ["system:masters", "system:authenticated"]
                body["status"] = {"userInfo": {"username": request.user, "groups": groups}}
        return Answer(body, 201)


def _scale_of(obj: Json, found: ResourceType) -> Json:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{k}={v}" for k, v in sorted(selector.items())),
        },
    }
