"""The audit API over a real ledger: what is answered, page by page, and what is refused in words."""

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from consumers.console.exports import _cell
from ledger.audit.pages import ENTRIES, stream
from ledger.rules.entries import Address
from tests.integration.console.conftest import ASKING, MARKUP, console_app
from tests.simulation.ground import START
from tests.simulation.world import CLUSTER, SimulatedWorld

Addresses = Callable[[str], Address]
TENURES = "/api/v1/tenures"


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["type"]) == (status, "about:blank")
    assert found["title"]
    assert found["detail"]
    return found


def whole(client: TestClient, path: str, **asked: Any) -> list[dict[str, Any]]:
    """Every item of a list, two a page."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = client.get(
            path, params={**asked, "limit": 2} | ({"cursor": cursor} if cursor else {})
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["cluster"] == CLUSTER
        assert len(page["items"]) <= 2
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


# ------------------------------------------------------------------------------ history


def test_an_ip_is_answered_with_periods_and_why(api: TestClient, address: Addresses) -> None:
    held = address("web-0")
    answer = api.get(f"{TENURES}/ip", params={"value": held.ipv4}).json()
    assert (answer["cluster"], answer["managed"], answer["value"]) == (CLUSTER, True, held.ipv4)
    ours = [each for each in answer["items"] if each["pod"] == "web-0"]
    kinds = [each["kind"] for each in ours if each["kind"] in ("bound", "reserved")]
    assert kinds == ["bound", "reserved", "bound"]
    assert {each["node"] for each in ours if each["kind"] == "bound"} == {"node-h1", "node-h2"}
    assert ours[-1]["until"] is None
    assert all(each["opened"]["entry"] and each["opened"]["cause"] for each in ours)
    for key, value in (("eni", held.eni), ("mac", held.mac.upper().replace(":", "-"))):
        same = api.get(f"{TENURES}/{key}", params={"value": value}).json()
        assert same["items"] == answer["items"]
    of_pod = api.get(f"{TENURES}/pod", params={"value": "example/web-0"}).json()["items"]
    assert of_pod == ours


def test_periods_come_in_pages_that_lose_and_repeat_nothing(
    api: TestClient, address: Addresses
) -> None:
    value = address("web-0").ipv4
    at_once = api.get(f"{TENURES}/ip", params={"value": value, "limit": 1000}).json()["items"]
    assert len(at_once) > 4
    assert whole(api, f"{TENURES}/ip", value=value) == at_once


@pytest.mark.parametrize(
    ("key", "value"),
    [("node", "node-h1"), ("vswitch", "vsw-bpxxxx"), ("security-group", "sg-bpxxxx")],
)
def test_what_many_pods_use_is_paged_too(api: TestClient, key: str, value: str) -> None:
    at_once = api.get(f"{TENURES}/{key}", params={"value": value, "limit": 1000}).json()["items"]
    assert {"web-0", "web-1", "job-0"} <= {each["pod"] for each in at_once}
    assert whole(api, f"{TENURES}/{key}", value=value) == at_once


def test_a_period_cites_message_decision_and_requests(api: TestClient, address: Addresses) -> None:
    items = api.get(f"{TENURES}/ip", params={"value": address("web-0").ipv4}).json()["items"]
    bound = next(each for each in items if each["kind"] == "bound")
    assert bound["message"]["topic"] == "eni-ledger.pod.v1"
    assert bound["message"]["event"]
    assert bound["decision"]["kind"] == "requested"
    assert bound["requests"]
    assert all(each["request_id"] for each in bound["requests"])
    assert bound["security_groups"] == ["sg-bpxxxx"]


def test_a_moment_and_a_span_narrow_the_answer(
    world: SimulatedWorld, api: TestClient, address: Addresses
) -> None:
    value = address("web-0").ipv4
    asked = {"value": value, "at": (START + timedelta(minutes=20)).isoformat()}
    [then] = api.get(f"{TENURES}/ip", params=asked).json()["items"]
    assert (then["kind"], then["pod"]) == ("reserved", "web-0")
    span = {"value": value, "from": asked["at"], "to": world.time.isoformat()}
    later = api.get(f"{TENURES}/ip", params=span).json()["items"]
    assert later[0] == then
    before = {"value": value, "to": START.isoformat()}
    answer = api.get(f"{TENURES}/ip", params=before).json()
    assert (answer["items"], answer["managed"]) == ([], True)


def test_what_is_not_ours_is_said_so(api: TestClient) -> None:
    answer = api.get(f"{TENURES}/ip", params={"value": "10.9.9.9"}).json()
    assert (answer["managed"], answer["items"], answer["reported_by"]) == (False, [], [])


def test_the_story_of_an_allocation_cites_messages_and_requests(
    api: TestClient, address: Addresses
) -> None:
    period = api.get(f"{TENURES}/eni", params={"value": address("web-0").eni}).json()["items"][0]
    allocation = period["allocation_id"]
    story = whole(api, f"/api/v1/allocations/{allocation}/entries")
    assert [each["version"] for each in story] == list(range(1, len(story) + 1))
    assert story[0]["kind"] == "requested"
    causes = [each["cause"] for each in story]
    assert any(each.get("topic") == "eni-ledger.pod.v1" and "offset" in each for each in causes)
    assert any(each.get("request_id") for each in causes)
    found = api.get(f"/api/v1/allocations/{allocation}").json()
    assert found["pod"] == period["pod"]
    calls = whole(api, "/api/v1/calls", allocation=allocation)
    assert {"CreateNetworkInterface", "AttachNetworkInterface"} <= {each["api"] for each in calls}
    times = [each["intended_at"] for each in calls]
    assert times == sorted(times, reverse=True)


def test_allocations_by_filter(api: TestClient) -> None:
    live = whole(api, "/api/v1/allocations")
    assert [each["pod"] for each in live] == ["web-0", "web-1", "web-2"]
    assert [each["pod"] for each in whole(api, "/api/v1/allocations", phase="reserved")] == [
        "web-1"
    ]
    assert {each["pod"] for each in whole(api, "/api/v1/allocations", phase="released")} == {
        "job-0",
        "job-1",
    }
    on_node = whole(api, "/api/v1/allocations", node="node-h2")
    assert [each["pod"] for each in on_node] == ["web-0"]
    assert whole(api, "/api/v1/allocations", parked=True) == []


def test_calls_by_filter(api: TestClient) -> None:
    every = whole(api, "/api/v1/calls")
    assert len(every) > 8
    deletes = whole(api, "/api/v1/calls", api="DeleteNetworkInterface", outcome="done")
    assert {each["pod"] for each in deletes} == {"job-0", "job-1"}
    assert whole(api, "/api/v1/calls", outcome="open") == []
    span = {"from": every[3]["intended_at"], "to": every[0]["intended_at"]}
    inside = whole(api, "/api/v1/calls", **span)
    assert inside == [each for each in every if span["from"] <= each["intended_at"] < span["to"]]


# ------------------------------------------------------------------------------ the fleet


def test_the_overview_counts_the_fleet(api: TestClient) -> None:
    told = api.get("/api/v1/overview").json()
    counted = {name: told[name] for name in ("bound", "reserved", "preparing", "parked", "waiting")}
    assert counted == {"bound": 2, "reserved": 1, "preparing": 0, "parked": 0, "waiting": 1}
    assert (told["drift"], told["dead_letters"], told["open_calls"]) == (1, 1, 0)
    assert [each["scope"] for each in told["brakes"]] == ["destructive"]


def test_vswitches_say_how_full_they_are(api: TestClient, address: Addresses) -> None:
    told = {each["vswitch"]: each for each in api.get("/api/v1/vswitches").json()["items"]}
    ours = told[address("web-0").vswitch]
    assert (ours["in_use"], ours["reserved"]) == (2, 1)
    assert 0 < ours["free"] <= ours["size"]
    assert ours["trend"]


def test_nodes_say_how_many_slots_are_left(api: TestClient) -> None:
    nodes = {each["node"]: each for each in api.get("/api/v1/nodes").json()["items"]}
    assert nodes["node-h2"]["attached"] == 1
    assert nodes["node-h2"]["free"] == nodes["node-h2"]["slots"] - 1


def test_reservations_say_until_when(api: TestClient, address: Addresses) -> None:
    [kept] = whole(api, "/api/v1/reservations")
    assert (kept["pod"], kept["ipv4"]) == ("web-1", address("web-1").ipv4)
    assert kept["due"]
    assert whole(api, "/api/v1/reservations", namespace="elsewhere") == []


def test_what_needs_a_person(api: TestClient) -> None:
    [waits] = whole(api, "/api/v1/waiting")
    assert (waits["namespace"], waits["name"], waits["attempts"]) == ("shop", "api-7", 5)
    [stray] = whole(api, "/api/v1/drift")
    assert (stray["eni"], stray["kind"]) == ("eni-stray", "unknown-intent")
    assert whole(api, "/api/v1/drift", accepted=True) == []


def test_a_dead_letter_tells_the_reason_and_not_its_contents(api: TestClient) -> None:
    answer = api.get("/api/v1/dead-letters")
    [letter] = answer.json()["items"]
    assert (letter["topic"], letter["offset"], letter["bytes"]) == ("eni-ledger.pod.v1", 41, 23)
    assert letter["message"] == f"data: {MARKUP}"
    assert "hunter2" not in answer.text


# ------------------------------------------------------------------------------ asking


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (" 192.168.0.9 ", [("ip", "192.168.0.9")]),
        ("2408:4005:3AA::1", [("ip", "2408:4005:3aa::1")]),
        ("00-16-3E-01-02-03", [("mac", "00:16:3e:01:02:03")]),
        ("eni-bp1", [("eni", "eni-bp1")]),
        ("shop/web-9", [("pod", "shop/web-9")]),
        ("web-0", [("pod", "example/web-0")]),
        ("node-h2", [("node", "node-h2")]),
        (MARKUP, []),
        ("'; DROP TABLE ledger.entry; --", []),
    ],
)
def test_a_search_is_understood(api: TestClient, q: str, expected: list[tuple[str, str]]) -> None:
    found = api.get("/api/v1/search", params={"q": q}).json()["items"]
    assert [(each["key"], each["value"]) for each in found] == expected


def test_whoami_names_the_caller_and_what_may_be_asked(api: TestClient) -> None:
    told = api.get("/api/v1/whoami").json()
    assert (told["name"], told["cluster"], told["authentication"]) == ("ann", CLUSTER, "tokens")
    assert {"ip", "pod", "eni", "mac"} <= set(told["keys"])


def test_a_pod_is_explained_as_the_command_line_does(api: TestClient) -> None:
    told = api.get("/api/v1/pods/example/web-0/explain").json()
    assert told["pod"] == "example/web-0"
    assert told["verdict"]
    assert [each["podNetworking"] for each in told["considered"]] == ["example"]
    missing = problem(api.get("/api/v1/pods/example/nobody/explain"), 404)
    assert "does not exist" in missing["detail"]


def test_without_a_cluster_explain_says_so(reader_dsn: str) -> None:
    with console_app(reader_dsn) as built, TestClient(built, headers=ASKING) as api:
        told = problem(api.get("/api/v1/pods/example/web-0/explain"), 503)
    assert "no cluster in this test" in told["detail"]


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2fb", "A", "x" * 300, "-a"])
def test_explain_asks_the_api_server_for_nothing_but_pods(api: TestClient, name: str) -> None:
    assert api.get(f"/api/v1/pods/example/{name}/explain").status_code in (404, 422)


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "value", ["not-an-ip", "1.2.3", "\U0001f600", "fe80::1%eth0", "10.0.0.0/8"]
)
def test_a_value_that_is_no_address_is_a_problem_in_words(api: TestClient, value: str) -> None:
    told = problem(api.get(f"{TENURES}/ip", params={"value": value}), 422)
    assert told["errors"][0]["name"] == "value"


@pytest.mark.parametrize("key", ["ip", "eni", "mac", "pod"])
def test_nul_is_refused_and_not_passed_on(api: TestClient, key: str) -> None:
    problem(api.get(f"{TENURES}/{key}?value=a%00b"), 422)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "value=",
        "value=" + "x" * 513,
        "value=10.0.0.1&at=yesterday",
        "value=10.0.0.1&at=",
        "value=10.0.0.1&at=2026-01-01T00:00:00",
        "value=10.0.0.1&at=0001-01-01T00:00:00Z",
        "value=10.0.0.1&at=9999-12-31T23:59:59Z",
        "value=10.0.0.1&at=0001-01-01T00:00:00%2B14:00",
        "value=10.0.0.1&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "value=10.0.0.1&limit=0",
        "value=10.0.0.1&limit=1001",
        "value=10.0.0.1&limit=99999999999999999999",
        "value=10.0.0.1&cursor=nonsense",
        "value=10.0.0.1&cursor=WyJ0ZW51cmVzL2lwLzEwLjAuMC4xIiwieCIsInkiXQ",
    ],
)
def test_wrong_queries_are_refused(api: TestClient, query: str) -> None:
    told = problem(api.get(f"{TENURES}/ip?{query}"), 422)
    assert told["errors"]


@pytest.mark.parametrize("query", ["form=2026-01-01T00:00:00Z", "=x", "limit=5&limit=6"])
def test_a_parameter_that_is_unknown_or_repeated_is_refused(api: TestClient, query: str) -> None:
    """A misspelt filter that is ignored would answer another question than was asked."""
    told = problem(api.get(f"/api/v1/calls?{query}"), 422)
    assert told["errors"][0]["name"] == query.partition("=")[0]


def test_a_time_without_a_zone_is_told_what_is_missing(api: TestClient) -> None:
    asked = {"value": "10.0.0.1", "at": "2026-01-01T00:00:00"}
    assert "time zone" in problem(api.get(f"{TENURES}/ip", params=asked), 422)["detail"]


def test_a_cursor_of_another_list_is_refused(api: TestClient) -> None:
    cursor = api.get("/api/v1/calls", params={"limit": 1}).json()["next"]
    told = problem(api.get("/api/v1/allocations", params={"cursor": cursor}), 422)
    assert told["errors"][0]["name"] == "cursor"


def test_what_does_not_exist_is_a_problem(api: TestClient) -> None:
    problem(api.get(f"{TENURES}/vlan", params={"value": "1"}), 422)
    problem(api.get("/api/v1/nothing"), 404)
    problem(api.get("/api/v1/allocations/00000000-0000-0000-0000-000000000000"), 404)
    assert (
        api.get("/api/v1/allocations/00000000-0000-0000-0000-000000000000/entries").json()["items"]
        == []
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(api: TestClient, method: str) -> None:
    problem(api.request(method, "/api/v1/reservations"), 405)


def test_a_question_can_t_write_even_as_the_owner(world: SimulatedWorld) -> None:
    from consumers.console.desk import Desk
    from consumers.runtime.settings import Settings
    from ledger.store.database import Database

    database = Database(world.dsn, pool_size=1)
    desk = Desk(Settings(cluster_id=CLUSTER), database)
    with pytest.raises(Exception, match="read-only transaction"), desk.looking() as connection:
        connection.exec_driver_sql("DELETE FROM ledger.work")
    database.close()


def test_no_answer_mixes_clusters(
    api: TestClient, elsewhere: TestClient, address: Addresses
) -> None:
    held = address("web-0")
    for key, value in (
        ("ip", held.ipv4),
        ("eni", held.eni),
        ("mac", held.mac),
        ("pod", "example/web-0"),
    ):
        answer = elsewhere.get(f"{TENURES}/{key}", params={"value": value}).json()
        assert (answer["items"], answer["reported_by"], answer["managed"]) == ([], [], False)
    for path in ("allocations", "reservations", "calls", "waiting"):
        assert elsewhere.get(f"/api/v1/{path}").json()["items"] == []
    assert [each["eni"] for each in elsewhere.get("/api/v1/drift").json()["items"]] == [
        "eni-theirs"
    ]
    letters = elsewhere.get("/api/v1/dead-letters").json()["items"]
    assert [each["message"] for each in letters] == ["theirs"]
    told = elsewhere.get("/api/v1/overview").json()
    assert (told["bound"], told["waiting"], told["brakes"], told["drift"]) == (0, 0, [], 1)
    allocation = api.get("/api/v1/allocations").json()["items"][0]["allocation_id"]
    problem(elsewhere.get(f"/api/v1/allocations/{allocation}"), 404)
    assert elsewhere.get(f"/api/v1/allocations/{allocation}/entries").json()["items"] == []
    assert held.vswitch not in [
        each["vswitch"] for each in elsewhere.get("/api/v1/vswitches").json()["items"]
    ]
    assert elsewhere.get("/api/v1/search", params={"q": "web-0"}).json()["items"] == []
    for what in ("tenures", "entries", "calls", "allocations"):
        assert elsewhere.get(f"/api/v1/exports/{what}").text == ""


# ------------------------------------------------------------------------------ failures


def test_a_database_that_is_away_is_said_so() -> None:
    dsn = "postgresql://127.0.0.1:1/nothing"
    with console_app(dsn) as built, TestClient(built, headers=ASKING) as api:
        for path in ("reservations", "exports/entries"):
            answer = api.get(f"/api/v1/{path}")
            problem(answer, 503)
            assert "127.0.0.1" not in answer.text


def test_a_database_without_our_schema_is_said_so(empty_database: str) -> None:
    with console_app(empty_database) as built, TestClient(built, headers=ASKING) as api:
        assert "eni-ledger migrate" in problem(api.get("/api/v1/overview"), 503)["detail"]


def test_a_login_that_may_not_read_is_told_what_to_grant(
    world: SimulatedWorld, reader_dsn: str
) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute("REVOKE eni_ledger_auditor FROM console_reader")
        try:
            with console_app(reader_dsn) as built, TestClient(built, headers=ASKING) as api:
                told = problem(api.get("/api/v1/overview"), 503)
        finally:
            connection.execute("GRANT eni_ledger_auditor TO console_reader")
    assert "eni_ledger_auditor" in told["detail"]


def test_a_defect_is_a_problem_without_its_trace(
    reader_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("SELECT secrets")

    monkeypatch.setattr("ledger.audit.overview.fleet", broken)
    with (
        console_app(reader_dsn) as built,
        TestClient(built, headers=ASKING, raise_server_exceptions=False) as api,
        caplog.at_level(logging.CRITICAL),
    ):
        answer = api.get("/api/v1/overview")
    problem(answer, 500)
    assert "SELECT" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"]


# ------------------------------------------------------------------------------ exports


def test_exports_hold_every_row(world: SimulatedWorld, api: TestClient) -> None:
    counted = {
        "tenures": "ledger.tenure",
        "entries": "ledger.entry WHERE cluster = 'c-simulated'",
        "calls": "ledger.cloud_call",
        "allocations": "ledger.allocation",
    }
    for what, table in counted.items():
        [(count,)] = world.ground.rows(f"SELECT count(*) FROM {table}")
        answer = api.get(f"/api/v1/exports/{what}")
        assert answer.headers["content-type"] == "application/x-ndjson"
        rows = [json.loads(line) for line in answer.text.splitlines()]
        assert len(rows) == count > 4
        answer = api.get(f"/api/v1/exports/{what}", params={"format": "csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert len(answer.text.splitlines()) == count + 1


def test_exports_of_a_span(world: SimulatedWorld, api: TestClient) -> None:
    half = START + timedelta(minutes=20)
    for what, column in (("entries", "recorded_at"), ("calls", "intended_at")):
        early = api.get(
            f"/api/v1/exports/{what}", params={"to": half.isoformat()}
        ).text.splitlines()
        late = api.get(
            f"/api/v1/exports/{what}", params={"from": half.isoformat()}
        ).text.splitlines()
        both = api.get(f"/api/v1/exports/{what}").text.splitlines()
        assert sorted(early + late) == sorted(both)
        assert all(json.loads(line)[column] < half.isoformat()[:19] for line in early)
    refused = api.get("/api/v1/exports/allocations", params={"from": half.isoformat()})
    problem(refused, 422)


def test_an_export_is_read_from_a_cursor_of_the_server(world: SimulatedWorld) -> None:
    with world.database.transaction() as connection:
        rows = stream(connection, ENTRIES, CLUSTER, {})
        assert next(rows)["entry"] == 1
        open_cursors = connection.exec_driver_sql("SELECT count(*) FROM pg_cursors").scalar_one()
        assert open_cursors == 1
        rows.close()


def test_readers_that_break_off_take_no_place(reader_dsn: str) -> None:
    with console_app(reader_dsn, pool_size=2) as built, TestClient(built, headers=ASKING) as api:
        for _ in range(5):
            with api.stream("GET", "/api/v1/exports/entries") as answer:
                assert answer.status_code == 200
        assert api.get("/api/v1/overview").status_code == 200


def test_a_spreadsheet_is_given_no_formula() -> None:
    assert _cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert _cell({"b": 1, "a": "=x"}) == '{"a": "=x", "b": 1}'
    assert _cell(-1) == -1
