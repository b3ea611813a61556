"""The documents are true where a machine can tell: commands, settings, paths and links exist."""

import itertools
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer._click.exceptions import MissingParameter, UsageError

from consumers.cli.main import COMMANDS, load
from consumers.reconciler.tools import CALL_MARGIN
from consumers.runtime.incumbent_files import CONFIG_VARIABLE, CREDENTIAL_VARIABLE
from consumers.runtime.settings import (
    CONFIG_FILE_VARIABLE,
    BreakerSettings,
    CloudSettings,
    KubeSettings,
    ReconcilerSettings,
    Settings,
    load_settings,
)
from ledger.store.database import FROZEN_AFTER_S

ROOT = Path(__file__).parents[2]
ROOMS = ("ledger", "migrations", "consumers", "deploy", "tests")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(found for room in ROOMS for found in (ROOT / room).rglob("*.md"))]
)

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*/?")
_ELSEWHERE = re.compile(r"(/home/|/root/|/Users/|/work/|/tmp/|[A-Z]:\\Users)")
_VARIABLE = re.compile(r"ENI_LEDGER_[A-Z][A-Z0-9_]*")
_IN_A_POD = re.compile(r"^kubectl .*\bexec\b.* -- ")
_SEPARATORS = re.compile(r"\s+(?:&&|\|\||\|)\s+|;\s+")
#: A name that ends like this and has no slash is a file in or below the document's folder.
_FILES = (".py", ".sql", ".md", ".toml")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def test_every_document_is_found() -> None:
    names = {name_of(document) for document in DOCUMENTS}
    assert {"README.md", "CHANGELOG.md", "ledger/README.md", "consumers/README.md"} <= names


