"""What a check is, what it finds, and how checks that could not look are told: once a cause. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from consumers.doctor.facts import Facts, Look, Thing, Unseen

#: The page with a section for each check, by its id.
PAGE: Final = "deploy/howto/doctor.md"
#: Names of one kind that a sentence lists before it counts.
_LISTED: Final = 5


class Part(StrEnum):
    """What belongs together; `doctor --only` chooses by it."""

    SETTINGS = "settings"
    CLUSTER = "cluster"
    NODES = "nodes"
    VSWITCHES = "vswitches"
    WEBHOOKS = "webhooks"
    INCUMBENT = "incumbent"
    CLOUD = "cloud"
    KAFKA = "kafka"
    DATABASE = "database"
    CLOCKS = "clocks"


class Severity(StrEnum):
    """blocks: Pods would get no network of their own, or something could be lost. warns: it works,
    with a limit that somebody should know. could not look: nobody knows. fine."""

    BLOCKS = "blocks"
    WARNS = "warns"
    UNSEEN = "could not look"
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of the facts. `fix` is the command, or the act, that mends it."""

    severity: Severity
    what: str
    fix: str = ""


def fine(what: str) -> Verdict:
    """Nothing to do."""
    return Verdict(Severity.FINE, what)


def warns(what: str, fix: str) -> Verdict:
    """It works, with a limit."""
    return Verdict(Severity.WARNS, what, fix)


def blocks(what: str, fix: str) -> Verdict:
    """It can't work, or must not."""
    return Verdict(Severity.BLOCKS, what, fix)


class NotSeen(Exception):  # noqa: N818 - says what happened to the look
    """A check met a fact that nobody could look at."""

    def __init__(self, unseen: Unseen) -> None:
        super().__init__(unseen.cause)
        self.unseen = unseen


class NotMade(Exception):  # noqa: N818 - says what became of the check
    """There is nothing to judge here, and another check tells why."""


def seen(look: Look[Thing]) -> Thing:
    """The fact itself. Raises NotSeen."""
    if isinstance(look, Unseen):
        raise NotSeen(look)
    return look


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to examine. `id` is also the anchor of its section; `why` says why it matters.

    `base`: the others of its kind rest on it, so it is the one that tells why they could not look.
    """

    id: str
    part: Part
    why: str
    judge: Callable[[Facts], Verdict]
    base: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    id: str
    part: Part
    severity: Severity
    what: str
    why: str
    fix: str

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"{PAGE}#{self.id}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found, in the order of the checks; and the checks that another finding kept from
    being made: what they need is not there, or could not be looked at."""

    findings: tuple[Finding, ...]
    not_made: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing blocks and everything could be looked at."""
        return not any(f.severity in (Severity.BLOCKS, Severity.UNSEEN) for f in self.findings)


def examine(checks: Sequence[Check], facts: Facts) -> Report:
    """Every check on these facts. A cause that kept several from looking is told by one of them."""
    verdicts: dict[str, Verdict] = {}
    told: list[Unseen] = []
    for check in sorted(checks, key=lambda each: not each.base):
        try:
            verdicts[check.id] = check.judge(facts)
        except NotMade:
            continue
        except NotSeen as met:
            if not any(met.unseen is each for each in told):
                told.append(met.unseen)
                cause = f"could not look: {met.unseen.cause}"
                verdicts[check.id] = Verdict(Severity.UNSEEN, cause, _LOOK_AGAIN)
    return Report(
        findings=tuple(
            Finding(check.id, check.part, found.severity, found.what, check.why, found.fix)
            for check in checks
            if (found := verdicts.get(check.id)) is not None
        ),
        not_made=tuple(check.id for check in checks if check.id not in verdicts),
    )


_LOOK_AGAIN: Final = "remove the cause, then: eni-ledger doctor"


def listed(names: Sequence[str]) -> str:
    """`a, b and 7 more`."""
    if len(names) <= _LISTED:
        return ", ".join(names)
    return f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} more"
