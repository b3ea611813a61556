"""`eni-ledger doctor` as a command: what is wrong usage, and what a person reads."""

import io

import pytest
from rich.console import Console

from consumers.cli.doctor import show
from consumers.cli.main import main
from consumers.doctor.checks import findings
from tests.unit.doctor.test_checks import nothing_seen


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "kafka,nonsense"), "there is settings, cluster, nodes"),
        (("--yes",), "go with --fix eni-config"),
        (("--fix", "eni-config", "--json"), "without --only and --json"),
        (("--fix", "everything"), "eni-config"),
        (("--cluster-kind", "serverless"), "managed"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_person_reads_what_blocks_first_and_each_line_whole() -> None:
    facts = nothing_seen()
    facts.database.schema = "no [schema] of ours"
    told = io.StringIO()
    show(findings(facts), Console(width=100, highlight=False, file=told))
    details = told.getvalue().split("\n\n")[1:]
    assert details[0].startswith("database-schema blocks\n  what  no [schema] of ours\n  why   ")
    assert (
        "\n  fix   eni-ledger migrate\n  more  deploy/howto/doctor.md#database-schema" in details[0]
    )
    assert details[1].startswith("kubernetes-api could not look")
    assert details[-1].strip().endswith("1 block, 4 could not look, 0 warn")
