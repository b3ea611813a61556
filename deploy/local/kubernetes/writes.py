"""Create, update, patch and delete: the way of a write from the decoded body to the commit.

Each is a generator (`Steps`): it yields the admission webhooks to ask, so that the core itself never waits.
The order is kube-apiserver's: decode and default, mutate, prepare, validate, validating webhooks, commit.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deploy.local.kubernetes import (
    decoding,
    event_versions,
    metadata,
    ownership,
    strategies,
    structural,
)
from deploy.local.kubernetes.admission import Admission, Attributes
from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import (
    MODIFIED,
    Json,
    already_exists,
    bad_request,
    cause,
    conflict,
    forbidden,
    invalid,
    not_found,
    unsupported_media_type,
)
from deploy.local.kubernetes.merge import json_patch, merge_patch, strategic_merge
from deploy.local.kubernetes.ownership import Applied, Writer
from deploy.local.kubernetes.reads import exposed
from deploy.local.kubernetes.registry import Registry
from deploy.local.kubernetes.removal import Removal
from deploy.local.kubernetes.requests import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    PATCH_TYPES,
    STRATEGIC_PATCH,
    Answer,
    Request,
    Steps,
)
from deploy.local.kubernetes.sources import Sources
from deploy.local.kubernetes.store import Store

_ATTEMPTS = 5
_NEEDS_VERSION = frozenset({"leases.coordination.k8s.io"})
Change = Callable[[Json], Json]


class Writes:
    """The writing half of the API."""

    def __init__(self, store: Store, registry: Registry, sources: Sources) -> None:
        self._store = store
        self._registry = registry
        self._sources = sources
        self._admission = Admission(store, sources)
        self.removal = Removal(store, registry, sources)

    # --- create -------------------------------------------------------------------------------

    def create(self, request: Request, applied: Applied | None = None) -> Steps[Answer]:
        """POST, and the creating half of an apply: 201 with the object."""
        self._require_namespace(request)
        obj = metadata.decode(request)
        warnings = self._complete(obj, request)
        metadata.for_create(obj, request, self._sources)
        name = obj["metadata"]["name"]
        if self._store.get(request.type.store, request.namespace, name) is not None:
            raise already_exists(request.type.group, request.type.plural, name)
        asked = Attributes(request, "CREATE", name, exposed(obj, request.type), None, warnings)
        yield from self._admission.mutate(asked)
        obj = self._stored_form(asked, request)
        strategies.prepare_create(obj, request.type, self._sources.stamp())
        self._validate(obj, request.type)
        asked.object = exposed(obj, request.type)
        yield from self._admission.validate(asked)
        self._require_namespace(request)
        if self._store.get(request.type.store, request.namespace, name) is not None:
            raise already_exists(request.type.group, request.type.plural, name)
        self._record_owner(obj, None, request, applied)
        metadata.tidy(obj)
        if not request.dry_run:
            obj = self._store.put(request.type.store, request.namespace, name, obj)
        return Answer(exposed(obj, request.type), 201, tuple(asked.warnings))

    def _require_namespace(self, request: Request) -> None:
        if not request.type.namespaced:
            return
        found = self._store.get("namespaces", "", request.namespace)
        if found is None:
            raise not_found("", "namespaces", request.namespace)
        if "deletionTimestamp" in found["metadata"]:
            body = request.body if isinstance(request.body, dict) else {}
            name = request.name or (body.get("metadata") or {}).get("name", "")
            why = (
                f"unable to create new content in namespace {request.namespace} because it is "
                "being terminated"
            )
            causes = [cause("NamespaceTerminating", "metadata.namespace",
                            f"namespace {request.namespace} is being terminated")]  # fmt: skip
            raise forbidden(request.type.group, request.type.plural, name, why, causes=causes)

    def _complete(self, obj: Json, request: Request) -> list[str]:
        """Prunes and defaults in place; returns warnings about unknown fields (400 when Strict)."""
        found = request.type
        if not found.custom:
            cleaned = decoding.drop_nulls(obj)
            obj.clear()
            obj.update(cleaned)
        told = _prune(obj, request)
        if found.custom:
            structural.default(obj, found.schema or {})
        else:
            struct = decoding.struct_of(found)
            if struct:
                decoding.check(obj, found, struct)
            strategies.complete(obj, found)
        return told

    def _stored_form(self, asked: Attributes, request: Request) -> Json:
        """What mutating webhooks left, completed again and in the stored version."""
        obj = copy.deepcopy(asked.object) or {}
        self._complete(obj, replace(request, options={"fieldValidation": "Ignore"}))
        if request.type.group == "events.k8s.io":
            obj = event_versions.to_core(obj)
        return obj

    def _validate(self, obj: Json, found: ResourceType) -> None:
        if found.custom and found.schema:
            causes = structural.violations(obj, found.schema)
            if causes:
                raise invalid(found.group, found.kind, obj["metadata"]["name"], causes)

    def _record_owner(
        self, obj: Json, live: Json | None, request: Request, applied: Applied | None
    ) -> None:
        if applied is not None:
            ownership.finish_apply(obj, applied)
        else:
            ownership.record_update(obj, live, request.type, self._writer(request))

    def _writer(self, request: Request) -> Writer:
        return Writer(
            request.manager, request.subresource, request.type.api_version, self._sources.stamp()
        )

    # --- update and patch ---------------------------------------------------------------------

    def update(self, request: Request) -> Steps[Answer]:
        """PUT of the object or its status."""
        wanted = metadata.decode(request)
        given = wanted["metadata"].get("resourceVersion")
        if not given and (request.type.custom or request.type.store in _NEEDS_VERSION):
            text = "Invalid value: 0: must be specified for an update"
            line = cause("FieldValueInvalid", "metadata.resourceVersion", text)
            raise invalid(request.type.group, request.type.kind, request.name, [line])
        return (yield from self._modify(request, lambda _live: copy.deepcopy(wanted), bool(given)))

    def patch(self, request: Request) -> Steps[Answer]:
        """PATCH in one of the four formats; an apply creates what is missing."""
        if request.patch_type not in PATCH_TYPES:
            raise unsupported_media_type(request.patch_type, list(PATCH_TYPES))
        if request.patch_type == STRATEGIC_PATCH and request.type.custom:
            raise unsupported_media_type(request.patch_type, [JSON_PATCH, MERGE_PATCH, APPLY_PATCH])
        if request.patch_type == APPLY_PATCH:
            return (yield from self._apply(request))
        body = request.body if isinstance(request.body, dict) else {}
        given = isinstance(body.get("metadata"), dict) and body["metadata"].get("resourceVersion")
        return (
            yield from self._modify(request, lambda live: self._patched(live, request), bool(given))
        )

    def _patched(self, live: Json, request: Request) -> Json:
        shown = exposed(live, request.type)
        if request.patch_type == JSON_PATCH:
            wanted: Any = json_patch(shown, request.body)
        elif not isinstance(request.body, dict):
            raise bad_request("a merge patch is an object")
        elif request.patch_type == MERGE_PATCH:
            wanted = merge_patch(shown, request.body)
        else:
            wanted = strategic_merge(shown, request.body)
        return metadata.decode(request.with_body(wanted))

    def _apply(self, request: Request) -> Steps[Answer]:
        if not request.options.get("fieldManager"):
            line = cause("FieldValueRequired", "fieldManager",
                         "Required value: is required for apply patch")  # fmt: skip
            raise invalid("meta.k8s.io", "PatchOptions", "", [line])
        wanted = metadata.decode(request)
        if wanted["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        given = bool(wanted["metadata"].get("resourceVersion"))
        writer, force = self._writer(request), request.flag("force")
        # Only what was applied is owned: not the defaults, not what is unknown and pruned.
        config = copy.deepcopy(wanted)
        warnings = tuple(_prune(config, request))
        if self._store.get(request.type.store, request.namespace, request.name) is None:
            if request.subresource:
                raise not_found(request.type.group, request.type.plural, request.name)
            made = ownership.apply({}, config, request.type, writer, force)
            answer = yield from self.create(request.with_body(config), made)
            return replace(answer, warnings=(*warnings, *answer.warnings))
        outcome: list[Applied] = []

        def change(now: Json) -> Json:
            outcome[:] = [ownership.apply(now, config, request.type, writer, force)]
            return copy.deepcopy(outcome[0].object)

        answer = yield from self._modify(request, change, given, outcome)
        return replace(answer, warnings=(*warnings, *answer.warnings))

    def _modify(
        self,
        request: Request,
        change: Change,
        conditional: bool,
        applied: list[Applied] | None = None,
    ) -> Steps[Answer]:
        """Read, change, admit, commit; starts over where somebody was faster and nobody minds."""
        found = request.type
        for _ in range(_ATTEMPTS):
            live = self._live(request)
            new = copy.deepcopy(change(live))
            warnings = self._complete(new, request)
            metadata.for_update(new, live, request)
            new = strategies.prepare_update(new, live, found, request.subresource)
            asked = Attributes(
                request, "UPDATE", request.name, exposed(new, found), exposed(live, found), warnings
            )
            yield from self._admission.mutate(asked)
            new = self._stored_form(asked, request)
            metadata.for_update(new, live, request)
            new = strategies.prepare_update(new, live, found, request.subresource)
            strategies.check_update(new, live, found)
            self._validate(new, found)
            asked.object = exposed(new, found)
            yield from self._admission.validate(asked)
            if self._store.get(found.store, request.namespace, request.name) is live:
                return self._commit(request, new, live, asked.warnings, applied)
            if conditional:
                break
        raise conflict(found.group, found.plural, request.name, MODIFIED)

    def _live(self, request: Request) -> Json:
        live = self._store.get(request.type.store, request.namespace, request.name)
        if live is None:
            raise not_found(request.type.group, request.type.plural, request.name)
        return live

    def _commit(
        self,
        request: Request,
        new: Json,
        live: Json,
        warnings: list[str],
        applied: list[Applied] | None,
    ) -> Answer:
        found = request.type
        metadata.bump_generation(new, live, found)
        new["metadata"] = dict(new["metadata"])
        self._record_owner(new, live, request, applied[0] if applied else None)
        metadata.tidy(new)
        if ownership.same_but_times(new, live):
            return Answer(exposed(live, found), 200, tuple(warnings))
        if not request.dry_run:
            new = self._store.put(found.store, request.namespace, request.name, new)
            self.removal.finish(found, new)
        return Answer(exposed(new, found), 200, tuple(warnings))

    # --- delete -------------------------------------------------------------------------------

    def delete(self, request: Request) -> Steps[Answer]:
        """DELETE of one object, by the rules of `removal`."""
        found = request.type
        options = self._delete_options(request)
        live = self._live(request)
        asked = Attributes(request, "DELETE", request.name, None, exposed(live, found))
        yield from self._admission.validate(asked)
        live = self._live(request)
        self._check_preconditions(request, live, options.get("preconditions") or {})
        warnings = tuple(asked.warnings)
        if request.dry_run:
            return Answer(exposed(live, found), 200, warnings)
        rest = self.removal.start(found, live, options)
        if rest is not None or found.store in ("pods", "namespaces", "services"):
            return Answer(exposed(rest or live, found), 200, warnings)
        details = {"name": request.name, "group": found.group, "kind": found.plural,
                   "uid": live["metadata"]["uid"]}  # fmt: skip
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {key: value for key, value in details.items() if value}}  # fmt: skip
        return Answer(body, 200, warnings)

    def _delete_options(self, request: Request) -> Json:
        """The body's DeleteOptions, overridden by the query."""
        if request.body is not None and not isinstance(request.body, dict):
            raise bad_request("the body of a delete must be DeleteOptions")
        options: Json = dict(request.body or {})
        grace = request.options.get("gracePeriodSeconds")
        if grace not in (None, ""):
            try:
                options["gracePeriodSeconds"] = int(str(grace))
            except ValueError:
                raise bad_request(f"gracePeriodSeconds: {grace!r} is not a number") from None
        if policy := request.options.get("propagationPolicy"):
            options["propagationPolicy"] = policy
        policy = options.get("propagationPolicy")
        if policy not in (None, "", "Orphan", "Background", "Foreground"):
            raise bad_request(
                f"propagationPolicy: {policy!r} is none of Foreground, Background, Orphan"
            )
        return options

    def _check_preconditions(self, request: Request, live: Json, wanted: Json) -> None:
        names = (("uid", "UID"), ("resourceVersion", "ResourceVersion"))
        for field, shown in names:
            if wanted.get(field) and wanted[field] != live["metadata"][field]:
                why = (
                    f"Precondition failed: {shown} in precondition: {wanted[field]}, {shown} in "
                    f"object meta: {live['metadata'][field]}"
                )
                raise conflict(request.type.group, request.type.plural, request.name, why)


def _prune(obj: Json, request: Request) -> list[str]:
    """Drops fields the kind does not have, in place; tells of them as `fieldValidation` asks."""
    found = request.type
    struct = decoding.struct_of(found)
    if found.custom:
        unknown = list(structural.prune(obj, found.schema or {}))
    else:
        unknown = list(decoding.unknown_fields(obj, struct)) if struct else []
    told = [f'unknown field "{path}"' for path in unknown]
    mode = request.options.get("fieldValidation") or "Warn"
    if mode == "Strict" and told:
        raise bad_request(
            f'{found.kind} in version "{found.version}" cannot be handled as a {found.kind}: '
            f"strict decoding error: {', '.join(told)}"
        )
    return told if mode == "Warn" else []
