"""The reflector against a scripted API server: it never loses its place without saying so."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx2
import pytest

from consumers.kube.reflector import (
    Bookmark,
    Deleted,
    Known,
    Observed,
    Page,
    Relisted,
    pages,
)
from consumers.kube.resources import ENI_CONFIG_MAP, PODENIS
from tests.unit.kube.scripted import (
    ListAnswer,
    Now,
    Played,
    Refusal,
    WatchAnswer,
    bookmark,
    gone,
    line,
    play,
    pod,
)

Result = TypeVar("Result")
HOLD = WatchAnswer(hold=True)


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(coroutine)


def story(played: Played) -> list[str]:
    """The events, one short line each."""
    lines = []
    for event in played.events:
        match event:
            case Relisted():
                lines.append(f"list {event.resource_version} {event.reason}")
            case Observed():
                lines.append(f"+{event.key.removeprefix('ns/')} {event.resource_version}")
            case Deleted():
                kind = "~" if event.synthetic else "-"
                lines.append(f"{kind}{event.key.removeprefix('ns/')} {event.resource_version}")
            case Page():
                lines.append(f"page {event.resource_version} x{len(event.items)}")
            case Bookmark():
                lines.append(f"mark {event.resource_version}" + (" gap" if event.gap else ""))
    return lines


def test_a_list_in_pages_then_a_watch_from_it() -> None:
    played = run(
        play(
            ListAnswer([pod("a", 3), pod("b", 4)], 10, token="t1"),
            ListAnswer([pod("c", 5)], 10),
            WatchAnswer([line("ADDED", pod("d", 11)), line("DELETED", pod("a", 12))], hold=True),
            page_size=2,
        )
    )
    assert story(played) == [
        "list 10 start", "+a 3", "+b 4", "+c 5", "page 10 x2", "page 10 x1", "mark 10 gap", "+d 11", "-a 12",
    ]  # fmt: skip
    assert played.asked[0] == {"limit": "2"}
    assert played.asked[1] == {"limit": "2", "continue": "t1"}
    watch = played.asked[2]
    assert (watch["watch"], watch["resourceVersion"], watch["allowWatchBookmarks"]) == (
        "true",
        "10",
        "true",
    )
    assert set(played.reflector.known) == {"ns/b", "ns/c", "ns/d"}
    assert played.reports[-1] == (True, "")


def test_objects_are_handed_over_page_by_page() -> None:
    played = run(
        play(ListAnswer([pod("a", 3)], 10, token="t"), ListAnswer([pod("b", 4)], 10), HOLD)
    )
    assert [len(batch) for batch in played.batches[:3]] == [1, 1, 1]


def test_an_empty_list_is_one_page_over_everything() -> None:
    played = run(play(ListAnswer([], 7), HOLD))
    assert played.events[1] == Page("", None, (), 7)


def test_a_dropped_watch_resumes_at_the_last_event() -> None:
    played = run(
        play(
            ListAnswer([], 10),
            WatchAnswer([line("ADDED", pod("a", 11))], fail=httpx2.RemoteProtocolError("cut")),
            WatchAnswer([line("MODIFIED", pod("a", 12))], hold=True),
        )
    )
    assert [each.get("resourceVersion") for each in played.asked] == [None, "10", "11"]
    assert story(played)[-2:] == ["+a 11", "+a 12"]
    assert "mark 10 gap" in story(played)
    assert len(played.pauses) == 1


def test_a_line_cut_in_two_by_the_network_is_one_event_and_cut_off_it_is_none() -> None:
    whole = line("ADDED", pod("a", 11))
    played = run(
        play(
            ListAnswer([], 10),
            WatchAnswer([whole[:20], whole[20:], line("ADDED", pod("b", 12))[:25]]),
            WatchAnswer([line("ADDED", pod("b", 12))], hold=True),
        )
    )
    assert story(played)[-2:] == ["+a 11", "+b 12"]
    assert played.asked[-1]["resourceVersion"] == "11"


def test_bookmarks_move_the_place() -> None:
    played = run(
        play(
            ListAnswer([], 10),
            WatchAnswer([bookmark(50)]),
            WatchAnswer([line("ADDED", pod("a", 51))], hold=True),
        )
    )
    assert played.asked[-1]["resourceVersion"] == "50"
    assert story(played)[-2:] == ["mark 50", "+a 51"]
    assert played.pauses == []


@pytest.mark.parametrize("expired", [WatchAnswer([gone()]), Refusal(410, "Expired", "too old")])
def test_expired_history_is_listed_again_and_compared(expired: WatchAnswer | Refusal) -> None:
    played = run(
        play(
            ListAnswer([pod("a", 3), pod("b", 4)], 10),
            expired,
            ListAnswer([pod("b", 4), pod("c", 19)], 20),
            HOLD,
        )
    )
    assert story(played)[5] == "list 20 too old"
    assert story(played)[6:] == ["+b 4", "+c 19", "page 20 x2", "~a 20", "mark 20 gap"]
    vanished = next(event for event in played.events if isinstance(event, Deleted))
    assert vanished.object == {
        "metadata": {"namespace": "ns", "name": "a", "uid": "uid-a", "resourceVersion": "20"}
    }
    assert played.asked[-1]["resourceVersion"] == "20"


def test_events_before_an_error_in_the_same_chunk_count() -> None:
    played = run(
        play(
            ListAnswer([], 10),
            WatchAnswer([line("ADDED", pod("a", 11)) + gone()]),
            ListAnswer([], 20),
            HOLD,
        )
    )
    assert "+a 11" in story(played)
    assert "~a 20" in story(played)


def test_expired_pages_of_a_list_start_the_list_again() -> None:
    played = run(
        play(
            ListAnswer([pod("a", 3)], 10, token="t"),
            Refusal(410, "Expired"),
            ListAnswer([pod("b", 12)], 15),
            HOLD,
        )
    )
    assert story(played) == [
        "list 10 start",
        "+a 3",
        "list 15 start",
        "+b 12",
        "page 15 x1",
        "mark 15 gap",
    ]


class TestResuming:
    def test_the_watch_goes_on_from_the_place_of_the_run_before(self) -> None:
        played = run(
            play(
                ListAnswer([pod("a", 3), pod("b", 8)], 10),
                WatchAnswer(
                    [
                        line("ADDED", pod("short", 6)),
                        line("DELETED", pod("short", 7)),
                        line("ADDED", pod("b", 8)),
                        line("ADDED", pod("c", 11)),
                    ],
                    hold=True,
                ),
                resume_from=5,
            )
        )
        assert story(played) == [
            "list 10 start", "+a 3", "+b 8", "page 5 x2", "mark 5", "+short 6", "-short 7", "mark 8", "+c 11",
        ]  # fmt: skip
        assert played.asked[1]["resourceVersion"] == "5"

    def test_a_place_too_old_leaves_a_gap_but_needs_no_second_list(self) -> None:
        played = run(
            play(ListAnswer([pod("a", 3)], 10), WatchAnswer([gone()]), HOLD, resume_from=5)
        )
        assert story(played) == [
            "list 10 start", "+a 3", "page 5 x1", "mark 5", "page 10 x1", "mark 10 gap",
        ]  # fmt: skip
        assert [each.get("resourceVersion") for each in played.asked] == [None, "5", "10"]

    def test_a_list_at_that_very_place_has_no_gap(self) -> None:
        played = run(play(ListAnswer([], 5), HOLD, resume_from=5))
        assert story(played) == ["list 5 start", "page 5 x0", "mark 5"]

    def test_a_list_older_than_the_place_is_a_reset_history(self) -> None:
        played = run(play(ListAnswer([], 3), HOLD, resume_from=5))
        assert story(played) == ["list 3 start", "page 3 x0", "mark 3 gap"]
        assert played.asked[-1]["resourceVersion"] == "3"


def test_a_place_the_server_has_not_reached_is_a_reset_history() -> None:
    played = run(
        play(
            ListAnswer([pod("a", 90)], 100),
            Refusal(504, "Timeout", "Too large resource version: 100, current: 7"),
            ListAnswer([pod("a", 2)], 7),
            HOLD,
        )
    )
    assert story(played)[-4].startswith("list 7 Too large resource version")
    assert story(played)[-3:] == ["+a 2", "page 7 x1", "mark 7 gap"]


@pytest.mark.parametrize("ended", [httpx2.ReadTimeout("silent"), httpx2.ConnectError("down")])
def test_after_a_silence_or_an_outage_history_may_have_begun_again(ended: Exception) -> None:
    """A restored server takes a watch from a place ahead of it, and says nothing for ever."""
    played = run(
        play(
            ListAnswer([pod("a", 90)], 100),
            WatchAnswer(fail=ended),
            Now(7),
            ListAnswer([pod("a", 2)], 7),
            HOLD,
        )
    )
    assert story(played)[-4] == "list 7 the API server is at 7, our place is 100"
    assert story(played)[-3:] == ["+a 2", "page 7 x1", "mark 7 gap"]


@pytest.mark.parametrize("ended", [httpx2.ReadTimeout("silent"), httpx2.ConnectError("down")])
def test_a_place_that_was_doubted_and_holds_is_gone_on_from(ended: Exception) -> None:
    played = run(play(ListAnswer([], 100), WatchAnswer(fail=ended), Now(100), HOLD))
    assert [each.get("resourceVersion") for each in played.asked] == [None, "100", "100"]
    assert sum("list" in each for each in story(played)) == 1


def test_a_repeated_list_keeps_the_place() -> None:
    played = run(
        play(
            ListAnswer([], 10),
            WatchAnswer([line("ADDED", pod("a", 11))]),
            ListAnswer([pod("a", 11)], 30),
            WatchAnswer([line("ADDED", pod("b", 12)), line("DELETED", pod("b", 13))], hold=True),
            relist_every_s=100.0,
            ticks=[0.0, 0.0, 200.0],
        )
    )
    assert story(played)[3:] == [
        "+a 11", "list 30 resync", "+a 11", "page 11 x1", "mark 11", "+b 12", "-b 13",
    ]  # fmt: skip


class TestFailures:
    def test_denied_names_verb_and_resource_and_is_tried_again(self) -> None:
        played = run(
            play(Refusal(403, "Forbidden", "no access"), ListAnswer([], 1), HOLD, resource=PODENIS)
        )
        ok, reason = played.reports[0]
        assert not ok
        assert "grant verb list on podenis.network.alibabacloud.com" in reason
        assert played.reports[-1] == (True, "")

    def test_denied_watch_does_not_list_again_and_again(self) -> None:
        denials = [Refusal(403, "Forbidden")] * 12
        played = run(play(ListAnswer([], 1), *denials, HOLD))
        assert sum("limit" in each for each in played.asked) == 1
        assert "verb watch on pods" in played.reports[0][1]

    def test_unauthorized(self) -> None:
        played = run(play(Refusal(401, "Unauthorized"), ListAnswer([], 1), HOLD))
        assert "credentials are not accepted" in played.reports[0][1]

    def test_a_resource_that_is_not_installed_says_so(self) -> None:
        played = run(play(Refusal(404, "NotFound"), ListAnswer([], 1), HOLD, resource=PODENIS))
        assert "not installed: apply deploy/crds" in played.reports[0][1]

    def test_throttled_waits_as_long_as_the_server_says(self) -> None:
        busy = Refusal(429, "TooManyRequests", headers={"retry-after": "17"})
        played = run(play(busy, ListAnswer([], 1), HOLD))
        assert played.pauses == [17.0]

    def test_backoff_grows_to_its_cap(self) -> None:
        down = [httpx2.ConnectError("refused")] * 8
        played = run(play(*down, ListAnswer([], 1), HOLD))
        assert played.pauses[:3] == pytest.approx([0.4, 0.8, 1.6])
        assert max(played.pauses) == 5.0
        assert "the API server gave no answer" in played.reports[0][1]

    def test_a_watch_that_ends_at_once_is_not_repeated_at_full_speed(self) -> None:
        played = run(play(ListAnswer([], 1), WatchAnswer(), WatchAnswer(), HOLD))
        assert len(played.pauses) == 2

    def test_an_answer_that_is_not_kubernetes(self) -> None:
        played = run(
            play(
                ListAnswer([{"kind": "Pod"}], 1),
                ListAnswer([], 1),
                WatchAnswer([b"<html>\n"]),
                WatchAnswer([line("ADDED", {"metadata": {}})]),
                HOLD,
            )
        )
        assert [ok for ok, _ in played.reports] == [False, True, False, True, False, True]

    def test_a_doubtful_place_is_listed_again_without_a_gap(self) -> None:
        played = run(
            play(ListAnswer([], 5), *[Refusal(500)] * 5, ListAnswer([pod("a", 6)], 9), HOLD)
        )
        assert story(played)[3:] == [
            "list 9 the watch failed 5 times",
            "+a 6",
            "page 5 x1",
            "mark 5",
        ]


def test_one_object_is_asked_for_by_name() -> None:
    played = run(play(ListAnswer([], 1), HOLD, resource=ENI_CONFIG_MAP))
    assert played.paths[0] == "/api/v1/namespaces/kube-system/configmaps"
    assert played.asked[0]["fieldSelector"] == "metadata.name=eni-config"


def test_the_sink_holds_the_watch_back() -> None:
    """What a sink has not taken is not passed over: the place stays behind it."""

    async def scenario() -> int | None:
        from consumers.kube.reflector import Event, Reflector
        from consumers.kube.resources import PODS
        from tests.unit.kube.scripted import ScriptedServer

        server = ScriptedServer(
            ListAnswer([], 10), WatchAnswer([line("ADDED", pod("a", 11)), bookmark(12)], hold=True)
        )
        stuck = asyncio.Event()

        async def sink(events: "list[Event] | Any") -> None:
            if any(isinstance(event, Observed) for event in events):
                stuck.set()
                await asyncio.Event().wait()

        reflector = Reflector(server.client, PODS, sink)
        running = asyncio.create_task(reflector.run())
        await asyncio.wait_for(stuck.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.client.aclose()
        return reflector.place

    assert run(scenario()) == 10


def test_pages_tile_all_keys() -> None:
    known = {f"ns/{letter}": Known("u", 1) for letter in "edcba"}
    made = list(pages(known, 2, 9))
    assert [(page.range_from, page.range_to) for page in made] == [
        ("", "ns/c"),
        ("ns/c", "ns/e"),
        ("ns/e", None),
    ]
    assert [key for page in made for key, _ in page.items] == [f"ns/{letter}" for letter in "abcde"]
