"""A hand-over's steps: each done, done before, or, on a dry run, only told."""

from collections.abc import Callable
from dataclasses import dataclass, field

from consumers.runtime.errors import OperatorError


class Unsafe(OperatorError):  # noqa: N818 - names what was found
    """A step that must not be taken now: the text has the cause and the next step."""


@dataclass(slots=True)
class Steps:
    """What has been done so far: (done | already | would, what)."""

    dry_run: bool
    lines: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, what: str, needed: bool, act: Callable[[], object]) -> None:
        """Take one step, unless it is done already."""
        if not needed:
            self.lines.append(("already", what))
        elif self.dry_run:
            self.lines.append(("would", what))
        else:
            act()
            self.lines.append(("done", what))
