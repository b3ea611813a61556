"""One child process of the local stack: started tied to its parent, watched, stopped in order.

A child must never outlive the process that started it, however that one ends. On Linux the kernel
sends the child a signal when its parent dies (prctl PR_SET_PDEATHSIG); elsewhere only an orderly
end of the parent stops it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
POLL_S = 0.02
LOG_LINES = 12

# Loaded here and not in the forked child, where taking the loader's lock could hang.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class PartError(Exception):
    """A part of the local stack can't run: names the part, the cause and the next step."""


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account a child runs under when we are root."""

    uid: int
    gid: int


class Child:
    """A running child process and its log file. Make one with `start_child`."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], log: Path, stop_signal: signal.Signals
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._stop_signal = stop_signal
        self._asked = False  # a second signal would end it at once, with work in flight

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait_ready(self, ready: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Wait until `ready()` is true; `what` says what is waited for.

        Raises PartError with the last log lines when the child ends first, or when `deadline_s`
        seconds pass.
        """
        until = time.monotonic() + deadline_s
        while not ready():
            self.require_alive(what)
            if time.monotonic() > until:
                raise PartError(self._story(f"is not there yet after {deadline_s:g} s: {what}"))
            time.sleep(POLL_S)

    def require_alive(self, what: str) -> None:
        """Raise PartError with the last log lines when the child ended; `what` was waited for."""
        if self.exit_code is not None:
            raise PartError(self._story(f"ended with code {self.exit_code} before {what}"))

    def stop(self, deadline_s: float = 10.0) -> None:
        """Ask it to end, wait `deadline_s` seconds, then kill it. Returns when it is gone."""
        if self._process.poll() is None:
            self.ask_to_stop()
            try:
                self._process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """Send the stop signal, once, and don't wait."""
        if not self._asked:
            self._asked = True
            self._process.send_signal(self._stop_signal)

    def kill(self) -> None:
        """SIGKILL, for tests of what survives it. Returns when it is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _story(self, happened: str) -> str:
        return f"{self.name} {happened}\n{last_lines(self.log)}\nits log: {self.log}"


def start_child(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    account: Account | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    death_signal: signal.Signals | None = None,
) -> Child:
    """Start `command` with its output appended to `log`, tied to the life of this process.

    `environment` is the whole environment (None: ours). `stop_signal` is sent by `stop`, and
    by the kernel when we die unless `death_signal` names another. Call it from a thread that lives
    as long as the child should: the kernel ties the child to the thread. Raises PartError when the
    executable can't be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                start_new_session=True,  # Ctrl-C in the terminal is ours to hand on, in order
                preexec_fn=_tie_to_parent(death_signal or stop_signal),  # noqa: PLW1509 - two system calls, no locks
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
    except OSError as refused:
        raise PartError(
            f"{name} can't be started: {command[0]}: {refused.strerror}. "
            "Run `make setup` (or `uv sync`) to install what the local stack needs"
        ) from refused
    return Child(name, process, log, stop_signal)


def last_lines(log: Path, count: int = LOG_LINES) -> str:
    """The last `count` lines of `log`, indented; a word when there are none."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


def unprivileged_account() -> Account | None:
    """The account for servers that refuse to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    import pwd

    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _tie_to_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child runs before exec, after any change of account (which would undo it)."""
    if _libc is None:
        return None
    prctl, parent = _libc.prctl, os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and here: no signal will come
            os._exit(1)

    return tie
