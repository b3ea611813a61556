"""Reads a file of settings that a variable names: a YAML map, or a failure that names file and line."""

from pathlib import Path
from typing import Any

import yaml


class UnusableFile(ValueError):  # noqa: N818 - names what was found
    """A file of settings can't be used; the text never quotes it, because it may hold secrets."""


def read_map(variable: str, path: Path) -> dict[str, Any]:
    """The map in the file that `variable` names; {} for an empty one. Raises UnusableFile."""
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as unreadable:
        why = getattr(unreadable, "strerror", None) or "it is not UTF-8"
        raise UnusableFile(f"{variable} names {path}, which can't be read: {why}") from None
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UnusableFile(f"{variable} names {path}, which is not YAML{where}") from None
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise UnusableFile(f"{variable} names {path}, which is not a map of settings")
    return {str(key): value for key, value in read.items()}
