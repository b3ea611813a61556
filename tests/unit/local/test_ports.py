"""The choice of a free port: never twice in a row, never one that is held."""

import itertools
import socket

import pytest

from deploy.local.parts import ports
from deploy.local.parts.child import PartError


def test_successive_choices_differ_and_pass_over_what_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = ports.free_port()
    monkeypatch.setattr(ports, "_choices", itertools.count(first - ports.FIRST))
    with socket.create_server((ports.LOOPBACK, first)):
        second, third = ports.free_port(), ports.free_port()
    assert len({first, second, third}) == 3


def test_where_all_are_held_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    held = ports.free_port()
    monkeypatch.setattr(ports, "FIRST", held)
    monkeypatch.setattr(ports, "SPAN", 1)
    with (
        socket.create_server((ports.LOOPBACK, held)),
        pytest.raises(PartError, match="no free port between"),
    ):
        ports.free_port()
