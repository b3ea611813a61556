"""What a fault is, and the ways to put one into a world and take it out again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.integration.doctor.ground import Ground

#: Makes the fault for the time of the block; yields settings that differ meanwhile, or None.
Put = Callable[[Ground], AbstractContextManager[dict[str, str] | None]]
BLOCKS, WARNS, UNSEEN = "blocks", "warns", "could not look"


@dataclass(frozen=True)
class Fault:
    """`id` is found with this severity, its text `says` so; `also` are its consequences."""

    name: str
    put: Put
    id: str
    severity: str
    says: str
    also: tuple[str, ...] = ()


def set_to(**settings: str) -> Put:
    """Only settings differ."""

    @contextmanager
    def put(_ground: Ground) -> Iterator[dict[str, str]]:
        yield {f"ENI_LEDGER_{name}": value for name, value in settings.items()}

    return put


def changed(path: str, change: Any, subresource: str = "") -> Put:
    """An object of the cluster has other fields."""

    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        with ground.kube.changed(path, change, subresource):
            yield

    return put


def node(change: Any, subresource: str = "") -> Put:
    """One node has other fields."""

    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        with ground.kube.changed(ground.node(), change, subresource):
            yield

    return put


def configured(change: Any, *, restarted: bool = True) -> Put:
    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        with ground.configured(change, restarted=restarted):
            yield

    return put


def cloud(**fault: Any) -> Put:
    @contextmanager
    def put(ground: Ground) -> Iterator[dict[str, str]]:
        ground.cloud_fault(**fault)
        yield {"ENI_LEDGER_CLOUD__READ_TIMEOUT_S": "1"}
        assert ground.control.delete("/_sim/faults").status_code == 200

    return put


def kube_fault(**order: Any) -> Put:
    @contextmanager
    def put(ground: Ground) -> Iterator[None]:
        ground.kube.fault(**order)
        yield
        ground.kube.clear_faults()

    return put
