"""How every process logs: structured lines on stderr, secrets taken out before they are written.

Lines of the libraries (uvicorn, aiokafka, the cloud SDK) pass through the same formatter.
"""

import logging
import logging.config
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from consumers.runtime.settings import LogSettings

MASK = "**********"

#: Names of fields whose value is never written, whatever its type.
_SECRET_NAMES = re.compile(
    r"(password|passwd|secret|token|authorization|credential|private_?key|pgpass)", re.IGNORECASE
)
#: Names that match the pattern above and hold no secret.
_HARMLESS_NAMES = frozenset({"claim_token", "client_token", "credential_path", "continue_token"})

_URL_PASSWORD = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(?=@)", re.IGNORECASE
)
_WORD_PASSWORD = re.compile(
    r"(?P<before>\b(?:password|passwd|secret|access_key_secret|sslpassword)\s*=\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s,;&'\"]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}")

#: Libraries that say too much at the level of the process.
_QUIET = (
    "aiokafka",
    "httpx2",
    "httpcore2",
    "urllib3",
    "alibabacloud-tea",
    "alibabacloud_credentials",
    "uvicorn",
)


def configure_logging(settings: LogSettings, process: str) -> None:
    """Send every log line of this interpreter to stderr, as JSON or for a terminal.

    `process` is bound to each line. Calling it again replaces the configuration.
    """
    level = logging.getLevelName(settings.level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.UnicodeDecoder(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(settings.format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.contextvars.bind_contextvars(process=process)


def redact(value: object) -> object:
    """`value` with secrets masked: SecretStr, fields named like secrets, passwords in DSNs.

    Mappings and sequences are copied; other objects are returned as they are.
    """
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {name: _redact_field(name, item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    return value


def redact_text(text: str) -> str:
    """`text` with passwords in URLs and connection strings, and bearer tokens, masked."""
    for pattern in (_URL_PASSWORD, _WORD_PASSWORD, _BEARER):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    return text


def _redact_field(name: object, value: object) -> object:
    secret = isinstance(name, str) and _SECRET_NAMES.search(name)
    if secret and name not in _HARMLESS_NAMES and not isinstance(value, bool | int | None):
        return MASK
    return redact(value)


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _redact_field(name, value) for name, value in event.items()}


def _rendering(kind: str) -> list[Processor]:
    # The trace becomes text before the redaction: an exception's message may quote a DSN.
    last: list[Processor] = [structlog.processors.format_exc_info, _redact_event]
    if kind == "console":
        terminal = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        return [*last, terminal]
    return [*last, structlog.processors.JSONRenderer(default=_as_text)]


def _as_text(value: Any) -> str:
    return redact_text(str(value))
