"""Asks the registered admission webhooks about a write: which, in what order, and what they may change.

Behaviour: Kubernetes "Dynamic Admission Control". CEL `matchConditions` are not evaluated (a webhook with
some is called as though they held). Calls are effects: the shell makes them, a simulator answers them.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from deploy.local.kubernetes.errors import ApiError, Json
from deploy.local.kubernetes.merge import json_patch
from deploy.local.kubernetes.metadata import check_types
from deploy.local.kubernetes.requests import Request, Steps, WebhookCall, WebhookFailure
from deploy.local.kubernetes.selectors import LabelSelector
from deploy.local.kubernetes.sources import Sources
from deploy.local.kubernetes.store import Store

MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
_EXEMPT_GROUP = "admissionregistration.k8s.io"


@dataclass
class Attributes:
    """What is being admitted. `operation` is CREATE, UPDATE or DELETE."""

    request: Request
    operation: str
    name: str
    object: Json | None
    old: Json | None
    warnings: list[str] = field(default_factory=list)


class Admission:
    """The two chains, over the configurations in the store."""

    def __init__(self, store: Store, sources: Sources) -> None:
        self._store = store
        self._sources = sources

    def mutate(self, asked: Attributes) -> Steps[None]:
        """Runs the mutating chain; `asked.object` becomes what they made of it. Denials raise."""
        hooks = list(self._matching(MUTATING, asked))
        called: list[Json] = []
        changed_after: set[int] = set()
        for hook in hooks:
            if not self._still_matches(hook, asked):
                continue
            before = asked.object
            yield from self._call(hook, asked, may_patch=True)
            if asked.object != before:
                changed_after.update(range(len(called)))
            called.append(hook)
        for at in sorted(changed_after):
            hook = called[at]
            if hook.get("reinvocationPolicy") == "IfNeeded" and self._still_matches(hook, asked):
                yield from self._call(hook, asked, may_patch=True)

    def validate(self, asked: Attributes) -> Steps[None]:
        """Runs the validating chain. Denials raise."""
        for hook in list(self._matching(VALIDATING, asked)):
            yield from self._call(hook, asked, may_patch=False)

    def _matching(self, store: str, asked: Attributes) -> Iterator[Json]:
        if asked.request.type.group == _EXEMPT_GROUP:
            return
        for configuration in self._store.select(store):
            for hook in configuration.get("webhooks") or []:
                if _rules_match(hook, asked) and self._still_matches(hook, asked):
                    yield hook

    def _still_matches(self, hook: Json, asked: Attributes) -> bool:
        selector = LabelSelector.from_object(hook.get("objectSelector"))
        versions = [obj for obj in (asked.object, asked.old) if obj is not None]
        if selector.terms and not any(
            selector.matches(obj["metadata"].get("labels")) for obj in versions
        ):
            return False
        namespaces = LabelSelector.from_object(hook.get("namespaceSelector"))
        request = asked.request
        if not namespaces.terms:
            return True
        if request.type.kind == "Namespace" and not request.type.custom:
            return any(namespaces.matches(obj["metadata"].get("labels")) for obj in versions)
        if not request.namespace:
            return True
        found = self._store.get("namespaces", "", request.namespace)
        return found is not None and namespaces.matches(found["metadata"].get("labels"))

    def _call(self, hook: Json, asked: Attributes, may_patch: bool) -> Steps[None]:
        uid = self._sources.uid()
        review = _review(asked, uid, hook)
        timeout = int(hook.get("timeoutSeconds") or 10)
        reply = yield WebhookCall(hook["name"], hook["clientConfig"], review, timeout)
        problem = reply.message if isinstance(reply, WebhookFailure) else _malformed(reply, uid)
        if problem is None and isinstance(reply, dict):
            problem = _take(hook, reply["response"], asked, may_patch)
        if problem is None:
            return
        if hook.get("failurePolicy") == "Ignore":
            return
        raise ApiError(
            500,
            "InternalError",
            f'Internal error occurred: failed calling webhook "{hook["name"]}": {problem}',
            {"causes": [{"message": f'failed calling webhook "{hook["name"]}": {problem}'}]},
        )


def _rules_match(hook: Json, asked: Attributes) -> bool:
    found, request = asked.request.type, asked.request
    resource = f"{found.plural}/{request.subresource}" if request.subresource else found.plural
    for rule in hook.get("rules") or []:
        scope = rule.get("scope", "*")
        wanted_scope = "Namespaced" if found.namespaced else "Cluster"
        if (
            _one_of(asked.operation, rule.get("operations"))
            and _one_of(found.group, rule.get("apiGroups"))
            and _one_of(found.version, rule.get("apiVersions"))
            and any(_resource_matches(resource, given) for given in rule.get("resources") or [])
            and scope in ("*", wanted_scope)
        ):
            return True
    return False


def _one_of(value: str, given: list[str] | None) -> bool:
    return "*" in (given or ()) or value in (given or ())


def _resource_matches(resource: str, pattern: str) -> bool:
    plural, _, sub = resource.partition("/")
    wanted, _, wanted_sub = pattern.partition("/")
    if pattern == "*":
        return not sub
    return wanted in ("*", plural) and wanted_sub in ("*", sub)


def _review(asked: Attributes, uid: str, hook: Json) -> Json:
    found, request = asked.request.type, asked.request
    kind = {"group": found.group, "version": found.version, "kind": found.kind}
    resource = {"group": found.group, "version": found.version, "resource": found.plural}
    versions = hook.get("admissionReviewVersions") or ["v1"]
    body: Json = {
        "uid": uid,
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": asked.name,
        "operation": asked.operation,
        "userInfo": {
            "username": request.user,
            "groups": ["system:masters", "system:authenticated"],
        },
        "object": asked.object,
        "oldObject": asked.old,
        "dryRun": request.dry_run,
        "options": {"kind": f"{asked.operation.title()}Options", "apiVersion": "meta.k8s.io/v1"},
    }
    if request.namespace:
        body["namespace"] = request.namespace
    if request.subresource:
        body["subResource"] = body["requestSubResource"] = request.subresource
    version = "v1" if "v1" in versions else versions[0]
    return {
        "kind": "AdmissionReview",
        "apiVersion": f"admission.k8s.io/{version}",
        "request": {key: value for key, value in body.items() if value != ""},
    }


def _malformed(reply: Any, uid: str) -> str | None:
    """Why a reply is no answer to this review; None when it is one."""
    response = reply.get("response") if isinstance(reply, dict) else None
    if not isinstance(response, dict):
        return "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"
    if response.get("uid") != uid:
        return f'expected response.uid="{uid}", got "{response.get("uid", "")}"'
    return None


def _take(hook: Json, response: Json, asked: Attributes, may_patch: bool) -> str | None:
    """Applies an answer to `asked`; raises a denial, returns why the answer can't be used."""
    asked.warnings += [str(text) for text in response.get("warnings") or []]
    if not response.get("allowed"):
        raise _denial(hook["name"], response.get("status") or {})
    if not response.get("patch"):
        return None
    if not may_patch:
        return "ValidatingAdmissionWebhook webhooks may not patch the object"
    if response.get("patchType") != "JSONPatch":
        return f'unsupported patchType "{response.get("patchType")}": only "JSONPatch" is allowed'
    try:
        patch = msgspec.json.decode(base64.b64decode(response["patch"]))
        patched = json_patch(asked.object, patch)
        check_types(patched)
    except (binascii.Error, msgspec.DecodeError, ApiError, AttributeError) as error:
        return f"the patch can't be applied: {error}"
    asked.object = patched
    return None


def _denial(name: str, status: Json) -> ApiError:
    """The status of the denying webhook, with the server's own prefix on its message."""
    message = f'admission webhook "{name}" denied the request'
    told, reason = status.get("message") or "", status.get("reason") or ""
    if told:
        message += f": {told}"
    elif reason:
        message += f": {reason}"
    else:
        message += " without explanation"
    code = status.get("code") or 403
    code = code if code >= 400 else 400
    error = ApiError(code, reason or "Forbidden", message, status.get("details"))
    if code != 403 and not reason:
        error.body.pop("reason")
    return error
