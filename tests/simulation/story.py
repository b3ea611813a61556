"""From one seed a whole story: Pod lives, what users do, what goes wrong and when. Pure.

A story is made before anything runs, so that it can be printed and repeated. What it can't know
(which boundary is reached at which moment) it says by number: the 812th boundary is a crash.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

MINUTE, HOUR = 60.0, 3600.0
#: Lives in one story, about.
LIVES = 20
#: Boundaries that a story of this size passes, about: interruptions lie within them.
BOUNDARIES = 6000

NODES = {
    "cn-hangzhou-h": ("node-h1", "node-h2"),
    "cn-hangzhou-i": ("node-i1", "node-i2"),
}
MUTATING = (
    "CreateNetworkInterface",
    "AttachNetworkInterface",
    "DetachNetworkInterface",
    "DeleteNetworkInterface",
)


Kind = Literal["crash", "pause", "answer of commit lost"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a Pod was promised: `seconds` is the TTL of a fixed IP that has one."""

    kind: Literal["elastic", "ttl", "never"]
    seconds: float = 0


@dataclass(frozen=True, slots=True)
class PodPlan:
    """A Pod name with what all its lives have in common."""

    namespace: str
    name: str
    policy: Policy
    zone: str
    interfaces: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens at a time (seconds since the beginning); `about` is told to `what`."""

    at: float
    what: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interruption:
    """What happens to the process that reaches boundary `at`, or the first fitting one after it."""

    at: int
    kind: Kind
    seconds: float = 0


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that a seed decides beforehand."""

    seed: int
    pods: tuple[PodPlan, ...]
    acts: tuple[Act, ...]
    interruptions: tuple[Interruption, ...]
    reuse_addresses_at_once: bool
    lives: int


