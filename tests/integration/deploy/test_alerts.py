"""The alerts fire when they should, and only then: judged by the genuine promtool."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.deploy.cases import BASE, CASES
from tests.integration.deploy.exposed import answer_of_a_process
from tests.integration.deploy.files import (
    ALERTS,
    METRIC,
    PAGE,
    known,
    panel_queries,
    plain_name,
    rules,
)

# ------------------------------------------------------------------ without a genuine part


def test_every_metric_in_use_is_in_the_golden_list() -> None:
    queries = [rule["expr"] for rule in rules()] + panel_queries()
    used = {plain_name(name) for query in queries for name in METRIC.findall(query)}
    assert used <= set(known())
    # And a figure that nobody looks at is no figure.
    shown = {name for name, (_, of) in known().items() if of == "ledger"}
    assert shown - used <= {
        "eni_ledger_incarnation",
        "eni_ledger_sealed_position",
        "eni_ledger_sweep_enis",
        "eni_ledger_watermark",
        "eni_ledger_work",
        "eni_ledger_cloud_calls_open",
        "eni_ledger_vswitch_held_ips",
        "eni_ledger_cloud_budget_calls_per_second",
        "eni_ledger_cloud_budget_backing_off",
    }


def test_a_figure_of_the_ledger_is_never_summed_over_replicas() -> None:
    """Each of its uses stands directly under a max that keeps the cluster, or all of one cluster."""
    queries = [rule["expr"] for rule in rules()] + panel_queries()
    for query in queries:
        for name in METRIC.findall(query):
            if plain_name(name) in known() and known()[plain_name(name)][1] == "ledger":
                assert re.search(rf"max( by \([^)]*\) ?)? ?\({name}\b", query), query


def test_each_alert_says_what_why_and_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description", "runbook"} == set(rule["annotations"])
        assert rule["annotations"]["runbook"] == f"deploy/howto/alerts.md#{rule['alert'].lower()}"
    sections = PAGE.read_text().split("\n## ")[1:]
    for section in sections:
        for part in ("**What it means.**", "**What is still safe.**", "**What to do first.**"):
            assert part in section, section[:40]
        assert "`eni-ledger " in section or "```sh" in section, section[:40]


def test_each_alert_has_a_case() -> None:
    assert set(CASES) == {rule["alert"] for rule in rules()}


# ------------------------------------------------------------------ promtool


def promtool(folder: Path, *words: str | Path, given: bytes = b"") -> str:
    ended = subprocess.run(
        [folder / "promtool", *words], check=False, input=given, capture_output=True, timeout=300
    )
    told = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 0, told
    return told


@pytest.mark.genuine("promtool")
def test_promtool_accepts_the_rules(prometheus_folder: Path) -> None:
    told = promtool(prometheus_folder, "check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert f"{len(rules())} rules found" in told


@pytest.mark.genuine("promtool")
def test_each_alert_fires_when_it_should_and_only_then(
    prometheus_folder: Path, tmp_path: Path
) -> None:
    """A quiet hour fires nothing; each trouble fires its own alert, and no other."""
    tests = [unit_test("a quiet hour", {}, [], 70)]
    for alert, case in CASES.items():
        tests.append(unit_test(alert, case.series, [alert, *case.beside], case.minutes))
    tests[1] |= {"alert_rule_test": [EXACTLY]}
    file = tmp_path / "alerts_test.yaml"
    content = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert "SUCCESS" in promtool(prometheus_folder, "test", "rules", file)


#: What a person gets to read, once, to the letter.
EXACTLY = {
    "eval_time": "10m",
    "alertname": "EniLedgerPodsWait",
    "exp_alerts": [
        {
            "exp_labels": {"severity": "critical", "cluster": "c1"},
            "exp_annotations": {
                "summary": "3 Pods of c1 have waited for their network for two minutes or longer",
                "description": "The node agent gives up on a Pod after 100 to 120 seconds and tries "
                "again; these do not start. Pods that run keep their network.",
                "runbook": "deploy/howto/alerts.md#eniledgerpodswait",
            },
        }
    ],
}


def unit_test(
    name: str, series: Mapping[str, str], firing: list[str], minutes: int
) -> dict[str, Any]:
    """One promtool test: which alerts fire at that minute, where these series are so."""
    merged = {**BASE, **series}
    return {
        "name": name,
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for name, values in merged.items() if values
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minutes}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(firing)
                ],
            }
        ],
    }


@pytest.mark.genuine("promtool")
@pytest.mark.usefixtures("exposition")
def test_promtool_finds_nothing_to_lint_in_a_real_answer(prometheus_folder: Path) -> None:
    """Of ours: `process_*` is the client library's own."""
    lines = answer_of_a_process().splitlines(keepends=True)
    ours = [line for line in lines if re.match(rb"(# (HELP|TYPE) )?eni_ledger_", line)]
    assert len(ours) > 200
    assert promtool(prometheus_folder, "check", "metrics", given=b"".join(ours)).strip() == ""
