"""What the chart's files of rules and panels hold, and what the golden list knows."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.unit.runtime.test_golden_metrics import GOLDEN, ROW

ROOT = Path(__file__).parents[3]
FILES = ROOT / "deploy" / "helm" / "eni-ledger" / "files"
ALERTS = FILES / "alerts.yaml"
DASHBOARD = FILES / "dashboard.json"
PAGE = ROOT / "deploy" / "howto" / "alerts.md"

METRIC = re.compile(r"\beni_ledger_[a-z0-9_]+")


def rules() -> list[dict[str, Any]]:
    """Every alert, in the file's order."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_queries() -> list[str]:
    """Every query of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def known() -> dict[str, tuple[str, str]]:
    """Golden name -> (type, of what)."""
    found = ROW.findall(GOLDEN.read_text())
    return {name: (kind, of) for name, kind, _labels, of, _what in found}


def plain_name(used: str) -> str:
    """The metric that a series is of: a histogram's parts have names of their own."""
    return used if used in known() else re.sub(r"_(bucket|sum|count)$", "", used)
