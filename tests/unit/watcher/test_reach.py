"""When a log no longer holds the list that a late reader needs."""

from consumers.watcher.reach import cut_off


def test_a_log_that_begins_beyond_its_last_list_has_lost_it() -> None:
    assert cut_off({0: 5, 1: 5, 2: 5}, {0: 5, 1: 6, 2: 0}) == [1]


def test_partitions_that_only_one_side_knows_tell_nothing() -> None:
    assert cut_off({0: 5}, {1: 100}) == []
    assert cut_off({}, {0: 100}) == []
