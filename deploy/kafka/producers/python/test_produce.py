"""How to test a producer against the real intake: `running_ledger` comes with eni-ledger-local."""

import subprocess
import sys
from pathlib import Path

from deploy.local.running_ledger import RunningLedger

HERE = Path(__file__).parent


def test_the_ledger_takes_our_pod(running_ledger: RunningLedger) -> None:
    there = running_ledger.kafka, running_ledger.topic("pod"), running_ledger.cluster_id
    command = [sys.executable, str(HERE / "produce.py"), *there, "observed"]
    subprocess.run(command, input=(HERE.parent / "pod.json").read_bytes(), check=True)
    assert running_ledger.allocation("shop/web-0")["node"] == "cn-hangzhou.10.0.1.7"
