"""resourceVersion, uid, generation, optimistic concurrency and preconditions."""

import pytest

from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from tests.unit.local_kubernetes.shapes import CONFIG_MAPS, POD_ENIS, PODS, config_map, pod, pod_eni


def test_one_counter_runs_through_all_resources(api: InProcess) -> None:
    first = api.create(CONFIG_MAPS, config_map("a", x="1"))
    second = api.create(POD_ENIS, pod_eni("b"))
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, second)]
    assert versions[1] == versions[0] + 1


def test_a_write_that_changes_nothing_keeps_the_version(api: InProcess) -> None:
    made = api.create(CONFIG_MAPS, config_map("a", x="1"))
    again = api.update(f"{CONFIG_MAPS}/a", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_an_update_of_an_old_version_conflicts(api: InProcess) -> None:
    old = api.create(CONFIG_MAPS, config_map("a", x="1"))
    api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "2"}})
    with pytest.raises(ApiError) as refused:
        api.update(f"{CONFIG_MAPS}/a", {**old, "data": {"x": "3"}})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert "the object has been modified" in refused.value.message
    assert api.get(f"{CONFIG_MAPS}/a")["data"] == {"x": "2"}


def test_an_update_with_another_uid_conflicts(api: InProcess) -> None:
    made = api.create(CONFIG_MAPS, config_map("a", x="1"))
    made = {**made, "metadata": {"name": "a", "uid": "someone-else"}}
    with pytest.raises(ApiError) as refused:
        api.update(f"{CONFIG_MAPS}/a", made)
    assert refused.value.code == 409
    assert "UID in precondition: someone-else" in refused.value.message


def test_a_custom_resource_is_not_replaced_without_its_version(api: InProcess) -> None:
    api.create(POD_ENIS, pod_eni("a"))
    with pytest.raises(ApiError) as refused:
        api.update(f"{POD_ENIS}/a", pod_eni("a", zone="z"))
    assert refused.value.code == 422
    assert "metadata.resourceVersion" in refused.value.message


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_delete_preconditions(api: InProcess, field: str) -> None:
    made = api.create(CONFIG_MAPS, config_map("a"))
    with pytest.raises(ApiError) as refused:
        api.delete(f"{CONFIG_MAPS}/a", {"preconditions": {field: "999"}})
    assert refused.value.code == 409
    api.delete(f"{CONFIG_MAPS}/a", {"preconditions": {field: made["metadata"][field]}})
    assert api.list(CONFIG_MAPS)["items"] == []


def test_generation_counts_the_spec_only(api: InProcess) -> None:
    made = api.create(POD_ENIS, pod_eni("a", zone="z"))
    assert made["metadata"]["generation"] == 1
    labelled = api.patch(f"{POD_ENIS}/a", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 1
    shown = api.patch(f"{POD_ENIS}/a/status", {"status": {"phase": "Bind"}})
    assert shown["metadata"]["generation"] == 1
    moved = api.patch(f"{POD_ENIS}/a", {"spec": {"zone": "y"}})
    assert moved["metadata"]["generation"] == 2


def test_status_and_main_endpoint_are_apart(api: InProcess) -> None:
    made = api.create(POD_ENIS, {**pod_eni("a", zone="z"), "status": {"phase": "Bind"}})
    assert "status" not in made
    written = api.update(
        f"{POD_ENIS}/a/status", {**made, "spec": {"zone": "no"}, "status": {"phase": "Bind"}}
    )
    assert (written["spec"]["zone"], written["status"]["phase"]) == ("z", "Bind")
    replaced = api.update(f"{POD_ENIS}/a", {**written, "spec": {"zone": "y"}, "status": {}})
    assert (replaced["spec"]["zone"], replaced["status"]["phase"]) == ("y", "Bind")


def test_a_pod_status_patch_leaves_the_spec(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    patch = {"spec": {"nodeName": "other"}, "status": {"phase": "Running"}}
    shown = api.strategic(f"{PODS}/a/status", patch)
    assert (shown["spec"]["nodeName"], shown["status"]["phase"]) == ("node-1", "Running")


def test_a_pod_spec_is_fixed_but_its_image(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    image = {"spec": {"containers": [{"name": "app", "image": "nginx:2"}]}}
    assert api.strategic(f"{PODS}/a", image)["spec"]["containers"][0]["image"] == "nginx:2"
    with pytest.raises(ApiError) as refused:
        api.strategic(f"{PODS}/a", {"spec": {"nodeName": "node-2"}})
    assert refused.value.code == 422


def test_the_same_seed_and_clock_give_the_same_uids(api: InProcess, core: Core) -> None:
    from deploy.local.kubernetes.core import Options
    from deploy.local.kubernetes.sources import Sources

    twin = Core(Sources.seeded(1, core.sources.now), Options())
    twin.create_default_namespaces()
    other = InProcess(twin)
    names = "/api/v1/namespaces/kube-system"
    assert other.get(names)["metadata"]["uid"] == api.get(names)["metadata"]["uid"]


def test_generate_name(api: InProcess) -> None:
    body = {**pod("x"), "metadata": {"generateName": "web-"}}
    first, second = api.create(PODS, body), api.create(PODS, body)
    assert first["metadata"]["name"].startswith("web-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_dry_run_commits_nothing(api: InProcess, core: Core) -> None:
    before = core.store.revision
    api.create(PODS, pod("a"), {"dryRun": "All"})
    assert core.store.revision == before
    with pytest.raises(ApiError):
        api.get(f"{PODS}/a")


def test_an_unknown_namespace_is_not_found(api: InProcess) -> None:
    with pytest.raises(ApiError) as refused:
        api.create("/api/v1/namespaces/nowhere/pods", pod("a"))
    assert (refused.value.code, refused.value.message) == (404, 'namespaces "nowhere" not found')


def test_already_exists(api: InProcess) -> None:
    api.create(PODS, pod("a"))
    with pytest.raises(ApiError) as refused:
        api.create(PODS, pod("a"))
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")
