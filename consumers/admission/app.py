"""The HTTP side of admission: /mutating, /validate and /healthz as plain Starlette routes."""

import time
from collections.abc import Awaitable, Callable

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from consumers.admission.answers import Answers, NotReadyError
from consumers.admission.reviews import Review, ReviewError, read_review, write_answer
from consumers.runtime import metrics
from ledger.rules.admission_decision import Decision

_log = structlog.get_logger(__name__)

SECONDS = metrics.histogram(
    "admission_seconds",
    "Time to answer a review",
    ("path",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0),
)
REVIEWS = metrics.counter("admission_reviews", "Reviews answered", ("path", "outcome"))

#: Far above what an API server accepts as an object (3 MB), twice, with the review around it.
BODY_BYTES_MAX = 16 * 1024 * 1024


def application(answers: Answers) -> Starlette:
    """The ASGI application.

    A decision, also a denial, is HTTP 200. HTTP 400 and 413 mean that the body is no review; 503
    that there is no answer yet and 500 a defect: both leave the Pod to the failurePolicy.
    """

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/mutating", _route("mutating", answers.mutate), methods=["POST"]),
            Route("/validate", _route("validate", answers.validate), methods=["POST"]),
            Route("/healthz", healthz),
        ]
    )


def _route(
    path: str, decide: Callable[[Review], Awaitable[Decision]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        began = time.perf_counter()
        outcome, response = await _answered(request, decide)
        REVIEWS.labels(path=path, outcome=outcome).inc()
        SECONDS.labels(path=path).observe(time.perf_counter() - began)
        return response

    return answer


async def _answered(
    request: Request, decide: Callable[[Review], Awaitable[Decision]]
) -> tuple[str, Response]:
    """The outcome, as the metric names it, and the response."""
    if int(request.headers.get("content-length") or 0) > BODY_BYTES_MAX:
        return "refused", PlainTextResponse("the body is too large\n", status_code=413)
    try:
        review = read_review(await request.body())
        decision = await decide(review)
    except ReviewError as wrong:
        return "refused", PlainTextResponse(f"{wrong}\n", status_code=400)
    except NotReadyError as not_yet:
        return "not ready", PlainTextResponse(f"{not_yet}\n", status_code=503)
    except Exception:  # noqa: BLE001 - the boundary: one bad review must not end the server
        _log.exception("no decision: this is a defect, please report it")
        return "failed", PlainTextResponse("internal error\n", status_code=500)
    _log_decision(review, decision)
    outcome = ("patched" if decision.patch else "allowed") if decision.allowed else "denied"
    body = write_answer(review, decision)
    return outcome, Response(body, media_type="application/json")


def _log_decision(review: Review, decision: Decision) -> None:
    """Denials and changes are worth a line; Pods that pass untouched are not."""
    if decision.allowed and not decision.patch:
        return
    metadata = review.object.get("metadata") or {}
    _log.info(
        "patched" if decision.allowed else "denied",
        kind=review.kind,
        namespace=review.namespace,
        name=metadata.get("name") or metadata.get("generateName"),
        message=decision.message,
        warnings=list(decision.warnings),
    )
