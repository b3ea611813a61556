"""Runs the cloud simulator: `python -m deploy.local.cloud --world FILE --port P`.

Prints one line of JSON when it listens, {"listening": "127.0.0.1:P"}, so that port 0 can be used.
Stops on SIGTERM and SIGINT; calls that are answered slowly or never are cut off.
"""

import argparse
import json
import logging
import signal
import socket
import sys
from pathlib import Path
from random import Random, SystemRandom

import uvicorn

from deploy.local.cloud.server import SERVER_OPTIONS, MovableClock, build_app, listen
from deploy.local.cloud.simulator import Simulator
from deploy.local.cloud.world import WorldError, load_world

DEMO = Path(__file__).resolve().parents[1] / "worlds" / "demo.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 stopped, 1 can't listen, 2 wrong arguments or world file."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        world = load_world(options.world)
    except WorldError as error:
        sys.stderr.write(f"cloud simulator: {error}\n")
        return 2
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        sys.stderr.write(
            f"cloud simulator: can't listen on {options.host}:{options.port}: {error.strerror}; "
            "stop what uses the port, or choose another with --port\n"
        )
        return 1
    clock = MovableClock()
    seed = SystemRandom().getrandbits(64) if options.seed is None else options.seed
    # Ids and jitter of a simulation, not secrets.
    simulator = Simulator(world, now=clock, random=Random(seed))  # noqa: S311
    server = uvicorn.Server(uvicorn.Config(build_app(simulator, clock), **SERVER_OPTIONS))
    _announce(listener, seed)
    # uvicorn raises the signal that stopped it once more when it is done: a stop we were asked for
    # is a success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    server.run(sockets=[listener])
    return 0


def _announce(listener: socket.socket, seed: int) -> None:
    """The socket is listening already: who reads this line may connect."""
    host, port = listener.getsockname()[:2]
    sys.stdout.write(json.dumps({"listening": f"{host}:{port}", "seed": seed}) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.cloud",
        description="A simulated Alibaba Cloud: the ENI part of the ECS and VPC APIs over HTTP.",
        epilog="example: python -m deploy.local.cloud --world deploy/local/worlds/demo.yaml "
        "--port 8790",
    )
    parser.add_argument("--world", type=Path, default=DEMO, help="world file (default: the demo's)")
    parser.add_argument("--port", type=int, default=8790, help="0: any free one (default: 8790)")
    parser.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1)")
    parser.add_argument("--seed", type=int, default=None, help="of ids and jitter, to repeat a run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
