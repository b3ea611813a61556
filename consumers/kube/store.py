"""A memory of one resource, kept current by a reflector: what admission answers from.

Read from any thread: each change replaces one entry of a dict, and readers get the objects
themselves, which they must not change.
"""

from collections.abc import Sequence

from consumers.kube.port import KubeObject
from consumers.kube.reflector import Bookmark, Deleted, Event, Observed, Relisted


class Store:
    """A mirror of one resource; `apply` is a reflector's sink.

    Attributes:
        synced: whether a whole list has been taken. It stays True while a later list is under
            way: an old answer is better than none for what is asked of it.
        resource_version: of the last change or bookmark applied; 0 before the first.
    """

    def __init__(self) -> None:
        self.synced = False
        self.resource_version = 0
        self._objects: dict[str, KubeObject] = {}
        self._listing = False

    async def apply(self, events: Sequence[Event]) -> None:
        """Take a batch."""
        for event in events:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        match event:
            case Relisted():
                self._listing = True
            case Observed():
                self._objects[event.key] = event.object
            case Deleted():
                self._objects.pop(event.key, None)
            case Bookmark():
                self._listing = False
                self.synced = True
            case _:
                return
        if not self._listing:
            self.resource_version = event.resource_version

    def get(self, name: str, namespace: str = "") -> KubeObject | None:
        """The object, or None if it is not there."""
        return self._objects.get(f"{namespace}/{name}" if namespace else name)

    def list(self) -> "list[KubeObject]":
        """All objects, by namespace and name."""
        return [obj for _, obj in sorted(self._objects.items())]

    def __len__(self) -> int:
        return len(self._objects)
