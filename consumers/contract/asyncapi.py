"""The contract as an AsyncAPI 3 document, generated from the models so that it can't drift from
them.

`python -m consumers.contract.asyncapi > consumers/contract/asyncapi.yaml` writes it anew; a unit
test compares.
"""

import sys
from typing import Any, Final

import yaml
from pydantic import BaseModel

from consumers.contract.entries import EntryData
from consumers.contract.events import HeartbeatData, ListedData
from consumers.contract.objects import MODELS
from consumers.contract.topics import (
    ACTIONS,
    ENTITIES,
    ENTRY_TYPE,
    NAMESPACED,
    Action,
    Entity,
    dead_letter_topic,
    entity_topic,
    entries_topic,
    event_type,
)

_SCHEMAS: Final = "#/components/schemas/"
_WHAT: Final[dict[Action, str]] = {
    "observed": "The object as it is at this resourceVersion.",
    "deleted": "The last state of a deleted object, at the resourceVersion of the delete.",
    "listed": "One key range of a list: objects known in it, older than it and not in it, are gone.",
    "heartbeat": "Everything of this entity up to this resourceVersion was produced before.",
}


def document() -> dict[str, Any]:
    """The whole document, with topic names of the default prefix."""
    schemas: dict[str, Any] = {}
    data = {entity: _schema(schemas, MODELS[entity]) for entity in ENTITIES}
    listed, heartbeat = _schema(schemas, ListedData), _schema(schemas, HeartbeatData)
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for entity in ENTITIES:
        for action in ACTIONS:
            payload = {"listed": listed, "heartbeat": heartbeat}.get(action, data[entity])
            messages[_name(entity, action)] = _message(entity, action, payload)
        channels[entity] = {
            "address": entity_topic(entity),
            "description": f"Dead letters go to {dead_letter_topic(entity_topic(entity))}.",
            "messages": {
                action: {"$ref": f"#/components/messages/{_name(entity, action)}"}
                for action in ACTIONS
            },
        }
    messages[_ENTRY] = _entry_message(_schema(schemas, EntryData))
    channels["entries"] = {
        "address": entries_topic(),
        "description": "One partition: the order of the ledger's feed.",
        "messages": {"recorded": {"$ref": f"#/components/messages/{_ENTRY}"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "eni-ledger events",
            "version": "1",
            "license": {"name": "Apache-2.0"},
            "description": "What crosses Kafka: CloudEvents 1.0 in binary mode (README.md beside this file).",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"consume-{entity}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{entity}"},
                "summary": f"The ledger's intake reads {entity} messages; any producer may write them.",
            }
            for entity in ENTITIES
        }
        | {
            "publish-entries": {
                "action": "send",
                "channel": {"$ref": "#/channels/entries"},
                "summary": "The ledger's intake publishes every entry, at least once, without gaps.",
            }
        },
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


_ENTRY: Final = "entry-recorded"


def _entry_message(payload: dict[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "minLength": 1, "maxLength": 256},
        "ce_source": {"type": "string", "pattern": "^/clusters/[A-Za-z0-9._-]{1,128}$"},
        "ce_type": {"const": ENTRY_TYPE},
        "ce_position": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
        "ce_incarnation": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
        "ce_subject": {
            "type": "string",
            "description": "<namespace>/<pod>; absent where the entry is about no Pod",
        },
        "ce_time": {"type": "string", "format": "date-time"},
    }
    required = [name for name in attributes if name != "ce_subject"]
    return {
        "name": ENTRY_TYPE,
        "summary": "One entry of the ledger. Within an incarnation positions have no gap.",
        "headers": {"type": "object", "properties": attributes, "required": required},
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "<cluster>/<namespace>/<pod> or <cluster>"}
            }
        },
    }


def _name(entity: Entity, action: Action) -> str:
    return f"{entity}-{action}"


def _message(entity: Entity, action: Action, payload: dict[str, Any]) -> dict[str, Any]:
    about_one = action in ("observed", "deleted")
    subject = "<namespace>/<name>" if entity in NAMESPACED else "<name>"
    attributes: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "minLength": 1, "maxLength": 256},
        "ce_source": {"type": "string", "pattern": "^/clusters/[A-Za-z0-9._-]{1,128}$"},
        "ce_type": {"const": event_type(entity, action)},
        "ce_resourceversion": {"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"},
        "ce_epoch": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$", "default": "0"},
        "ce_time": {"type": "string", "format": "date-time"},
    }
    required = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_resourceversion"]
    if about_one:
        attributes["ce_subject"] = {"type": "string", "description": subject}
        required.append("ce_subject")
    return {
        "name": event_type(entity, action),
        "summary": _WHAT[action],
        "headers": {"type": "object", "properties": attributes, "required": required},
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {
                    "type": "string",
                    "description": f"<cluster>/{subject}" if about_one else "<cluster>",
                }
            }
        },
    }


def _schema(schemas: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Add the model's schema and those it uses to `schemas`; returns the reference to it."""
    schema = model.model_json_schema(by_alias=True, ref_template=_SCHEMAS + "{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"$ref": _SCHEMAS + model.__name__}


def text() -> str:
    """The document as YAML, as it is checked in."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=100)


if __name__ == "__main__":
    sys.stdout.write("# Generated: python -m consumers.contract.asyncapi\n" + text())
