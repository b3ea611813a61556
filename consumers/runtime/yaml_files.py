"""Reads a file of settings that a variable names: a YAML map, or a failure that names file and place."""

import re
from pathlib import Path
from typing import Any

import yaml

#: What PyYAML quotes in its reasons, but for a single character and the name of a token: names of
#: anchors and tags come from the file.
_QUOTED = re.compile(r" '(?!\\?.'|<\w+ ?\w*>')[^']*'")


class UnusableFile(ValueError):  # noqa: N818 - names what was found
    """A file of settings can't be used; the text never quotes it, because it may hold secrets."""


def read_map(variable: str, path: Path) -> dict[str, Any]:
    """The map in the file that `variable` names; {} for an empty one. Raises UnusableFile."""
    file = f"{variable} names {path}"
    try:
        read = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise UnusableFile(f"{file}, which can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        why = f"{error.reason} at byte {error.start}"
        raise UnusableFile(f"{file}, which is not UTF-8: {why}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        why = _QUOTED.sub("", error.problem or "it is not YAML")
        raise UnusableFile(f"{file}{place}: {why}") from None
    except yaml.YAMLError as error:
        raise UnusableFile(f"{file}, which is not YAML: {getattr(error, 'reason', '')}") from None
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise UnusableFile(f"{file}: it must be a mapping of settings, like 'name: value'")
    return {str(key): value for key, value in read.items()}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice: YAML's readers take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused by the reader itself, or a merge
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the same key as in line {seen[key.value]}", key.start_mark
                )
            seen[key.value] = line
        return super().construct_mapping(node, deep)
