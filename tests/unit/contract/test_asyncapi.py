"""The published description of the contract is the one the code keeps."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from consumers.contract import asyncapi
from consumers.contract.encode import encode_observed
from consumers.contract.topics import ENTITIES, NAMESPACED, Entity

CHECKED_IN = Path(asyncapi.__file__).with_name("asyncapi.yaml")


def test_it_is_current() -> None:
    assert yaml.safe_load(CHECKED_IN.read_text()) == asyncapi.document(), (
        "run: python -m consumers.contract.asyncapi > consumers/contract/asyncapi.yaml"
    )


def test_every_reference_leads_somewhere() -> None:
    whole = asyncapi.document()
    pending: list[Any] = [whole]
    references = 0
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "$ref" in node:
                target: Any = whole
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
                references += 1
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    assert references > 50


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_we_produce_fits_it(entity: Entity) -> None:
    metadata = {"name": "a", "uid": "u", "resourceVersion": "3", "labels": {"x": "y"}}
    if entity in NAMESPACED:
        metadata["namespace"] = "b"
    encoded = encode_observed("c1", entity, {"metadata": metadata}, epoch=0)
    whole = asyncapi.document()
    message = whole["components"]["messages"][f"{entity}-observed"]
    for part, value in (
        ("payload", msgspec.json.decode(encoded.value)),
        ("headers", {name: raw.decode() for name, raw in encoded.headers}),
    ):
        jsonschema.validate(value, {**message[part], "components": whole["components"]})
