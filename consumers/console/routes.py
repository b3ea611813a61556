"""The questions: whose was it, what is kept, what was called, how full, what needs a person, and why."""

from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from itertools import islice
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from sqlalchemy import Connection

from consumers.console import models
from consumers.console.desk import (
    CURSOR_CHARACTERS_MAX,
    Desk,
    moment,
    read_cursor,
    span,
    storable,
    write_cursor,
)
from consumers.console.problems import Problem
from consumers.kube.explaining import NothingToExplain, explain_live_pod
from consumers.kube.port import KubeError
from consumers.runtime.errors import OperatorError
from consumers.runtime.policy import pod_policy
from ledger.audit import overview, pages
from ledger.audit.capacity import node_capacity, vswitch_capacity
from ledger.audit.periods import Key, Tenure, When, each_tenure
from ledger.audit.questions import pods_reporting
from ledger.rules.admission_explanation import as_document
from ledger.rules.objects import ObjectError
from ledger.store.database import ledger_now

LIMIT_MAX = 1000
DNS_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"

Cursor = Annotated[
    str | None, Query(max_length=CURSOR_CHARACTERS_MAX, description="`next` of the page before")
]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="items on a page")]
At = Annotated[
    datetime | None, Query(description="a moment, with a time zone: only what held then")
]
From = Annotated[datetime | None, Query(alias="from", description="with a time zone; inclusive")]
To = Annotated[datetime | None, Query(description="with a time zone; exclusive")]
Text = Annotated[str | None, Query(max_length=253)]
Value = Annotated[
    str,
    Query(
        min_length=1,
        max_length=512,
        description="an IP or MAC address, an id or a name; a Pod as namespace/name",
    ),
]


def tenure_routes(desk: Desk) -> APIRouter:
    """Who held what, and when."""
    routes = APIRouter(tags=["history"])

    @routes.get("/tenures/{key}")
    def read_tenures(
        key: Key, value: Value, at: At = None, start: From = None, to: To = None,
        cursor: Cursor = None, limit: Limit = 100,
    ) -> models.Tenures:  # fmt: skip
        """Who held it, from when to when, and why, oldest first; with `at`, at that moment only."""
        try:
            asked = overview.canonical(key, value)
        except ValueError as wrong:
            raise Problem(422, str(wrong), parameter="value") from wrong
        when, (begin, end) = moment("at", at), span(start, to)
        name = f"tenures/{key}/{asked}"
        after = None if cursor is None else _place_in(read_cursor(name, cursor, 2))
        # Periods come in the order of their beginnings: those before the cursor's are over, or last.
        whole = When(when, max(filter(None, (begin, after and after[0])), default=None), end)
        with desk.looking() as connection:
            found = islice(
                (
                    each
                    for each in each_tenure(connection, desk.cluster, key, asked, whole)
                    if after is None or _place(each) > after
                ),
                limit + 1,
            )
            shown = list(found)
            managed = bool(shown) or _known(connection, desk.cluster, key, asked)
            reporting = (
                pods_reporting(connection, desk.cluster, asked)
                if key == "ip" and not managed
                else []
            )
            now = ledger_now(connection)
        following = None
        if len(shown) > limit:
            since, entry = _place(shown[limit - 1])
            following = write_cursor(name, (since.isoformat(), str(entry)))
        return models.Tenures.model_validate(
            {
                "cluster": desk.cluster,
                "as_of": now,
                "key": key,
                "value": asked,
                "managed": managed,
                "reported_by": reporting,
                "items": shown[:limit],
                "next": following,
            }
        )

    return routes


