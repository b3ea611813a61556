"""`run`: which room each process is, and what `all` does when one of them ends."""

import asyncio

import pytest

from consumers.cli import run
from consumers.cli.errors import CommandError
from consumers.runtime.health import Health
from consumers.runtime.process import RoomMain
from consumers.runtime.settings import Settings


def test_every_process_but_all_has_a_room() -> None:
    assert set(run.ROOMS) == set(run.Process) - {run.Process.ALL}


def test_a_missing_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = {run.Process.WATCHER: "consumers.watcher.nowhere"}
    monkeypatch.setattr(run, "ROOMS", rooms)
    with pytest.raises(CommandError, match=r"consumers\.watcher\.nowhere is not installed"):
        run.room_main(run.Process.WATCHER)


async def until_stop(_settings: Settings, stop: asyncio.Event, _health: Health) -> None:
    await stop.wait()


async def at_once(_settings: Settings, _stop: asyncio.Event, _health: Health) -> None:
    return None


def rooms(monkeypatch: pytest.MonkeyPatch, **mains: RoomMain) -> RoomMain:
    monkeypatch.setattr(run, "_load", lambda process: mains.get(process.value, until_stop))
    return run.room_main(run.Process.ALL)


def test_all_runs_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(
            asyncio.wait_for(together(Settings(), stop, Health()), timeout=5)
        )
        await asyncio.sleep(0)
        assert not running.done()
        stop.set()
        await running

    together = rooms(monkeypatch)
    asyncio.run(check())


def test_all_fails_when_one_ends_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    together = rooms(monkeypatch, intake=at_once)

    async def check() -> None:
        await together(Settings(), asyncio.Event(), Health())

    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(asyncio.wait_for(check(), timeout=5))
    assert "intake ended without being asked to" in str(ended.value.exceptions[0])
