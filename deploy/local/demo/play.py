"""Starts a stack, plays the story on it, and takes everything down again; or keeps it, on request."""

import sys
from pathlib import Path

from deploy.local.clock import ClockError
from deploy.local.demo.narration import Narrator
from deploy.local.demo.story import NAMESPACE, Story
from deploy.local.demo.surfaces import StepError, Surfaces
from deploy.local.parts.postgres import psql_path
from deploy.local.stack import control
from deploy.local.stack.control import StackError
from deploy.local.stack.options import StackFiles, StackOptions
from deploy.local.stack.state import StackFacts

EXIT_DONE = 0
EXIT_FAILED = 1


def play(directory: Path, *, keep: bool) -> int:
    """The whole demonstration in `directory`; returns the exit code.

    Without `keep` nothing is left running, however it ends. With it the stack stays up, also
    after a failure, so that one can look.
    """
    narrator = Narrator()
    narrator.title("eni-ledger: a fixed IP for a Pod, and a ledger that remembers it")
    narrator.say(
        "Everything runs on this machine, on loopback: PostgreSQL, a Kafka broker, a simulated "
        "Alibaba Cloud, a simulated Kubernetes API with simulated nodes, and the real processes of "
        "eni-ledger. Nothing is paid for."
    )
    try:
        facts = control.up(StackOptions(), directory, tied=not keep, progress=narrator.note)
    except StackError as refused:
        narrator.failure("a local stack that starts", str(refused), str(StackFiles(directory).logs))
        return EXIT_FAILED
    narrator.check(f"all parts are ready after {narrator.elapsed_s:.0f} s")
    code = EXIT_FAILED
    try:
        code = _tell(facts, narrator)
    finally:
        if keep:
            _how_to_look_around(facts, narrator)
        else:
            control.down(directory)
    if not keep:
        code = max(code, _nothing_left(directory, narrator))
    if code == EXIT_DONE:
        narrator.check(f"done in {narrator.elapsed_s:.0f} s")
    return code


def _tell(facts: StackFacts, narrator: Narrator) -> int:
    try:
        Story(Surfaces(facts, narrator), narrator, facts.postgres).play()
    except StepError as failed:
        narrator.failure(failed.expected, failed.seen, str(facts.logs))
        return EXIT_FAILED
    except (ClockError, OSError) as failed:
        narrator.failure("a local stack that answers", str(failed), str(facts.logs))
        return EXIT_FAILED
    return EXIT_DONE


def _nothing_left(directory: Path, narrator: Narrator) -> int:
    left = control.status(directory)
    if left is not None:
        pids = [part.process.pid for part in left.parts if part.running and part.process]
        narrator.failure(
            "nothing left running", f"processes {pids}", str(StackFiles(directory).logs)
        )
        return EXIT_FAILED
    narrator.check("everything is stopped, nothing is left running")
    return EXIT_DONE


def _how_to_look_around(facts: StackFacts, narrator: Narrator) -> None:
    program = Path(sys.executable).parent
    narrator.title("The stack is still running: look around")
    for line in (
        f". {facts.environment}",
        f"export PATH={program}:$PATH",
        "kubectl get pods,podenis -A          # or apply your own",
        f"kubectl apply -f {Path(__file__).parent / 'my-nginx.yaml'}; kubectl get podeni -n "
        f"{NAMESPACE} -w",
        f'{psql_path()} "$ENI_LEDGER_POSTGRES__DSN" -c "table audit.timeline"',
        "eni-ledger audit --help",
        f"curl {facts.cloud_control}/calls     # every call the simulated cloud received",
        "eni-ledger local status",
        "eni-ledger local down                # when you are done",
    ):
        narrator.command([line])
    narrator.say(f"  web console: {facts.console}, sign in with the token {facts.console_token}")
    narrator.say(f"  logs: {facts.logs}")
