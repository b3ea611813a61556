"""Decides what a failed cloud call means: nothing happened, or nobody knows.

Pure. Both the SDK adapter and the simulator's port adapter classify through it, so that a test
against the simulator sees what production would see. Codes: reference §8.10 and the public ECS API
error pages.
"""

import re

from consumers.cloud.port import CloudError, Refused, Throttled, Unknown

#: Answers with a code that nevertheless don't say whether the call took effect. The last two say
#: that an earlier call with the same client token is still being worked on.
UNDECIDED_CODES = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableTemporary",
        "UnknownError",
        "IdempotentProcessing",
        "LastTokenProcessing",
    }
)

#: The adapter's own code where no credentials could be had: the call was never sent.
NO_CREDENTIALS = "CredentialsUnavailable"

_LONGEST_MESSAGE = 400
# On a wrong signature the cloud answers with the string it signed, which holds the access key id
# and, for older signatures, the security token.
_SIGNED_STRING = re.compile(r"server string to sign.*", re.IGNORECASE | re.DOTALL)
# A transport error quotes the URL, whose query is every parameter of the call.
_URL = re.compile(r"(with url: )\S+")


def failure(
    api: str, *, subject: str, status: int | None, code: str, message: str, request_id: str
) -> CloudError:
    """The error to raise for a call that was answered with an error, or not answered.

    Args:
        api: e.g. "AttachNetworkInterface". subject: the object it was about, e.g. an ENI id.
        status: HTTP status, None where there was no answer.
        code: the cloud's code; "" where there was none (time-out, HTML body, a proxy's answer).
        message: the cloud's or the transport's words; credentials and URLs are cut out of it.
    """
    kind = _kind(status, code)
    return kind(api, code, presentable(message), request_id, subject=subject)


def presentable(message: str) -> str:
    """The message without signed strings and URLs, on one line, at most 400 characters."""
    cleaned = _SIGNED_STRING.sub("[signed string left out]", message)
    cleaned = _URL.sub(r"\1[left out]", cleaned)
    cleaned = " ".join(cleaned.split())
    if len(cleaned) > _LONGEST_MESSAGE:
        return cleaned[:_LONGEST_MESSAGE] + "…"
    return cleaned


def _kind(status: int | None, code: str) -> type[CloudError]:
    if code == NO_CREDENTIALS:
        return Refused
    if not code or status is None:
        return Unknown
    if code.startswith("Throttling"):
        return Throttled
    if status >= 500 or code in UNDECIDED_CODES:
        return Unknown
    return Refused
