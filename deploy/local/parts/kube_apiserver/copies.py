"""Many objects at once in a genuine API server's etcd: copies of a Pod that the server itself has stored.

A large cluster costs tens of seconds if each of its Pods goes through the API server. To it, what is put
here is what another API server on the same etcd has written: it decodes, lists and watches it as its
own. Each copy is a write of its own, so that it has a resourceVersion of its own.
"""

import base64
import contextlib
import json
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from uuid import uuid4

from deploy.local.parts.child import PartError
from deploy.local.parts.kube_apiserver.server import GenuineKube

#: More than etcd and two cores can serve at the same time gain nothing.
AT_ONCE = 8
DEADLINE_S = 60.0


def copy_pod(
    server: GenuineKube, namespace: str, name: str, copies: Sequence[str]
) -> dict[str, str]:
    """Copies of the Pod `name`, under the names `copies`, each as long as `name`; name to uid.

    Everything else is the same. Raises PartError where there is no such Pod, or one can't be copied.
    """
    [answer] = _ask(server, "range", [{"key": _key(namespace, name)}])
    if "kvs" not in answer:
        raise PartError(f"etcd has no Pod {namespace}/{name} that could be copied: create it first")
    stored = base64.b64decode(answer["kvs"][0]["value"])
    before, after = _around_uid(stored, name)
    if len({len(each) for each in (name, *copies)}) > 1:
        # Lengths are in the stored bytes, of what is in it and of the whole.
        raise PartError(f"copies of Pod {name} need names of {len(name)} letters")
    uids = {each: str(uuid4()) for each in copies}
    puts = (
        {
            "key": _key(namespace, each),
            "value": _text(before.replace(_named(name), _named(each)) + made.encode() + after),
        }
        for each, made in uids.items()
    )
    _ask(server, "put", puts)
    return uids


def remove_pods(server: GenuineKube, namespace: str, names: Iterable[str]) -> None:
    """Take Pods out of etcd, one by one, as another API server would."""
    _ask(server, "deleterange", ({"key": _key(namespace, name)} for name in names))


def remove_all_pods(server: GenuineKube, namespace: str) -> None:
    """Take all Pods of a namespace out of etcd at once."""
    _ask(server, "deleterange", [{"key": _key(namespace, ""), "range_end": _key(namespace, "~")}])


def _around_uid(stored: bytes, name: str) -> tuple[bytes, bytes]:
    """The protobuf of a Pod, cut where its uid is: field 5 of the metadata, 36 letters."""
    before, mark, rest = stored.partition(b"*$")
    if not mark or before.count(_named(name)) != 1:
        raise PartError(f"Pod {name} is not stored as it was expected: name and uid were not found")
    return before + mark, rest[36:]


def _named(name: str) -> bytes:
    """A name as the metadata hold it: field 1, with its length."""
    return b"\n" + bytes([len(name)]) + name.encode()


def _key(namespace: str, name: str) -> str:
    return _text(f"/registry/pods/{namespace}/{name}".encode())


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _ask(
    server: GenuineKube, what: str, bodies: Iterable[Mapping[str, object]]
) -> list[dict[str, Any]]:
    """etcd's answers, in the order of the requests; some are asked at the same time."""
    everything = list(bodies)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shares = pool.map(
            lambda nth: _ask_in_turn(server.etcd_address, what, everything[nth::AT_ONCE]),
            range(min(AT_ONCE, len(everything))),
        )
        answers: list[dict[str, Any]] = [{}] * len(everything)
        for nth, share in enumerate(shares):
            answers[nth::AT_ONCE] = share
    return answers


def _ask_in_turn(
    address: str, what: str, bodies: Iterable[Mapping[str, object]]
) -> list[dict[str, Any]]:
    """Over one connection."""
    host = urllib.parse.urlsplit(address).netloc
    answers: list[dict[str, Any]] = []
    with contextlib.closing(HTTPConnection(host, timeout=DEADLINE_S)) as connection:
        for body in bodies:
            connection.request("POST", f"/v3/kv/{what}", json.dumps(body))
            response = connection.getresponse()
            said = response.read()
            if response.status != HTTPStatus.OK:
                raise PartError(f"etcd refused {what}: {response.status} {said.decode()}")
            answers.append(json.loads(said))
    return answers
