"""What of the chart can be judged without helm: its schema, versions and copies are what they are of."""

import json
import re
import textwrap
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from deploy.helm.values_schema import document

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/helm/eni-ledger"
EXAMPLES = sorted((ROOT / "deploy/helm/examples").glob("values-*.yaml"))


def test_the_schema_is_what_the_settings_say_now() -> None:
    written = (CHART / "values.schema.json").read_text()
    anew = "python -m deploy.helm.values_schema > deploy/helm/eni-ledger/values.schema.json"
    assert json.loads(written) == document(), f"write it anew: {anew}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_the_schema(example: Path) -> None:
    jsonschema.validate(yaml.safe_load(example.read_text()), document())


def test_values_on_the_pages_fit_the_schema() -> None:
    page = (ROOT / "deploy/howto/credentials.md").read_text()
    [block] = re.findall(r"^ *```yaml\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    shown = yaml.safe_load(textwrap.dedent(block))
    jsonschema.validate(shown, document() | {"required": []})
    assert shown["credentials"]["type"] == "rrsa"


def test_every_default_is_a_value_that_may_be_set() -> None:
    """Less what has no default."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = document()
    schema["required"] = []
    del schema["properties"]["settings"]["required"]
    jsonschema.validate(defaults, schema)
    assert set(defaults) == set(schema["properties"]) - {"global"}


def test_no_secret_has_a_place_in_the_values() -> None:
    settings = json.dumps(document()["properties"]["settings"])
    assert "writeOnly" not in settings
    assert not [
        name for name in ("dsn", "sasl_password", "access_key", "tokens") if name in settings
    ]


def test_crds_are_copies_of_ours() -> None:
    copies = {path.name: path.read_bytes() for path in (CHART / "crds").iterdir()}
    assert copies == {path.name: path.read_bytes() for path in (ROOT / "deploy/crds").iterdir()}


def test_versions_are_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (package, package)