def allocation_routes(desk: Desk) -> APIRouter:
    """Each Pod interface's address: how it stands, its story, and the cloud calls made for it."""
    routes = APIRouter(tags=["history"])

    @routes.get("/allocations")
    def read_allocations(
        phase: models.Phase | None = None, namespace: Text = None, pod: Text = None,
        node: Text = None, vswitch: Text = None, parked: bool | None = None,
        cursor: Cursor = None, limit: Limit = 100,
    ) -> models.Page[models.Allocation]:  # fmt: skip
        """Live allocations by namespace and Pod; released ones where `phase` says so."""
        filters = {
            "phase": phase,
            "namespace": storable("namespace", namespace),
            "pod": storable("pod", pod),
            "node": storable("node", node),
            "vswitch": storable("vswitch", vswitch),
            "parked": parked,
            "live": True if phase is None else None,
        }
        found = desk.page(pages.ALLOCATIONS, "allocations", filters, cursor, limit)
        return models.Page[models.Allocation].model_validate(found)

    @routes.get("/allocations/{allocation}")
    def read_allocation(allocation: UUID) -> models.Allocation:
        """One allocation as it stands now, also a released one."""
        found = desk.page(pages.ALLOCATIONS, "allocation", {"allocation": allocation}, None, 1)
        if not found["items"]:
            raise Problem(404, f"this cluster has no allocation {allocation}")
        return models.Allocation.model_validate(found["items"][0])

    @routes.get("/allocations/{allocation}/entries")
    def read_story(
        allocation: UUID, cursor: Cursor = None, limit: Limit = 100
    ) -> models.Page[models.Entry]:
        """The story of an allocation: every entry, oldest first, each with what led to it."""
        filters = {"allocation": allocation}
        found = desk.page(pages.STORY, f"entries/{allocation}", filters, cursor, limit)
        return models.Page[models.Entry].model_validate(found)

    @routes.get("/calls")
    def read_calls(
        api: Text = None, outcome: models.Outcome | None = None, allocation: UUID | None = None,
        start: From = None, to: To = None, cursor: Cursor = None, limit: Limit = 100,
    ) -> models.Page[models.Call]:  # fmt: skip
        """Cloud calls as they were intended and what became of them, the newest first."""
        begin, end = span(start, to)
        filters = {
            "api": storable("api", api),
            "outcome": None if outcome == "open" else outcome,
            "open": True if outcome == "open" else None,
            "allocation": allocation,
            "start": begin,
            "end": end,
        }
        found = desk.page(pages.CALLS, "calls", filters, cursor, limit)
        return models.Page[models.Call].model_validate(found)

    return routes


