"""Selectors, paging, watches, bookmarks, and history that was compacted away."""

import pytest

from deploy.local.kubernetes.core import Core, Options
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from deploy.local.kubernetes.reads import Watch
from deploy.local.kubernetes.requests import Request
from deploy.local.kubernetes.selectors import LabelSelector
from tests.unit.local_kubernetes.shapes import CONFIG_MAPS, POD_ENIS, PODS, config_map, pod, pod_eni

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("missing!=x", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("app notin (api),tier", True),
        ("missing notin (a)", True),
        ("n>4", True),
        ("n < 5", False),
        ("app>4", False),
        ("k8s.aliyun.com/node=", False),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    assert LabelSelector.parse(selector).matches(LABELS) is matches


@pytest.mark.parametrize("selector", ["=x", "a=b=c", "a in", "a in b", "a b", "()"])
def test_what_is_no_label_selector_is_refused(selector: str) -> None:
    with pytest.raises(ApiError) as refused:
        LabelSelector.parse(selector)
    assert refused.value.code == 400


def names(listing: dict[str, object]) -> list[str]:
    items = listing["items"]
    assert isinstance(items, list)
    return [item["metadata"]["name"] for item in items]


def test_field_selectors(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    api.create(PODS, pod("b", "node-2"))
    assert names(api.list(PODS, {"fieldSelector": "spec.nodeName=node-1"})) == ["a"]
    assert names(api.list(PODS, {"fieldSelector": "metadata.name!=a"})) == ["b"]
    assert names(api.list("/api/v1/pods", {"fieldSelector": "status.phase=Running"})) == []
    assert names(api.list("/api/v1/pods", {"fieldSelector": "metadata.namespace=default"})) == [
        "a",
        "b",
    ]
    with pytest.raises(ApiError) as refused:
        api.list(PODS, {"fieldSelector": "spec.hostname=x"})
    assert "field label not supported" in refused.value.message


def test_pages_are_consistent_at_one_version(api: InProcess) -> None:
    for name in ("a", "b", "c", "d"):
        api.create(CONFIG_MAPS, config_map(name))
    first = api.list(CONFIG_MAPS, {"limit": "2"})
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 2)
    api.delete(f"{CONFIG_MAPS}/c")
    api.create(CONFIG_MAPS, config_map("bb"))
    rest = api.list(CONFIG_MAPS, {"limit": "9", "continue": first["metadata"]["continue"]})
    assert names(rest) == ["c", "d"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in rest["metadata"]


def test_a_page_too_old_is_gone_and_offers_to_go_on(api: InProcess, core: Core) -> None:
    for name in ("a", "b", "c"):
        api.create(CONFIG_MAPS, config_map(name))
    first = api.list(CONFIG_MAPS, {"limit": "1"})
    api.create(CONFIG_MAPS, config_map("d"))
    core.store.compact()
    with pytest.raises(ApiError) as refused:
        api.list(CONFIG_MAPS, {"limit": "1", "continue": first["metadata"]["continue"]})
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    token = refused.value.body["metadata"]["continue"]
    assert names(api.list(CONFIG_MAPS, {"continue": token})) == ["b", "c", "d"]


def test_resource_version_match(api: InProcess) -> None:
    made = api.create(CONFIG_MAPS, config_map("a"))
    version = made["metadata"]["resourceVersion"]
    api.create(CONFIG_MAPS, config_map("b"))
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert names(api.list(CONFIG_MAPS, exact)) == ["a"]
    newer = {"resourceVersion": version, "resourceVersionMatch": "NotOlderThan"}
    assert names(api.list(CONFIG_MAPS, newer)) == ["a", "b"]
    with pytest.raises(ApiError) as refused:
        api.list(CONFIG_MAPS, {"resourceVersion": "99999"})
    assert "Too large resource version: 99999" in refused.value.message
    for bad in ({"resourceVersion": "x"}, {"resourceVersionMatch": "Exact"}):
        with pytest.raises(ApiError):
            api.list(CONFIG_MAPS, bad)


def seen(watch: Watch) -> list[tuple[str, str]]:
    return [(e.type, e.object["metadata"].get("name", "")) for e in watch.poll()]


def test_a_watch_goes_on_from_its_version(api: InProcess) -> None:
    listing = api.list(CONFIG_MAPS)
    watch = api.watch_since(
        CONFIG_MAPS, {"resourceVersion": listing["metadata"]["resourceVersion"]}
    )
    assert seen(watch) == []
    api.create(CONFIG_MAPS, config_map("a", x="1"))
    api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "2"}})
    api.delete(f"{CONFIG_MAPS}/a")
    events = watch.poll()
    assert [e.type for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(e.object["metadata"]["resourceVersion"]) for e in events]
    assert versions == sorted(set(versions)), "a DELETED carries the version of the delete"
    assert seen(watch) == []


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_without_a_version_begins_with_what_is_there(api: InProcess, version: str) -> None:
    api.create(CONFIG_MAPS, config_map("a"))
    watch = api.watch_since(CONFIG_MAPS, {"resourceVersion": version})
    assert seen(watch) == [("ADDED", "a")]


