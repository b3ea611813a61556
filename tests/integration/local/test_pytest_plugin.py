"""The pytest plugin as its users have it: two wheels in an environment of their own, and a project
of ten lines that tests its own producer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCERS = ROOT / "deploy" / "kafka" / "producers"
UV = ROOT / ".venv" / "tools" / "bin" / "uv"
DEADLINE_S = 400

#: Beside the example: what its author is told when the producer writes what we don't read.
WRONG = """
import subprocess, sys
import pytest

def test_a_wrong_event_is_explained(running_ledger):
    there = running_ledger.kafka, running_ledger.topic("pod"), running_ledger.cluster_id
    pod = open("pod.json", "rb").read()
    command = [sys.executable, "python/produce.py", *there, "seen"]
    subprocess.run(command, input=pod, check=True)
    with pytest.raises(AssertionError, match=r"1 dead letter.*unknown-type.*actions observed"):
        running_ledger.allocation("shop/web-0", deadline_s=5)
"""


def run(*command: str | Path, where: Path) -> str:
    """What the command printed; the test fails with it when it does not end with 0."""
    kept = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=where,
        env=kept | {"PYTHONPATH": "", "VIRTUAL_ENV": ""},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(900)  # a hundred packages are installed anew
def test_others_test_their_producer_in_ten_lines(tmp_path: Path) -> None:
    wheels, python = tmp_path / "wheels", tmp_path / "venv" / "bin" / "python"
    for product in (ROOT, ROOT / "deploy"):
        run(UV, "build", "--wheel", "--out-dir", wheels, product, where=tmp_path)
    locked = run(UV, "export", "--frozen", "--no-emit-project", "--no-hashes", where=ROOT)
    (tmp_path / "locked.txt").write_text(locked)
    run(UV, "venv", "--python", ROOT / ".venv/bin/python", tmp_path / "venv", where=tmp_path)
    install = (UV, "pip", "install", "--python", python, "--no-deps")
    run(*install, "-r", "locked.txt", *wheels.glob("*.whl"), where=tmp_path)
    run(UV, "pip", "check", "--python", python, where=tmp_path)

    project = tmp_path / "project"
    shutil.copytree(PRODUCERS / "python", project / "python")
    shutil.copy(PRODUCERS / "pod.json", project)
    (project / "test_wrong.py").write_text(WRONG)
    said = run(python, "-m", "pytest", "-p", "no:cacheprovider", "-q", ".", where=project)
    assert "2 passed" in said
    where = run(python, "-c", "import deploy.local as d; print(d.__file__)", where=project)
    assert Path(where.strip()).is_relative_to(tmp_path / "venv"), "the checkout's was used"
