"""Where the genuine API's programs are kept, and what is said when they aren't there."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.parts.child import PartError
from deploy.local.parts.kube_apiserver import binaries

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_place_names_both_versions_and_every_source(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = binaries.cached().directory
    assert place.is_relative_to(cache / "eni-ledger")
    assert binaries.version_of(binaries.KUBERNETES) in place.name
    assert binaries.version_of(binaries.ETCD) in place.name
    other = cache / "module"
    other.mkdir()
    for name in ("go.mod", "go.sum"):
        (other / name).write_bytes((binaries.MODULE / name).read_bytes() + b"\n")
    monkeypatch.setattr(binaries, "MODULE", other)
    assert binaries.cached().directory != place


def test_what_is_missing_is_named_with_the_command_that_makes_it() -> None:
    with pytest.raises(PartError, match=r"run \.ci/parts/kube") as refused:
        binaries.require()
    assert "--kube simulated" in str(refused.value)
    assert (ROOT / binaries.COMMAND).is_file()


def test_half_of_it_is_nothing() -> None:
    found = binaries.cached()
    found.directory.mkdir(parents=True)
    found.etcd.touch()
    with pytest.raises(PartError, match="was not compiled"):
        binaries.require()
    found.kube_apiserver.touch()
    assert binaries.require() == found


def test_local_up_says_it_and_leaves_nothing(tmp_path: Path) -> None:
    up = subprocess.run(
        [
            sys.executable, "-m", "consumers.cli.main", "local", "up",
            "--kube", "genuine", "--state-dir", str(tmp_path / "stack"),
        ],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert up.returncode == 1
    assert ".ci/parts/kube" in up.stderr
    assert not (tmp_path / "stack" / "state.json").exists()


def test_without_a_usable_go_each_candidate_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(PartError, match="no Go that can compile") as refused:
        binaries.build(lambda _line: None)
    assert "go: not found" in str(refused.value)
    assert "install Go 1.26" in str(refused.value)
    assert list(binaries.cached().directory.parent.glob("building.*")) == []
