"""Keeps the objects over a restart: one JSON line per committed change, replayed at start.

Survives a killed process, not a power cut (no fsync): it stands for etcd in tests, it does not replace it.
"""

from pathlib import Path
from typing import BinaryIO

import msgspec

from deploy.local.kubernetes.store import Change, Kind


class _Line(msgspec.Struct):
    """A change as it is written. `previous` follows from the lines before."""

    revision: int
    store: str
    namespace: str
    name: str
    kind: Kind
    object: dict[str, object]


class Journal:
    """An append-only file of changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> list[Change]:
        """All changes written by earlier runs; a line cut off by a crash at the end is dropped."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().split(b"\n")
        whole, rest = lines[:-1], lines[-1]
        if rest:
            self._path.write_bytes(b"".join(line + b"\n" for line in whole))
        decoder = msgspec.json.Decoder(_Line)
        found = []
        for number, text in enumerate(whole, 1):
            try:
                line = decoder.decode(text)
            except msgspec.DecodeError as error:
                raise ValueError(
                    f"{self._path}: line {number} is damaged ({error}): remove the state directory "
                    "to start with an empty API server"
                ) from error
            name = (line.namespace, line.name)
            found.append(Change(line.revision, line.store, name, line.kind, line.object, None))
        return found

    def append(self, change: Change) -> None:
        """Writes one change through to the operating system."""
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
        line = _Line(change.revision, change.store, *change.name, change.kind, change.object)
        self._file.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
