"""The demonstration plays to its end by itself, and says so with its exit code; and the READMEs
show it as it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.stack.options import StackFiles

pytestmark = pytest.mark.timeout(400)

READMES = [Path(__file__).parents[3] / name for name in ("README.md", "README.zh-CN.md")]
#: What differs from run to run -> the same.
OF_THE_RUN = {
    r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "UUID",
    r"\beni-bp[0-9a-z]+": "ENI",
    r"\b00(:[0-9a-f]{2}){5}\b": "MAC",
    r"\b(local|plain-web)-[0-9a-z-]+": r"\1",
    r"\S*/deploy/local/demo/": "",
    r"\d+": "0",
    r"\s+": " ",
    r"─+": "─",
}


def of_any_run(line: str) -> str:
    for pattern, same in OF_THE_RUN.items():
        line = re.sub(pattern, same, line)
    return line.strip()


def test_what_differs_from_run_to_run_is_not_all() -> None:
    """The comparison below can fail: lines that say something else stay different."""
    assert of_any_run("  ✓ done in 41 s") == of_any_run("  ✓ done in 39 s")
    assert of_any_run("  ✓ done in 41 s") != of_any_run("  ✓ nothing is left running")


def test_the_demonstration_succeeds_and_leaves_nothing(stack_directory: Path) -> None:
    directory = stack_directory / "demo"
    played = subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", "demo", "--state-dir", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=350,
    )
    assert played.returncode == 0, played.stdout[-4000:] + played.stderr[-2000:]
    assert "same zone, same IP, same ENI" in played.stdout
    assert "nothing is left running" in played.stdout
    assert not StackFiles(directory).state.exists()
    lines = [of_any_run(line) for line in played.stdout.splitlines()]
    for readme in READMES:
        [shown] = re.findall(
            r"^```text\n(── .*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL
        )
        rest = iter(lines)
        for line in filter(str.strip, shown.splitlines()):
            if line.strip() != "…":
                assert of_any_run(line) in rest, f"{readme.name}: not so, or not here: {line}"
