"""What every test may use: the local stack's fixtures; and which genuine parts are there."""

import gc
import logging
import os
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["deploy.local.pytest_plugin"]

# How slow a machine is says nothing about a property. Everything else is as Hypothesis has it, in CI too.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

#: One script a part: it makes sure of the part, or says how to install it.
PARTS = Path(__file__).parents[1] / ".ci" / "parts"

#: Files that share what a machine has once. A browser gives its page up when the interfaces change,
#: and a container engine of ours adds and removes some.
INTERFACES = ("tests/integration/containers/", "tests/integration/console/test_browser.py")


class FilesTogether(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests on one worker; and on one worker, too, the files that can't run side by side.

    The marks of xdist's `loadgroup` would do, but it then runs a file without a mark in pieces, and
    each piece begins servers of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "interfaces" if nodeid.startswith(INTERFACES) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesTogether | None:
    return FilesTogether(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_configure() -> None:
    """A line for each entry that is recorded, as the processes log, would cost the simulation a tenth
    of its speed. Tests of what is logged say what they want."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long tests, end with the late ones, and leave out those of the parts that the
    variable `TESTS_WITHOUT` names, words apart by spaces.

    `make integration` sets it on a machine where a part can't be had; CI must not.
    """
    without = set(os.environ.get("TESTS_WITHOUT", "").split())
    if without and os.environ.get("CI") == "true":
        raise pytest.UsageError(f"in CI no part may be missing: {sorted(without)}")
    left_out = [item for item in items if parts_of(item) & without]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("long"):
        return 0
    return 2 if item.get_closest_marker("late") else 1


def pytest_collection_finish() -> None:
    """Set aside what there is before the first test: thousands of tests and all modules.

    Tests of what is left open collect after each; going through all of this took a third of a second
    each time.
    """
    gc.collect()
    gc.freeze()


def parts_of(item: pytest.Item) -> set[str]:
    """The genuine parts that a test needs: `@pytest.mark.genuine("browser")`."""
    parts = {part for mark in item.iter_markers("genuine") for part in mark.args}
    if item.get_closest_marker("genuine") and not parts:
        raise pytest.UsageError(f"{item.nodeid}: genuine without the name of a part")
    if unknown := {part for part in parts if not (PARTS / part).is_file()}:
        raise pytest.UsageError(f"{item.nodeid}: no such part in .ci/parts: {sorted(unknown)}")
    return parts
