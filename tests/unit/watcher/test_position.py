"""Where a watcher stands: watermark, gaps and epochs as pure values."""

from datetime import UTC, datetime, timedelta

from consumers.contract.encode import encode_heartbeat
from consumers.contract.events import Heartbeat, Message, Record, decode
from consumers.kube.reflector import Bookmark, Deleted, Observed, Page
from consumers.watcher.history import last_place
from consumers.watcher.position import Place, Position, adopt, advance, begin_list

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


def observed(version: int) -> Observed:
    return Observed("ns/a", {}, version)


class TestWatermark:
    def test_objects_of_a_list_do_not_move_it_and_its_end_does(self) -> None:
        position = begin_list(Position(), 10, 0)
        position = advance(position, observed(9), NOW)
        position = advance(position, Page("", None, (), 10), NOW)
        assert (position.watermark, position.synced, position.alive_at) == (0, False, None)
        position = advance(position, Bookmark(10, gap=True), NOW)
        assert (position.watermark, position.continuous_from, position.synced) == (10, 10, True)
        assert position.alive_at == NOW

    def test_watched_events_and_bookmarks_move_it(self) -> None:
        position = Position(watermark=10, continuous_from=4)
        position = advance(position, observed(11), NOW)
        position = advance(position, Deleted("ns/a", {}, 13), NOW)
        assert position.watermark == 13
        position = advance(position, Bookmark(20), LATER)
        assert (position.watermark, position.continuous_from, position.alive_at) == (20, 4, LATER)

    def test_what_a_relist_found_gone_does_not_move_it(self) -> None:
        position = begin_list(Position(watermark=10), 30, 0)
        position = advance(position, Deleted("ns/a", {}, 30, synthetic=True), NOW)
        assert position.watermark == 10

    def test_resuming_at_an_older_place_proves_nothing_about_now(self) -> None:
        position = begin_list(Position.inherited(Place(2, 5, 3)), 10, 5)
        position = advance(position, Bookmark(5), NOW)
        assert (position.watermark, position.continuous_from, position.alive_at) == (5, 3, None)
        assert position.synced

    def test_it_never_goes_back_within_an_epoch(self) -> None:
        position = advance(Position(watermark=10), Bookmark(8), NOW)
        assert position.watermark == 10


class TestEpoch:
    def test_the_first_list_of_an_empty_log_is_epoch_0(self) -> None:
        assert begin_list(Position(), 10, 0).epoch == 0

    def test_a_list_older_than_the_watermark_starts_a_new_one(self) -> None:
        position = begin_list(Position.inherited(Place(2, 100, 90)), 7, 100)
        assert (position.epoch, position.watermark, position.continuous_from) == (3, 0, 0)

    def test_a_list_older_than_what_another_watcher_saw_starts_a_new_one(self) -> None:
        assert begin_list(Position(epoch=2, watermark=5), 7, 100).epoch == 3

    def test_a_list_at_the_same_version_does_not(self) -> None:
        assert begin_list(Position(epoch=2, watermark=7), 7, 7).epoch == 2

    def test_two_watchers_agree_given_the_same_log(self) -> None:
        place = Place(2, 100, 50)
        one = begin_list(Position.inherited(place), 7, 100)
        two = begin_list(adopt(Position(epoch=2, watermark=98), place), 9, 100)
        assert one.epoch == two.epoch == 3

    def test_a_watcher_that_slept_through_a_reset_adopts_its_epoch(self) -> None:
        asleep = Position(epoch=2, watermark=100)
        adopted = adopt(asleep, Place(3, 9, 7))
        assert begin_list(adopted, 150, 9).epoch == 3
        assert (adopted.watermark, adopted.continuous_from) == (9, 7)

    def test_an_older_or_equal_epoch_is_not_adopted(self) -> None:
        mine = Position(epoch=2, watermark=100)
        assert adopt(mine, Place(2, 200, 1)) == mine
        assert adopt(mine, Place(1, 900, 1)) == mine
        assert adopt(mine, None) == mine


def beat(cluster: str, epoch: int, watermark: int, continuous_from: int) -> Message:
    heartbeat = Heartbeat(0, continuous_from, None, synced=True)
    encoded = encode_heartbeat(
        cluster, "pod", heartbeat, epoch=epoch, resource_version=watermark, time=NOW
    )
    return decode(Record("p.pod.v1", 0, 0, encoded.key, encoded.value, encoded.headers))


def test_the_last_place_is_the_highest_of_the_newest_epoch() -> None:
    beats = [
        beat("c1", 1, 900, 1),
        beat("c1", 2, 40, 30),
        beat("c1", 2, 50, 45),
        beat("c2", 9, 9, 9),
    ]
    assert last_place(beats, "c1") == Place(2, 50, 45)
    assert last_place(reversed(beats), "c1") == Place(2, 50, 45)
    assert last_place([], "c1") is None
    assert last_place(beats, "c3") is None


def test_watchers_at_the_same_place_share_what_they_watched() -> None:
    beats = [beat("c1", 0, 50, 45), beat("c1", 0, 50, 12)]
    assert last_place(beats, "c1") == Place(0, 50, 12)
