"""Ordered faults, request counts, stale reads, the journal, and the in-process transport."""

from pathlib import Path

import httpx2
import pydantic
import pytest

from deploy.local.kubernetes.core import Core, Options
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.faults import FaultOrder
from deploy.local.kubernetes.journal import Journal
from deploy.local.kubernetes.port_adapter import CoreTransport, InProcess
from tests.unit.local_kubernetes.conftest import Clock
from tests.unit.local_kubernetes.shapes import CONFIG_MAPS, PODS, config_map, pod


def test_a_fault_wears_off(api: InProcess) -> None:
    api.core.faults.add(
        FaultOrder(verb="create", resource="pods", code=429, times=2, retry_after=3)
    )
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            api.create(PODS, pod("a"))
        assert (refused.value.code, refused.value.headers) == (429, {"Retry-After": "3"})
    api.create(CONFIG_MAPS, config_map("unaffected"))
    api.create(PODS, pod("a"))


def test_a_lost_answer_takes_effect(api: InProcess) -> None:
    api.core.faults.add(FaultOrder(verb="create", resource="pods", code=504, after_effect=True))
    with pytest.raises(ApiError):
        api.create(PODS, pod("a"))
    assert api.get(f"{PODS}/a")["metadata"]["name"] == "a"


def test_a_stale_read_is_of_an_earlier_moment(api: InProcess) -> None:
    api.create(CONFIG_MAPS, config_map("a", x="1"))
    api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "2"}})
    api.core.faults.add(FaultOrder(verb="get", resource="configmaps", stale_by=1))
    assert api.get(f"{CONFIG_MAPS}/a")["data"] == {"x": "1"}
    assert api.get(f"{CONFIG_MAPS}/a")["data"] == {"x": "2"}


def test_a_delay_passes_on_the_callers_clock(api: InProcess, clock: Clock) -> None:
    before = clock()
    api.core.faults.add(FaultOrder(verb="list", delay_seconds=5))
    api.list(PODS)
    assert (clock() - before).total_seconds() == 5


def test_an_expired_watch_is_told_inside_the_stream(api: InProcess) -> None:
    api.core.faults.add(FaultOrder(verb="watch", resource="pods", code=410))
    (event,) = api.watch_since(PODS).poll()
    assert (event.type, event.object["code"]) == ("ERROR", 410)


def test_requests_are_counted_and_writes_apart(api: InProcess) -> None:
    api.core.faults.reset_counts()
    api.create(PODS, pod("a"))
    api.create(PODS, pod("b"), {"dryRun": "All"})
    api.list(PODS)
    assert api.core.faults.mutations() == 1
    counts = {(c["verb"], c["mutating"]): c["count"] for c in api.core.faults.requests()}
    assert counts == {("create", True): 1, ("create", False): 1, ("list", False): 1}


@pytest.mark.parametrize(
    "order", [{"verb": "fly", "code": 500}, {"code": 418}, {}, {"code": 500, "often": 3}]
)
def test_a_bad_order_is_refused(order: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        FaultOrder.model_validate(order)


def test_the_journal_brings_objects_versions_and_history_back(core: Core, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "objects.jsonl")
    first = Core(core.sources, Options())
    first.store.listen(journal.append)
    first.create_default_namespaces()
    api = InProcess(first)
    api.create(CONFIG_MAPS, config_map("a", x="1"))
    version = api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "2"}})["metadata"]["resourceVersion"]
    api.create(CONFIG_MAPS, config_map("b"))
    api.delete(f"{CONFIG_MAPS}/b")
    journal.close()
    with (tmp_path / "objects.jsonl").open("ab") as file:
        file.write(b'{"revision": 99, "cut off')

    again = InProcess(Core(core.sources, Options(), journal.read()))
    assert again.get(f"{CONFIG_MAPS}/a")["metadata"]["resourceVersion"] == version
    assert again.core.store.revision == first.store.revision
    watch = again.watch_since(CONFIG_MAPS, {"resourceVersion": version})
    assert [event.type for event in watch.poll()] == ["ADDED", "DELETED"]


def test_an_http_client_speaks_to_the_core(api: InProcess) -> None:
    client = httpx2.Client(transport=CoreTransport(api), base_url="http://simulated")
    made = client.post(CONFIG_MAPS, json=config_map("a", x="1"))
    assert (made.status_code, made.json()["data"]) == (201, {"x": "1"})
    missing = client.get(f"{CONFIG_MAPS}/b")
    assert (missing.status_code, missing.json()["reason"]) == (404, "NotFound")
    patched = client.patch(
        f"{CONFIG_MAPS}/a",
        json={"data": {"x": "2"}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert patched.json()["data"] == {"x": "2"}
