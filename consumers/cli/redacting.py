"""Takes every secret out of what leaves the cluster: by the type of a setting, by the shape of a
text, and by the values that this process knows to be secret.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, SecretStr

from consumers.runtime.logging import MASK, redact, redact_text
from consumers.runtime.settings import Settings

#: What of a connection string is told; whatever else it says is not.
_DSN_TOLD = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "application_name",
    "connect_timeout",
)
#: Shorter ones are no secrets worth the name, and would tear ordinary words apart.
_SECRET_MIN = 6


def told_settings(settings: Settings) -> dict[str, Any]:
    """Every setting, with secrets masked; of a DSN what says where and as whom."""
    told = _told(settings)
    told["postgres"]["dsn"] = told_dsn(settings.postgres.dsn.get_secret_value())
    found: dict[str, Any] = Scrubber(settings).scrubbed(told)
    return found


def told_dsn(dsn: str) -> dict[str, str]:
    """Where a connection string of the settings leads, and as whom; the rest masked."""
    parts = sorted(conninfo_to_dict(dsn).items())
    return {name: str(value) if name in _DSN_TOLD else MASK for name, value in parts}


def _told(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return {name: _told(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): _told(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_told(item) for item in value]
    return value


class Scrubber:
    """Masks secrets in texts and JSON values. Knows those of the settings by heart."""

    def __init__(self, settings: Settings) -> None:
        known = {each for each in _secrets(settings) if len(each) >= _SECRET_MIN}
        # Longest first: one may contain another.
        self._known = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text with what looks like a secret masked, and every secret that is known."""
        text = redact_text(text)
        for secret in self._known:
            text = text.replace(secret, MASK)
        return text

    def scrubbed(self, value: Any) -> Any:
        """A JSON value: fields named like secrets, and every text in it."""
        return self._texts(redact(value))

    def log_line(self, line: str) -> str:
        """A line of a log: as JSON where it is JSON, else as text."""
        try:
            fields = json.loads(line)
        except ValueError:
            return self.text(line)
        if not isinstance(fields, dict):
            return self.text(line)
        return json.dumps(self.scrubbed(fields), ensure_ascii=False)

    def _texts(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._texts(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._texts(item) for item in value]
        return value


def _secrets(value: Any) -> Iterator[str]:
    """Every secret among the settings, and the password inside the DSN."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        yield secret
        try:
            parts = conninfo_to_dict(secret)
        except ProgrammingError:
            return
        yield from (str(parts[name]) for name in ("password", "sslpassword") if parts.get(name))
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
