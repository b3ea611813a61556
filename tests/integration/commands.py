"""The command line, run in the test's own process; and the commands that a page for operators shows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from consumers.cli.main import main
from tests.unit.test_documents import _FENCE, commands_of

HOWTO = Path(__file__).parents[2] / "deploy" / "howto"


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Say = Callable[..., Said]


def saying(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs one command: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        told = capsys.readouterr()
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, told.out, told.err)

    return run


def shown(page: str) -> Iterator[list[str]]:
    """The commands of ours in the fenced `sh` blocks of a page of deploy/howto, without `eni-ledger`."""
    text = (HOWTO / page).read_text()
    blocks = [f"```sh\n{block}```" for kind, block in _FENCE.findall(text) if kind == "sh"]
    yield from (words[1:] for words in commands_of("\n".join(blocks)) if words[0] == "eni-ledger")
