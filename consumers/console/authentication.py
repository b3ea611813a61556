"""Who asks, and whether they may: static tokens, or Kubernetes' own tokens and rights."""

import asyncio
import hashlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import httpx2
import structlog
from lightkube.core.exceptions import ConfigError

from consumers.console.problems import Problem
from consumers.kube import wire
from consumers.kube.port import KubeError, KubeObject
from consumers.kube.resources import Resource
from consumers.runtime.settings import ConsoleSettings, KubeSettings

_log = structlog.get_logger(__name__)

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)

#: The non-resource URL that a ClusterRole grants; each part of the API is one below it. Not the
#: API's own path: every authenticated identity may `get /api/*` by the default role system:discovery.
RIGHTS = "/eni-ledger/audit"

#: Longer than any token that an API server signs.
TOKEN_CHARACTERS_MAX = 16_384
REMEMBERED_MAX = 4096
#: Callers with unknown tokens share these; known ones never wait.
REVIEWS_AT_ONCE = 8


class Authenticator(Protocol):
    """Decides about each request."""

    #: As `GET /api/v1/whoami` names it.
    method: str

    async def admit(self, token: str, part: str) -> str:
        """The caller's name, when `token` may read `part` of the API, for example `tenures`.

        Raises Problem: 401 for an unknown token, 403 without the right, 503 when nobody can tell.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def unknown_token() -> Problem:
    """The answer to no token and to a wrong one."""
    return Problem(
        401,
        "a bearer token is needed: Authorization: Bearer …",
        headers={"WWW-Authenticate": "Bearer"},
    )


class StaticTokens:
    """Tokens from the settings. Without any, nobody is admitted."""

    method = "tokens"

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = {name: token.encode() for name, token in tokens.items()}

    async def admit(self, token: str, part: str) -> str:
        """See Authenticator. A static token may read everything."""
        given = token.encode("utf-8", "surrogateescape")
        # All of them are compared, so that the time tells nothing about which was close.
        found = [n for n, known in self._tokens.items() if secrets.compare_digest(given, known)]
        if not found:
            raise unknown_token()
        return found[0]

    async def close(self) -> None:
        """Nothing is open."""


class KubernetesIdentities:
    """TokenReview says whose token it is, SubjectAccessReview whether they may `get` RIGHTS/<part>.

    Admissions are remembered for `remember_s` seconds, refusals are not. A token that is revoked is
    good for that long.
    """

    method = "kubernetes"

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        audiences: tuple[str, ...] = (),
        remember_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._audiences = audiences
        self._remember_s = remember_s
        self._clock = clock
        self._admitted: OrderedDict[tuple[bytes, str], tuple[str, float]] = OrderedDict()
        self._reviewing = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def admit(self, token: str, part: str) -> str:
        """See Authenticator."""
        key = (hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), part)
        known = self._admitted.get(key)
        if known is not None and self._clock() < known[1]:
            return known[0]
        async with self._reviewing:
            try:
                user = await self._whose(token)
                allowed = await self._may(user, part)
            except KubeError as failed:
                _log.error("the API server can't say who asks", cause=str(failed))
                raise Problem(
                    503,
                    "the API server can't say whose token this is: see the console's log",
                    headers={"Retry-After": "1"},
                ) from failed
        name = str(user.get("username") or "")
        if not allowed:
            raise Problem(
                403,
                f"{name} may not read this: grant verb get on nonResourceURLs {RIGHTS}/{part} "
                f"(or {RIGHTS}/*) with a ClusterRole",
            )
        self._remember(key, name)
        return name

    async def close(self) -> None:
        """Release the connections to the API server."""
        await self._client.aclose()

    async def _whose(self, token: str) -> KubeObject:
        spec: KubeObject = {"token": token}
        if self._audiences:
            spec["audiences"] = list(self._audiences)
        status = await self._review(TOKEN_REVIEWS, "TokenReview", spec)
        user = status.get("user")
        good = status.get("authenticated") is True and isinstance(user, dict)
        if good and self._audiences:
            # A server that knows nothing of audiences answers without them: then nobody checked.
            good = bool(set(self._audiences) & set(status.get("audiences") or ()))
        if not good or not isinstance(user, dict) or not user.get("username"):
            raise unknown_token()
        return user

    async def _may(self, user: KubeObject, part: str) -> bool:
        spec: KubeObject = {
            "user": user["username"],
            "uid": user.get("uid") or "",
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": f"{RIGHTS}/{part}", "verb": "get"},
        }
        status = await self._review(ACCESS_REVIEWS, "SubjectAccessReview", spec)
        return status.get("allowed") is True and status.get("denied") is not True

    async def _review(self, resource: Resource, kind: str, spec: KubeObject) -> dict[str, Any]:
        body = {"apiVersion": f"{resource.group}/{resource.version}", "kind": kind, "spec": spec}
        try:
            response = await self._client.post(resource.path(), json=body)
        except (httpx2.HTTPError, ConfigError) as failure:
            raise wire.unreachable("create", resource.rbac, failure) from failure
        if not response.is_success:
            raise wire.refused_response("create", resource.rbac, response)
        status = wire.decode_object("create", resource.rbac, response.content).get("status")
        return status if isinstance(status, dict) else {}

    def _remember(self, key: tuple[bytes, str], name: str) -> None:
        self._admitted[key] = (name, self._clock() + self._remember_s)
        self._admitted.move_to_end(key)
        while len(self._admitted) > REMEMBERED_MAX:
            self._admitted.popitem(last=False)


def authenticator(console: ConsoleSettings, kube: KubeSettings) -> Authenticator:
    """As the settings say. Raises wire.KubeConfigError where Kubernetes is asked for and not there."""
    if method_of(console) == "kubernetes":
        client = wire.connect_async(kube)
        return KubernetesIdentities(
            client, audiences=console.audiences, remember_s=console.identity_cache_s
        )
    return StaticTokens({name: token.get_secret_value() for name, token in console.tokens.items()})


def method_of(console: ConsoleSettings) -> str:
    """`tokens` or `kubernetes`: what was chosen, or what the place suggests."""
    if console.authentication is not None:
        return console.authentication
    in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ
    return "kubernetes" if in_cluster and not console.tokens else "tokens"
