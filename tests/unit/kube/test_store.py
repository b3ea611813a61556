"""The mirror that admission answers from."""

import asyncio

from consumers.kube.reflector import Bookmark, Deleted, Event, Observed, Page, Relisted
from consumers.kube.store import Store
from tests.unit.kube.scripted import pod


def test_it_follows_and_knows_when_it_is_whole() -> None:
    store = Store()
    listed: list[Event] = [
        Relisted("start", 10),
        Observed("ns/b", pod("b", 4), 4),
        Observed("ns/a", pod("a", 3), 3),
        Page("", None, (), 10),
    ]
    asyncio.run(store.apply(listed))
    assert (store.synced, store.resource_version) == (False, 0)
    asyncio.run(store.apply([Bookmark(10, gap=True)]))
    assert (store.synced, store.resource_version) == (True, 10)
    assert [obj["metadata"]["name"] for obj in store.list()] == ["a", "b"]
    asyncio.run(
        store.apply([Deleted("ns/a", pod("a", 11), 11), Observed("ns/b", pod("b", 12), 12)])
    )
    assert store.get("a", "ns") is None
    assert store.get("b", "ns") == pod("b", 12)
    assert (len(store), store.resource_version) == (1, 12)


def test_it_answers_from_memory_while_a_new_list_is_under_way() -> None:
    store = Store()
    asyncio.run(store.apply([Relisted("start", 10), Observed("x", pod("x", 1), 1), Bookmark(10)]))
    asyncio.run(store.apply([Relisted("expired", 30)]))
    assert store.synced
    assert store.get("x") is not None
    assert store.resource_version == 10
