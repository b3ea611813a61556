"""The demonstration plays to its end by itself, and says so with its exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.stack.options import StackFiles

pytestmark = pytest.mark.timeout(400)


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
