"""What is wrong with Kafka, in words that name the object, the cause and the next step.

aiokafka tells a wrong password, an unknown CA and a dead broker apart in its own log only: what it
raises is "unable to bootstrap" for all three. So one connection is tried again, for its error alone.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidSessionTimeoutError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

_RIGHTS: Final = "the rights each process needs are in deploy/howto/kafka.md"
#: A batch is larger than its topic takes, by max.message.bytes or by segment.bytes.
REFUSED_AS_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
#: What create_conn takes of our connection options.
_OF_A_CONNECTION: Final = (
    "client_id",
    "request_timeout_ms",
    "ssl_context",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)


def explain(failure: BaseException, user: str | None = None, topic: str = "") -> str:
    """One line about a failure of Kafka's; `user` is the SASL user that met it, `topic` the topic
    where the failure does not name one."""
    who = f"Kafka user {user}" if user else "this client, which names no user,"
    said = " ".join(str(failure).split())
    if isinstance(failure, TopicAuthorizationFailedError):
        return f"{who} may not use topic {topic or _named(failure)}: grant it; {_RIGHTS}"
    if isinstance(failure, GroupAuthorizationFailedError):
        return f"{who} may not read as group {_named(failure)}: grant it; {_RIGHTS}"
    if isinstance(failure, ClusterAuthorizationFailedError):
        return f"{who} lacks a right on the cluster: {said}; {_RIGHTS}"
    if isinstance(failure, InvalidSessionTimeoutError):
        return (
            "the broker refuses kafka.session_timeout_ms: choose one between its "
            "group.min.session.timeout.ms (6000 by default) and group.max.session.timeout.ms"
        )
    return said if said.startswith("Kafka") else f"{type(failure).__name__}: {said}"


async def why_unreachable(options: Mapping[str, Any]) -> str | None:
    """Why no connection can be made with these connection options, or None where one can.

    The first address that gives a reason speaks for all.
    """
    few = {name: options[name] for name in _OF_A_CONNECTION if name in options}
    refusals: list[str] = []
    for address in str(options["bootstrap_servers"]).split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            connection = await create_conn(host.strip("[]"), int(port), **few)
        except (OSError, KafkaError, TimeoutError) as refused:
            refusals.append(_refusal(address.strip(), refused, options))
        else:
            connection.close()
            return None
    return refusals[0] if refusals else None


def _refusal(address: str, refused: BaseException, options: Mapping[str, Any]) -> str:
    user, mechanism = options.get("sasl_plain_username"), options.get("sasl_mechanism")
    protocol = options.get("security_protocol")
    if isinstance(refused, SaslAuthenticationFailed | AuthenticationFailedError):
        return (
            f"Kafka at {address} does not let user {user} in ({mechanism}): "
            "check kafka.sasl_username and kafka.sasl_password, and that the user exists"
        )
    if isinstance(refused, UnsupportedSaslMechanismError):
        return f"Kafka at {address} does not offer {mechanism}: set kafka.sasl_mechanism. {refused}"
    if isinstance(refused, ssl.SSLCertVerificationError):
        return (
            f"Kafka at {address} shows a certificate that is not trusted "
            f"({refused.verify_message}): set kafka.ssl_cafile to the CA that signed it"
        )
    if isinstance(refused, ssl.SSLError):
        return (
            f"Kafka at {address} does not speak TLS as we do ({refused.reason}): "
            f"kafka.security_protocol is {protocol}"
        )
    if isinstance(refused, ConnectionRefusedError):
        return f"Kafka at {address}: nothing listens there; check kafka.bootstrap_servers"
    said = str(refused) or type(refused).__name__
    hint = "" if protocol != "PLAINTEXT" else "; does the listener want TLS or a password?"
    if isinstance(refused, asyncio.TimeoutError):
        said = "no answer in time"
    return f"Kafka at {address}: {said}; kafka.security_protocol is {protocol}{hint}"


def _named(failure: KafkaError) -> str:
    """What aiokafka says the right is missing on: a name, or a set of them."""
    named = failure.args[0] if failure.args else ""
    if isinstance(named, set | frozenset | list | tuple):
        return ", ".join(sorted(map(str, named)))
    return str(named)
