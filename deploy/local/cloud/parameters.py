"""Reading an API call's parameters as they travel: flat names, text values, lists by number.

{"SecurityGroupIds": ["sg-1"], "Tag": [{"Key": "a", "Value": "b"}]} travels as
SecurityGroupIds.1=sg-1, Tag.1.Key=a, Tag.1.Value=b.
"""

from collections.abc import Mapping, Sequence

from deploy.local.cloud.apis import ApiError

#: Parameters that every call may carry and that the simulated operations don't look at.
COMMON = frozenset(
    {
        "Action",
        "Version",
        "Format",
        "AccessKeyId",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "SignatureNonce",
        "SignatureType",
        "Timestamp",
        "SecurityToken",
        "OwnerId",
        "OwnerAccount",
        "ResourceOwnerId",
        "ResourceOwnerAccount",
    }
)


def flatten(nested: Mapping[str, object]) -> dict[str, str]:
    """Nested parameters as they travel. Booleans become "True"/"False", as in the Python SDK."""
    flat: dict[str, str] = {}

    def put(name: str, value: object) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                put(f"{name}.{key}" if name else str(key), inner)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for number, inner in enumerate(value, start=1):
                put(f"{name}.{number}", inner)
        elif value is not None:
            flat[name] = str(value)

    put("", nested)
    return flat


class Parameters:
    """One call's parameters. Wrong ones raise ApiError as the cloud does.

    `done()` refuses parameters that nobody asked for: a call that relies on something the
    simulator does not know must not seem to work.
    """

    def __init__(self, flat: Mapping[str, str]) -> None:
        self._flat = {name: value for name, value in flat.items() if name not in COMMON}
        self._read: set[str] = set()

    def text(self, name: str) -> str | None:
        """The value; None where absent or empty."""
        self._read.add(name)
        return self._flat.get(name) or None

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise ApiError(
                f"Missing{name}", f"The input parameter {name} is mandatory and not supplied."
            )
        return value

    def number(self, name: str, *, low: int, high: int) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not value.isdecimal() or not low <= int(value) <= high:
            raise _invalid(name, value, f"{low} to {high}")
        return int(value)

    def boolean(self, name: str) -> bool | None:
        value = self.text(name)
        if value is None:
            return None
        if value.lower() not in ("true", "false"):
            raise _invalid(name, value, "true or false")
        return value.lower() == "true"

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in allowed:
            raise _invalid(name, value, ", ".join(allowed))
        return value

    def listed(self, name: str) -> tuple[str, ...]:
        """The values of Name.1, Name.2, …, in the order of their numbers."""
        numbered: list[tuple[int, str]] = []
        for key, value in self._flat.items():
            prefix, _, number = key.rpartition(".")
            if prefix == name and number.isdecimal():
                self._read.add(key)
                numbered.append((int(number), value))
        return tuple(value for _, value in sorted(numbered))

    def tags(self) -> tuple[tuple[str, str], ...]:
        """Tag.N.Key and Tag.N.Value as sorted pairs."""
        pairs: dict[str, str] = {}
        for key, value in self._flat.items():
            parts = key.split(".")
            if len(parts) == 3 and parts[0] == "Tag" and parts[2] in ("Key", "Value"):
                self._read.add(key)
                if parts[2] == "Key":
                    pairs[value] = self._flat.get(f"Tag.{parts[1]}.Value", "")
        return tuple(sorted(pairs.items()))

    def done(self) -> None:
        """Refuse what was not read."""
        unread = sorted(set(self._flat) - self._read)
        if unread:
            raise ApiError(
                "UnsupportedParameter",
                f"The simulator does not know {', '.join(unread)} for this action.",
            )


def _invalid(name: str, value: str, allowed: str) -> ApiError:
    return ApiError(f"Invalid{name}", f"{name} is {value!r}; allowed: {allowed}.")
