"""The README's commands, in its order, on the stack that its demonstration leaves: each can be given; then
those of the Chinese README and of the pages about commands, alerts and errors.

What is shown names things of one run; here they are this run's. Commands that start, install or end
something have tests of their own; those of the product document are the demonstration's.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from consumers.cli.main import COMMANDS
from deploy.local.stack.options import StackFiles
from tests.integration.commands import Say, saying
from tests.unit.test_documents import commands_of

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
#: From here to there the commands ask or command the ledger of a running system.
SECTION = README[README.index("## Asking the ledger") : README.index("## Deploying it")]
PAGES = [
    ROOT / page
    for page in (
        "README.zh-CN.md",
        "deploy/howto/commands.md",
        "deploy/howto/alerts.md",
        "deploy/howto/errors.md",
    )
]
#: What those pages show of them is given here. What starts, installs or takes over has tests of its own.
GIVEN = set(COMMANDS) - {"run", "demo", "local", "topics", "adopt", "shadow", "handover"}
#: Exit code 1: there is something to look at. The demonstration moved the clock, and a brake is pulled.
FINDS = ("doctor", "verify")
#: Exit code 1: the README's example asks for a time or a thing that is not here, and that is said.
NOTHING = {
    ("audit", "ip", "--at"): "was free at",
    ("audit", "mac"): "was free in that time",
    ("explain", "pod"): "does not exist",
    ("release",): "holds nothing that could be released",
    ("security-groups",): "holds no ENI",
    ("dlq", "show"): "there is no dead letter 7",
    ("dlq", "redrive"): "there is no dead letter 7",
    ("handover", "stop"): "there is no terway-controlplane",
}


@pytest.fixture(scope="module")
def environment(stack_directory: Path) -> Iterator[dict[str, str]]:
    """The variables that the demonstration says to source, after it was played to its end."""
    directory = stack_directory / "readme"
    command = [sys.executable, "-m", "consumers.cli.main"]
    words = ["demo", "--keep", "--state-dir", str(directory)]
    played = subprocess.run(
        [*command, *words], capture_output=True, text=True, check=False, timeout=600
    )
    assert played.returncode == 0, played.stdout[-4000:] + played.stderr[-2000:]
    text = StackFiles(directory).environment.read_text()
    found = re.findall(r"^export (\w+)=(.*)$", text, re.MULTILINE)
    yield {name: shlex.split(value)[0] for name, value in found}
    down = ["local", "down", "--state-dir", str(directory)]
    subprocess.run([*command, *down], check=True, timeout=240)


def of_this_run(dsn: str) -> dict[str, str]:
    """The README's example -> what it is here."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT host(ipv4), eni, mac::text FROM audit.tenures WHERE pod = 'my-nginx-0' "
            "AND eni IS NOT NULL ORDER BY since DESC"
        ).fetchone()
    assert found is not None
    return dict(
        zip(("192.168.0.3", "eni-bp17zwauio8ksk6oa6bl", "00:16:3e:09:5e:e0"), found, strict=True)
    ) | {"cn-hangzhou.10.0.0.7": "node-h1", "example/web-0": "example/my-nginx-0"}


def of_pages(known: Sequence[list[str]]) -> Iterator[list[str]]:
    """What the pages show and the README does not, each once."""
    told = list(known)
    for page in PAGES:
        for program, *words in commands_of(page.read_text()):
            if program != "eni-ledger" or words[0] not in GIVEN or words in told:
                continue
            if (
                "--fix" in words
            ):  # of node agents, which are not here; given on the page doctor's own ground
                continue
            told.append(words)
            yield words


def test_every_command_answers(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    say: Say = saying(capsys)
    here = of_this_run(environment["ENI_LEDGER_POSTGRES__DSN"])
    shown = [words[1:] for words in commands_of(SECTION) if words[0] == "eni-ledger"]
    assert len(shown) >= 30
    for words in (*shown, *of_pages(shown)):
        told = say(*(here.get(word, word) for word in words))
        if "--export-head" in words:
            (tmp_path / "head.json").write_text(told.out)
        nothing = [said for of, said in NOTHING.items() if set(of) <= set(words)]
        if nothing:
            assert told.code == 1, (words, told)
            assert nothing[0] in told.err, (words, told)
        else:
            assert told.code == 0 or (told.code == 1 and words[0] in FINDS), (words, told)
            assert told.out.strip(), (words, told)
        if "--json" in words:
            json.loads(told.out)