def fleet_routes(desk: Desk) -> APIRouter:
    """How the fleet stands, and what needs a person."""
    routes = APIRouter(tags=["fleet"])

    @routes.get("/overview")
    def read_overview() -> models.Overview:
        """How many interfaces are bound, reserved, waiting or parked, and what stands still."""
        with desk.looking() as connection:
            found = overview.fleet(connection, desk.cluster)
        return models.Overview.model_validate({"cluster": desk.cluster, **asdict(found)})

    @routes.get("/vswitches")
    def read_vswitches() -> models.VSwitches:
        """How full each vSwitch is and when it will be at this pace, the fullest first."""
        with desk.looking() as connection:
            now = ledger_now(connection)
            found = vswitch_capacity(connection, desk.cluster, now)
        found.sort(key=lambda each: (each.free, each.vswitch))
        return models.VSwitches.model_validate(
            {"cluster": desk.cluster, "as_of": now, "items": found}
        )

    @routes.get("/nodes")
    def read_nodes() -> models.Nodes:
        """How many member ENIs each node can still take, the fullest first."""
        with desk.looking() as connection:
            found = node_capacity(connection, desk.cluster)
        found.sort(key=lambda each: (each.free, each.node))
        return models.Nodes.model_validate({"cluster": desk.cluster, "items": found})

    @routes.get("/reservations")
    def read_reservations(
        namespace: Text = None, vswitch: Text = None, cursor: Cursor = None, limit: Limit = 100
    ) -> models.Page[models.Reservation]:
        """Addresses kept for Pods that are away, the first to expire first."""
        filters = {
            "namespace": storable("namespace", namespace),
            "vswitch": storable("vswitch", vswitch),
        }
        found = desk.page(pages.RESERVATIONS, "reservations", filters, cursor, limit)
        return models.Page[models.Reservation].model_validate(found)

    @routes.get("/waiting")
    def read_waiting(cursor: Cursor = None, limit: Limit = 100) -> models.Page[models.Waiting]:
        """What can't go on yet, and what it waits for."""
        found = desk.page(pages.WAITING, "waiting", {}, cursor, limit)
        return models.Page[models.Waiting].model_validate(found)

    @routes.get("/drift")
    def read_drift(
        accepted: bool | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> models.Page[models.Disagreement]:
        """ENIs in quarantine: the cloud and this ledger disagree about them."""
        found = desk.page(pages.DRIFT, "drift", {"accepted": accepted}, cursor, limit)
        return models.Page[models.Disagreement].model_validate(found)

    @routes.get("/dead-letters")
    def read_dead_letters(
        redriven: bool | None = None, cursor: Cursor = None, limit: Limit = 100
    ) -> models.Page[models.DeadLetter]:
        """Messages that could not be taken in, oldest first: where they are and why, never what."""
        filters = {"redriven": redriven}
        found = desk.page(pages.DEAD_LETTERS, "dead-letters", filters, cursor, limit)
        return models.Page[models.DeadLetter].model_validate(found)

    return routes


def asking_routes(desk: Desk, authentication: str) -> APIRouter:
    """Who asks, what a word may mean, and why a Pod has the network it has."""
    routes = APIRouter(tags=["asking"])

    @routes.get("/whoami")
    def read_whoami(request: Request) -> models.WhoAmI:
        """Whose token this is, and what may be asked about."""
        return models.WhoAmI(
            name=request.state.caller,
            cluster=desk.cluster,
            authentication=authentication,
            version=version("eni-ledger"),
            keys=list(overview.KEYS),
        )

    @routes.get("/search")
    def read_search(
        q: Annotated[str, Query(min_length=1, max_length=512)],
    ) -> models.Meanings:
        """What a word may mean: an IP or MAC address, an ENI, a Pod with or without namespace, a node."""
        asked = storable("q", q)
        assert asked is not None
        with desk.looking() as connection:
            found = overview.meanings(connection, desk.cluster, asked)
        return models.Meanings.model_validate({"cluster": desk.cluster, "items": found})

    @routes.get("/pods/{namespace}/{name}/explain")
    def read_explanation(
        namespace: Annotated[str, InPath(pattern=DNS_NAME)],
        name: Annotated[str, InPath(pattern=DNS_NAME)],
    ) -> models.Explained:
        """Why a Pod has the network it has: the live cluster is looked at, and admission asked again."""
        if desk.kube is None:
            raise Problem(503, f"the cluster can't be asked: {desk.no_kube}")
        policy = pod_policy(desk.settings.policy, desk.settings.webhook)
        try:
            found = explain_live_pod(desk.kube, namespace, name, policy)
        except NothingToExplain as missing:
            raise Problem(404, str(missing)) from missing
        except (KubeError, OperatorError) as failed:
            raise Problem(503, f"the cluster can't be asked: {failed}") from failed
        except ObjectError as wrong:
            raise Problem(422, f"Pod {namespace}/{name} can't be explained: {wrong}") from wrong
        return models.Explained.model_validate(as_document(found))

    return routes


def _known(connection: Connection, cluster: str, key: Key, value: str) -> bool:
    """Whether there is any period at all: an address may be ours and held by nobody at a moment."""
    return next(each_tenure(connection, cluster, key, value), None) is not None


def _place(each: Tenure) -> tuple[datetime, int]:
    return each.since, each.opened.entry


def _place_in(cursor: tuple[str, ...]) -> tuple[datetime, int]:
    try:
        since, entry = moment("cursor", datetime.fromisoformat(cursor[0])), int(cursor[1])
    except ValueError as wrong:
        raise Problem(422, "no cursor of this list", parameter="cursor") from wrong
    assert since is not None
    return since, entry
