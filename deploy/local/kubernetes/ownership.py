"""Server-side apply: who owns which field, what an apply changes, and when it conflicts.

Semantics: Kubernetes "Server-Side Apply"; messages as k8s.io/apimachinery `managedfields` prints them.
"""

import copy
from dataclasses import dataclass
from typing import Any

from deploy.local.kubernetes import fieldset
from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import ApiError, Json
from deploy.local.kubernetes.fieldset import Paths
from deploy.local.kubernetes.shapes import shape_of


@dataclass(frozen=True)
class Writer:
    """Under which name a write is recorded."""

    manager: str
    subresource: str
    api_version: str
    now: str


_Owner = tuple[str, str, str, str]
"""(manager, operation, apiVersion, subresource)"""


def _entries(obj: Json) -> dict[_Owner, tuple[Paths, str]]:
    found = {}
    for entry in obj.get("metadata", {}).get("managedFields") or []:
        owner = (entry.get("manager", ""), entry.get("operation", ""),
                 entry.get("apiVersion", ""), entry.get("subresource", ""))  # fmt: skip
        paths = fieldset.from_fields_v1(entry.get("fieldsV1") or {})
        found[owner] = (paths, entry.get("time", ""))
    return found


def _write(obj: Json, entries: dict[_Owner, tuple[Paths, str]]) -> None:
    listed = []
    for (manager, operation, version, subresource), (paths, time) in entries.items():
        if not paths:
            continue
        entry = {
            "manager": manager,
            "operation": operation,
            "apiVersion": version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fieldset.to_fields_v1(paths),
        }
        if subresource:
            entry["subresource"] = subresource
        listed.append(entry)
    listed.sort(key=lambda e: (e["operation"] != "Apply", e["time"], e["manager"]))
    if listed:
        obj["metadata"]["managedFields"] = listed
    else:
        obj["metadata"].pop("managedFields", None)


def record_update(new: Json, live: Json | None, found: ResourceType, writer: Writer) -> None:
    """Gives the fields that a create, update or patch changed to its manager, in place."""
    shape = shape_of(found)
    if live is not None and new["metadata"].get("managedFields") == []:
        entries: dict[_Owner, tuple[Paths, str]] = {}
    else:
        entries = _entries(live) if live is not None else {}
    before = fieldset.leaves(live, shape) if live is not None else {}
    after = fieldset.leaves(new, shape)
    written = frozenset(p for p, value in after.items() if p not in before or before[p] != value)
    lost = frozenset(before) - frozenset(after)
    if live is None:
        written = _writable(written, found, writer.subresource)
    if not written and not lost:
        _write(new, entries)
        return
    mine = (writer.manager, "Update", writer.api_version, writer.subresource)
    changed = frozenset(p for p in written if p in before) | lost
    entries = {owner: (paths - changed, time) for owner, (paths, time) in entries.items()}
    owned, _ = entries.get(mine, (frozenset(), ""))
    entries[mine] = (owned | written, writer.now)
    _write(new, entries)


def _writable(paths: Paths, found: ResourceType, subresource: str) -> Paths:
    """Without the status that the main endpoint of a kind with a status subresource ignores."""
    if subresource or not found.status:
        return paths
    return frozenset(p for p in paths if p[0] != "f:status")


@dataclass(frozen=True)
class Applied:
    """The outcome of an apply: the object, and the sets to record once it is final."""

    object: Json
    entries: dict[_Owner, tuple[Paths, str]]


def apply(live: Json, wanted: Json, found: ResourceType, writer: Writer, force: bool) -> Applied:
    """Merges an applied configuration into `live` ({} on create); 409 lists every conflict."""
    shape = shape_of(found)
    config = copy.deepcopy(wanted)
    config.get("metadata", {}).pop("managedFields", None)
    if writer.subresource == "status":
        config = {
            k: v for k, v in config.items() if k in ("apiVersion", "kind", "metadata", "status")
        }
        config["metadata"] = {}
    elif found.status:
        config.pop("status", None)
    entries = _entries(live)
    mine = (writer.manager, "Apply", writer.api_version, writer.subresource)
    last, _ = entries.pop(mine, (frozenset(), ""))
    asked = frozenset(fieldset.leaves(config, shape))
    merged = fieldset.merge(live, config, shape) if live else config
    before_and_after = fieldset.leaves(live, shape), fieldset.leaves(merged, shape)
    entries = _settle(before_and_after, asked, entries, force)
    kept = asked.union(*(paths for paths, _ in entries.values()))
    merged = fieldset.without(merged, last - asked, kept, shape)
    before = dict(_entries(live)).get(mine)
    unchanged = before is not None and before[0] == asked
    entries[mine] = (asked, before[1] if unchanged and before else writer.now)
    return Applied(merged, entries)


def _settle(
    before_and_after: tuple[dict[fieldset.Path, Any], dict[fieldset.Path, Any]],
    asked: Paths,
    entries: dict[_Owner, tuple[Paths, str]],
    force: bool,
) -> dict[_Owner, tuple[Paths, str]]:
    """Finds the conflicts; raises them, or takes the fields away from the others when forced."""
    before, after = before_and_after
    changed = frozenset(p for p in asked if before.get(p) != after.get(p))
    clashes = {owner: paths & changed for owner, (paths, _) in entries.items() if paths & changed}
    if clashes and not force:
        raise _conflict(clashes, entries)
    return {
        owner: (paths - clashes.get(owner, frozenset()), time)
        for owner, (paths, time) in entries.items()
    }


def _conflict(clashes: dict[_Owner, Paths], entries: dict[_Owner, tuple[Paths, str]]) -> ApiError:
    causes: list[Json] = []
    texts = []
    for owner, paths in sorted(clashes.items()):
        name = _describe(owner, entries[owner][1])
        fields = sorted(fieldset.text(path) for path in paths)
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {name}", "field": field}
            for field in fields
        ]
        if len(fields) == 1:
            texts.append(f"conflict with {name}: {fields[0]}")
        else:
            texts.append(f"conflicts with {name}:\n" + "\n".join(f"- {field}" for field in fields))
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    message = f"Apply failed with {count}: " + "\n".join(texts)
    return ApiError(409, "Conflict", message, {"causes": causes})


def _describe(owner: _Owner, time: str) -> str:
    manager, operation, version, subresource = owner
    name = f'"{manager}"' + (f' with subresource "{subresource}"' if subresource else "")
    if operation == "Update":
        name += f" using {version}" + (f" at {time}" if time else "")
    return name


def finish_apply(new: Json, applied: Applied) -> None:
    """Writes the managed fields of an apply into the final object, in place."""
    _write(new, applied.entries)


def same_but_times(new: Json, live: Json) -> bool:
    """Whether nothing but the times in managedFields differs: such a write is not committed."""
    return bool(_timeless(new) == _timeless(live))


def _timeless(obj: Json) -> Any:
    metadata = dict(obj["metadata"])
    metadata["managedFields"] = [
        {k: v for k, v in entry.items() if k != "time"}
        for entry in metadata.get("managedFields") or []
    ]
    return {**obj, "metadata": metadata}