def write_story(seed: int, lives: int = LIVES) -> Story:
    """The story of a seed, with about so many lives."""
    rng = random.Random(seed)
    pods = tuple(_pods(rng))
    shares = [lives // len(pods) + (index < lives % len(pods)) for index in range(len(pods))]
    acts = [act for pod, share in zip(pods, shares, strict=True) for act in _lives(rng, pod, share)]
    span = max(act.at for act in acts)
    acts += _users(rng, pods, span)
    acts += _cloud_faults(rng, span)
    acts += _kube_faults(rng, span)
    acts += _log_faults(rng, span)
    acts += _outages(rng, span)
    acts.sort(key=lambda act: act.at)
    return Story(
        seed=seed,
        pods=pods,
        acts=tuple(acts),
        interruptions=tuple(_interruptions(rng, BOUNDARIES * lives // LIVES)),
        reuse_addresses_at_once=rng.random() < 0.5,
        lives=sum(act.what == "create" for act in acts),
    )


def _pods(rng: random.Random) -> Iterator[PodPlan]:
    for index in range(rng.randint(5, 8)):
        policy = rng.choices(
            (
                Policy("elastic"),
                Policy("never"),
                *(Policy("ttl", t) for t in (5 * MINUTE, 10 * MINUTE, HOUR, 2 * HOUR)),
            ),
            weights=(5, 2, 3, 2, 2, 1),
        )[0]
        yield PodPlan(
            namespace=rng.choice(("example", "shop")),
            name=f"web-{index}",
            policy=policy,
            zone=rng.choice(tuple(NODES)),
            interfaces=("eth0", "eth1") if rng.random() < 0.2 else ("eth0",),
        )


def _lives(rng: random.Random, pod: PodPlan, count: int) -> Iterator[Act]:
    """Created, ended in one of many ways, created again: the last one may stay."""
    named: dict[str, Any] = {"pod": pod.key}
    at = rng.uniform(0, 5 * MINUTE)
    for number in range(count):
        yield Act(at, "create", {**named, "node": rng.randrange(2)})
        if number == count - 1 and rng.random() < 0.5:
            return
        at += rng.choices(
            (rng.uniform(0.1, 8), rng.uniform(20, 300), rng.uniform(600, 7200)), (3, 6, 1)
        )[0]
        end = rng.choices(("delete", "drain", "evict", "finish"), (4, 4, 2, 1))[0]
        yield Act(at, end, named)
        if end != "delete":
            at += rng.uniform(0.5, 40)
            yield Act(at, "delete", named)
        ttl = pod.policy.seconds or 10 * MINUTE
        at += rng.choices(
            (
                0.0,
                rng.uniform(0.1, 20),
                rng.uniform(60, 600),
                ttl * rng.uniform(0.8, 0.999),
                ttl * rng.uniform(1.001, 1.2),
            ),
            (3, 4, 3, 1, 2),
        )[0]


def _users(rng: random.Random, pods: tuple[PodPlan, ...], span: float) -> Iterator[Act]:
    for _ in range(rng.randrange(3)):
        what = rng.choice(("release", "delete-podeni"))
        yield Act(rng.uniform(0, span), what, {"pod": rng.choice(pods).key})
    if rng.random() < 0.25:
        node = rng.choice([node for pair in NODES.values() for node in pair])
        at = rng.uniform(0.1, 0.8) * span
        yield Act(at, "kill-instance", {"node": node})
        yield Act(at + rng.uniform(5, 120), "node-gone", {"node": node})


def _cloud_faults(rng: random.Random, span: float) -> Iterator[Act]:
    for _ in range(rng.randrange(3, 16)):
        at, times = rng.uniform(0, span), rng.randint(1, 3)
        api = rng.choice((*MUTATING, *MUTATING, "DescribeNetworkInterfaces", "DescribeVSwitches"))
        called: dict[str, Any] = {"api": api, "times": times}
        effect = rng.choice(("before", "after"))
        fault: dict[str, Any] = rng.choice(
            (
                {"kind": "throttle", **called},
                {"kind": "error", "code": rng.choice(_codes(api)), **called},
                {"kind": "error", "code": "ServiceUnavailable", "status": 503, **called},
                {"kind": "timeout", "effect": effect, **called},
                {"kind": "gateway", "effect": effect, **called},
                {"kind": "slow", "seconds": rng.uniform(0.5, 15), **called},
                {"kind": "late", "seconds": rng.uniform(1, 14), **called},
                {
                    "kind": "stuck",
                    "state": rng.choice(("Attaching", "Detaching", "Deleting")),
                    "seconds": rng.uniform(20, 200),
                    "times": times,
                },
                {"kind": "attach_fails", "times": times},
                {"kind": "describe_lag", "seconds": rng.uniform(1, 20), "times": times * 3},
                {"kind": "ip_exhaustion", "times": times},
            )
        )
        yield Act(at, "cloud-fault", fault)


def _codes(api: str) -> tuple[str, ...]:
    common = ("InternalError", "OperationConflict", "Forbidden.RAM")
    if api == "CreateNetworkInterface":
        return (*common, "QuotaExceeded.PrivateIpAddress", "IdempotentFailed")
    if api.startswith("Describe"):
        return common
    return (*common, "InvalidOperation.InvalidEniState", "EniPerInstanceLimitExceeded")


def _kube_faults(rng: random.Random, span: float) -> Iterator[Act]:
    for _ in range(rng.randrange(2, 10)):
        verb, resource = rng.choice(
            (
                ("list", "pods"),
                ("create", "podenis"),
                ("update", "podenis"),
                ("get", "podenis"),
                ("delete", "podenis"),
            )
        )
        order: dict[str, Any] = {
            "verb": verb,
            "resource": resource,
            "times": rng.randint(1, 4),
            "code": rng.choice((409, 429, 500, 503, 504)),
        }
        if order["code"] >= 500 and rng.random() < 0.5:
            order["after_effect"] = True
        yield Act(rng.uniform(0, span), "kube-fault", order)


def _log_faults(rng: random.Random, span: float) -> Iterator[Act]:
    for _ in range(rng.randrange(3, 12)):
        what = rng.choice(
            (
                "duplicate",
                "shuffle",
                "freeze",
                "replay",
                "restart-log",
                "watch-lost",
                "relist",
                "watcher-down",
                "zombie",
                "forge-deleted",
                "forge-pod",
                "forge-empty-list",
            )
        )
        yield Act(rng.uniform(0, span), what, {"seconds": rng.uniform(1, 90)})


def _outages(rng: random.Random, span: float) -> Iterator[Act]:
    """Everything of ours is down, now and then for longer than any TTL."""
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        seconds = rng.choice((rng.uniform(5, 120), rng.uniform(5 * MINUTE, 3 * HOUR)))
        yield Act(rng.uniform(0, span), "all-down", {"seconds": seconds})


def _interruptions(rng: random.Random, boundaries: int) -> list[Interruption]:
    found = []
    for _ in range(rng.randrange(0, 16)):
        kind: Kind = rng.choices(KINDS, (4, 4, 1))[0]
        seconds = rng.choice((rng.uniform(0.5, 4), rng.uniform(5, 40), rng.uniform(60, 600)))
        found.append(Interruption(rng.randrange(boundaries), kind, seconds))
    return sorted(found, key=lambda interruption: interruption.at)
