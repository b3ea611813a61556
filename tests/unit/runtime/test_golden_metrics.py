"""Which metrics there are is a contract: dashboards and alerts of other people rely on the names.

`deploy/grafana/metrics.md` is the golden list. To renew it after a change that is meant:
`.venv/bin/python tests/unit/runtime/test_golden_metrics.py`.
"""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import consumers
from consumers.runtime import metrics

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "deploy" / "grafana" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (\w+) \| (.*) \|$", re.MULTILINE)


def table() -> str:
    """What every module of the processes declares, as the golden list has it."""
    for module in pkgutil.walk_packages(consumers.__path__, "consumers."):
        importlib.import_module(module.name)
    return "".join(
        f"| `{each.name}` | {each.type} | {', '.join(each.labels)} | {each.of} | {each.what} |\n"
        for _, each in sorted(metrics.DECLARED.items())
    )


def test_the_golden_list_is_what_the_processes_declare() -> None:
    """In a process of its own: other tests declare metrics too."""
    told = subprocess.run(
        [sys.executable, __file__, "--print"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    declared = ROW.findall(told.stdout)
    assert len(declared) > 40
    assert declared == ROW.findall(GOLDEN.read_text()), f"renew it as {__file__} says"


def test_every_name_follows_prometheus_conventions() -> None:
    for name, kind, labels, _of, what in ROW.findall(GOLDEN.read_text()):
        assert re.fullmatch(r"eni_ledger_[a-z][a-z0-9_]*", name)
        assert (kind == "counter") == name.endswith("_total")
        assert kind != "histogram" or name.endswith("_seconds")
        assert not re.search(r"_(ms|milliseconds|minutes|percent|count|sum|bucket)$", name)
        assert re.match(r"[A-Z0-9]", what)
        assert not set(labels.split(", ")) & {"pod", "namespace", "eni", "ip", "node", "uid"}


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(table(), end="")
    else:
        text = GOLDEN.read_text()
        head, _, rest = text.partition("|---|---|---|---|---|\n")
        tail = rest[rest.rindex("|\n") + 2 :] if "|\n" in rest else rest
        GOLDEN.write_text(f"{head}|---|---|---|---|---|\n{table()}{tail}")
