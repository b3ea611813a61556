"""Who gives a command, where the machine knows no name for it."""

import os
import pwd
import socket

import pytest

from consumers.cli.book import who


def test_in_a_container_without_names_the_uid_stands_for_the_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert who() == f"uid-{os.getuid()}@{socket.gethostname()}"