def test_a_selector_turns_changes_into_coming_and_going(api: InProcess) -> None:
    watch = api.watch_since(POD_ENIS, {"labelSelector": "k8s.aliyun.com/node=n1"})
    watch.poll()
    api.create(POD_ENIS, pod_eni("a"))
    assert seen(watch) == []
    api.patch(f"{POD_ENIS}/a", {"metadata": {"labels": {"k8s.aliyun.com/node": "n1"}}})
    api.patch(f"{POD_ENIS}/a", {"spec": {"zone": "z"}})
    api.patch(f"{POD_ENIS}/a", {"metadata": {"labels": {"k8s.aliyun.com/node": "n2"}}})
    assert seen(watch) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_a_watch_from_compacted_history_ends_with_410(api: InProcess, core: Core) -> None:
    old = api.create(CONFIG_MAPS, config_map("a"))["metadata"]["resourceVersion"]
    api.create(CONFIG_MAPS, config_map("b"))
    core.store.compact()
    watch = api.watch_since(CONFIG_MAPS, {"resourceVersion": old})
    (event,) = watch.poll()
    assert (event.type, event.object["code"], event.object["reason"]) == ("ERROR", 410, "Expired")
    assert watch.ended
    assert watch.poll() == []


def test_an_open_watch_outlives_compaction_of_what_it_did_not_miss(
    api: InProcess, core: Core
) -> None:
    watch = api.watch_since(POD_ENIS)
    watch.poll()
    api.create(CONFIG_MAPS, config_map("a"))
    core.store.compact()
    api.create(POD_ENIS, pod_eni("a"))
    assert seen(watch) == [("ADDED", "a")]
    api.create(POD_ENIS, pod_eni("b"))
    core.store.compact()
    assert [event.type for event in watch.poll()] == ["ERROR"], "b was missed"


def test_history_is_bounded(core: Core) -> None:
    small = Core(core.sources, Options(history=3))
    small.create_default_namespaces()
    api = InProcess(small)
    for number in range(5):
        api.create(CONFIG_MAPS, config_map(f"c{number}"))
    assert small.store.compacted == small.store.revision - 3


def test_the_watch_list_ends_its_initial_events_with_a_bookmark(api: InProcess) -> None:
    api.create(CONFIG_MAPS, config_map("a"))
    options = {"sendInitialEvents": "true", "allowWatchBookmarks": "true",
               "resourceVersionMatch": "NotOlderThan"}  # fmt: skip
    added, bookmark = api.watch_since(CONFIG_MAPS, options).poll()
    assert (added.type, bookmark.type) == ("ADDED", "BOOKMARK")
    assert bookmark.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    with pytest.raises(ApiError):
        api.watch_since(CONFIG_MAPS, {"sendInitialEvents": "true"})


def test_a_server_without_watch_list_says_so(core: Core) -> None:
    older = InProcess(Core(core.sources, Options(watch_list=False)))
    with pytest.raises(ApiError) as refused:
        older.watch_since("/api/v1/namespaces", {"sendInitialEvents": "true",
                                                 "resourceVersionMatch": "NotOlderThan"})  # fmt: skip
    assert refused.value.code == 422
    assert "WatchList feature gate" in refused.value.message


@pytest.mark.parametrize(
    ("value", "verb"),
    [("true", "watch"), ("True", "watch"), ("1", "watch"), ("", "watch"), ("false", "list"),
     ("False", "list"), ("0", "list")],
)  # fmt: skip
def test_how_booleans_are_spelled(core: Core, value: str, verb: str) -> None:
    request: Request = core.request("GET", "/api/v1/pods", {"watch": value})
    assert request.verb == verb


def test_events_have_two_faces(api: InProcess) -> None:
    body = {"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "a"}, "note": "hello",
            "reason": "CreateENISucceed", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "x", "reportingInstance": "y", "action": "CreateENI"}  # fmt: skip
    api.create("/apis/events.k8s.io/v1/namespaces/default/events", body)
    selector = {"fieldSelector": "involvedObject.name=a,involvedObject.kind=Pod"}
    (event,) = api.list("/api/v1/namespaces/default/events", selector)["items"]
    assert (event["message"], event["involvedObject"]["name"]) == ("hello", "a")
    shown = api.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (shown["note"], shown["apiVersion"]) == ("hello", "events.k8s.io/v1")
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
    counted = api.patch("/apis/events.k8s.io/v1/namespaces/default/events/e", series)
    assert (counted["note"], counted["series"]["count"]) == ("hello", 2)
    assert api.get("/api/v1/namespaces/default/events/e")["message"] == "hello"
