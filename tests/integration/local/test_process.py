"""The frame of a process: exit codes, one logged cause, first and second signal."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

FRAME = """
import asyncio, sys
from consumers.runtime.process import run_process
from consumers.runtime.settings import Settings

async def finishes(settings, stop, health):
    health.ready("room", True)
    print("up", flush=True)
    await stop.wait()
    print("finished", flush=True)

async def hangs(settings, stop, health):
    print("up", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.sleep(60)

async def fails(settings, stop, health):
    raise LookupError("eni-1 is unknown: password=hunter2")

async def returns(settings, stop, health):
    return None

sys.exit(run_process("test", globals()[sys.argv[1]], Settings()))
"""


def start(room: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FRAME), room],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parent,
    )


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_signal_lets_it_finish_and_exits_0() -> None:
    process = start("finishes")
    assert heard(process) == "up"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out.strip() == "finished"
    assert '"ready": "http://127.0.0.1:' in err


def test_a_second_signal_ends_it_at_once() -> None:
    process = start("hangs")
    assert heard(process) == "up"
    process.send_signal(signal.SIGTERM)
    assert heard(process) == "stopping"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT


def test_a_failure_is_logged_once_with_its_cause_and_exits_1() -> None:
    _, err = (process := start("fails")).communicate(timeout=20)
    assert process.returncode == 1
    assert err.count("eni-1 is unknown") == 1
    assert "LookupError" in err
    assert "hunter2" not in err


def test_a_room_that_just_returns_is_a_failure() -> None:
    _, err = (process := start("returns")).communicate(timeout=20)
    assert process.returncode == 1
    assert "ended without being asked" in err
