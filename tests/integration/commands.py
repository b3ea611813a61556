"""The command line, run in the test's own process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from consumers.cli.main import main


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