# ------------------------------------------------------------------------------ commands


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each `eni-ledger …`, `make …` and `python -m …` that a document shows.

    Alternatives (`audit ip|pod`, `pause [all|destructive]`) are one command each.
    """
    lines = [line for _, block in _FENCE.findall(text) for line in block.splitlines()]
    lines += [inline for inline in _INLINE.findall(_FENCE.sub("", text)) if " " in inline]
    for line in lines:
        for part in _SEPARATORS.split(_uncommented(line.strip().removeprefix("$ "))):
            words = _words(_IN_A_POD.sub("", part))
            while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
                words.pop(0)
            if len(words) > 1 and words[0] in ("eni-ledger", "make", "python"):
                choices = [re.sub(r"^\[(.*)\]$", r"\1", word).split("|") for word in words]
                yield from map(list, itertools.product(*choices))


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError:  # an apostrophe in a sentence: no command
        return []


def complaint(words: Sequence[str]) -> str | None:
    """Why a command could not be given as it is written; None when it could."""
    match words:
        case ["make", *targets]:
            known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            missing = [each for each in targets if "=" not in each and each not in known]
            return f"make has no target {missing}" if missing else None
        case ["python", "-m", module, *_]:
            place = ROOT / Path(*module.split("."))
            found = place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
            return None if found else f"no module {module}"
        case ["eni-ledger", name, *arguments]:
            return _complaint_of_ours(name, arguments)
        case _:
            return None


def _complaint_of_ours(name: str, arguments: list[str]) -> str | None:
    if name in ("…", "COMMAND", "--help", "-h"):
        return None
    if name not in COMMANDS:
        return f"eni-ledger has no command {name}"
    command: Any = load(name)
    while getattr(command, "commands", None) and arguments:
        name, *arguments = arguments
        if name in ("--help", "-h", "…"):
            return None
        if name not in command.commands:
            return f"{command.name} has no command {name}"
        command = command.commands[name]
    if getattr(command, "commands", None):
        return None
    if any("…" in word or word in ("--help", "-h") for word in arguments):
        return None
    try:
        command.make_context(name, list(arguments))
    except MissingParameter as missing:
        # A sentence may name a command without what it needs; a command that is shown is whole.
        return None if not arguments else f"eni-ledger {name}: {missing.format_message()}"
    except UsageError as wrong:
        return f"eni-ledger {name}: {wrong.format_message()}"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_can_be_given_as_written(document: Path) -> None:
    wrong = [
        f"{shlex.join(words)}: {why}"
        for words in commands_of(document.read_text())
        if (why := complaint(words))
    ]
    assert wrong == []


def test_what_a_wrong_command_is_told() -> None:
    """The check can fail: each of these was a plausible sentence once."""
    text = (
        "```sh\neni-ledger run everything && make nothing\n$ A=b eni-ledger release a/b  # c\n```"
    )
    text += (
        "\n`eni-ledger audit pot x/y`, `eni-ledger rebuild --chek`, `eni-ledger adopted --apply`"
    )
    assert [words[1] for words in commands_of(text)] == [
        "run",
        "nothing",
        "release",
        "audit",
        "rebuild",
        "adopted",
    ]
    assert all(complaint(words) for words in commands_of(text))


def test_the_readme_shows_every_command_of_ours() -> None:
    shown = {words[1] for words in commands_of((ROOT / "README.md").read_text())}
    assert set(COMMANDS) <= shown


# ------------------------------------------------------------------------------ the other language


def test_the_chinese_readme_is_in_step_with_the_english_one() -> None:
    """Section by section, promise by promise, limit by limit; and no command of its own."""
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
    ours, theirs = (
        re.split(r"^## .+$", text, flags=re.MULTILINE)[1:] for text in (english, chinese)
    )
    assert len(ours) == len(theirs)
    assert re.findall(r"^\| (P\d+) \|", chinese, re.MULTILINE) == [f"P{n}" for n in range(1, 12)]
    limits = [text[-2].count("\n- ") for text in (ours, theirs)]
    assert limits[0] == limits[1] > 0
    known = list(commands_of(english))
    assert [words for words in commands_of(chinese) if words not in known] == []


# ------------------------------------------------------------------------------ settings


def variables(model: type[BaseModel] = Settings, prefix: str = "ENI_LEDGER_") -> Iterator[str]:
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, f"{variable}__")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_settings_exist(document: Path) -> None:
    known = {*variables(), CONFIG_FILE_VARIABLE, CONFIG_VARIABLE, CREDENTIAL_VARIABLE}
    named = {name.rstrip("_") for name in _VARIABLE.findall(document.read_text())}
    assert named <= known


def test_the_readmes_settings_file_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [b for kind, b in _FENCE.findall((ROOT / "README.md").read_text()) if kind == "yaml"]
    files = [block for block in blocks if "cluster_id" in yaml.safe_load(block)]
    assert len(files) == 1
    for name in os.environ:
        if name.startswith("ENI_LEDGER_"):
            monkeypatch.delenv(name)
    settings_file = tmp_path / "settings.yaml"
    settings_file.write_text(files[0])
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, str(settings_file))
    settings = load_settings()
    assert settings.cluster_id == yaml.safe_load(files[0])["cluster_id"]
    # The README explains the breaker by these figures.
    assert settings.reconciler.breaker == BreakerSettings()


def test_the_readmes_failover_times_follow_from_the_defaults() -> None:
    text = (ROOT / "README.md").read_text()
    claim, api = ReconcilerSettings().claim_s, KubeSettings().request_timeout_s
    cloud = CloudSettings()
    call = cloud.connect_timeout_s + cloud.read_timeout_s + CALL_MARGIN.total_seconds()
    for said in (
        f"| {claim:g} s, its claim |",
        f"| {api + claim:g} s (`kube.request_timeout_s` and the claim); {2 * api + claim:g} s while",
        f"| {call:g} s, the call's deadline (both time-outs and {CALL_MARGIN.total_seconds():g} s) |",
        f"loses its locks after {FROZEN_AFTER_S:g} s",
    ):
        assert said in text, said


# ------------------------------------------------------------------------------ SQL


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_public_schema_has_what_is_named(document: Path) -> None:
    migrations = "".join(
        path.read_text() for path in sorted((ROOT / "migrations/sql").glob("*_up.sql"))
    )
    known = set(re.findall(r"CREATE (?:VIEW|FUNCTION) audit\.(\w+)", migrations))
    assert set(re.findall(r"\baudit\.(\w+)", document.read_text())) - {"py"} <= known


# ------------------------------------------------------------------------------ paths and links


def paths_of(document: Path) -> Iterator[str]:
    """What stands in backticks outside fenced blocks and looks like a path of this repository."""
    here = document.parent
    for inline in _INLINE.findall(_FENCE.sub("", document.read_text())):
        if not _PATH.fullmatch(inline.removeprefix("./").replace("../", "")):
            continue
        first, slash, _ = inline.partition("/")
        known = first in (".", "..") or (here / first).exists() or (ROOT / first).exists()
        if (slash and (known or inline.endswith("/"))) or inline.endswith(_FILES):
            yield inline


def exists(path: str, document: Path) -> bool:
    if "/" not in path and document.parent != ROOT:
        return any(document.parent.rglob(path))
    return any(
        any(base.glob(path.rstrip("/"))) if "*" in path else (base / path).exists()
        for base in (document.parent, ROOT)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_paths_exist(document: Path) -> None:
    assert [path for path in paths_of(document) if not exists(path, document)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    dead = []
    for target in _LINK.findall(_FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        there = (document.parent / file).resolve() if file else document
        if not there.exists() or (heading and heading not in anchors(there)):
            dead.append(target)
    assert dead == []


def anchors(document: Path) -> set[str]:
    """The anchors that a Markdown reader makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_document_names_a_place_on_somebodys_machine(document: Path) -> None:
    assert _ELSEWHERE.findall(document.read_text()) == []


# ------------------------------------------------------------------------------ promises


def test_each_promise_names_tests_that_name_it() -> None:
    """In the README each of P1 to P11 has a paragraph; the test files it cites name the promise."""
    text = (ROOT / "README.md").read_text()
    paragraphs = dict(re.findall(r"^\*\*(P\d+)\.\*\* (.*?)\n\n", text, re.MULTILINE | re.DOTALL))
    assert list(paragraphs) == [f"P{number}" for number in range(1, 12)]
    for promise, paragraph in paragraphs.items():
        for path in _INLINE.findall(paragraph):
            if path.startswith("tests/"):
                named = re.search(
                    rf"\b({promise}|test_{promise.lower()}_\w+)\b", (ROOT / path).read_text()
                )
                assert named, f"{path} does not name {promise}"
