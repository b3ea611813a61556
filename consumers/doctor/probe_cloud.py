"""Looks at the cloud, and at what this identity may do there. Changes nothing.

The ECS APIs that change something have no DryRun parameter, so each is called on an ENI that does
not exist: the cloud checks the right first, and then finds nothing. That it does not exist is looked
at before; were it there, the calls would not be made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from consumers.cloud.port import Cloud, CloudError, CreateEni, EniQuery, Refused
from consumers.doctor.attempts import attempt
from consumers.doctor.facts import CloudFacts, Look, Right, Unseen, blind

#: As ids are made, so that nothing refuses them for their form. Nobody has them: the cloud's own end
#: in 17 random characters.
NO_ENI: Final = "eni-bp1nosuchenidoctor00"
NO_INSTANCE: Final = "i-bp1nosuchinstdoctor0"
NO_VSWITCH: Final = "vsw-bp1nosuchvswdoctor00"
NO_GROUP: Final = "sg-bp1nosuchgroupdoctor0"
#: The right was missing, whatever follows the first word (Forbidden.RAM, Forbidden.SubUser).
_REFUSALS: Final = ("Forbidden", "NoPermission", "UnauthorizedOperation")
#: Who we are was not accepted: says nothing about rights. InvalidAccessKeyId.NotFound is one of these,
#: and would else look like an ENI that does not exist.
_STRANGERS: Final = (
    "InvalidAccessKeyId",
    "InvalidSecurityToken",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingSecurityToken",
    "MissingAccessKeyId",
    "CredentialsUnavailable",
    "SignatureNonceUsed",
)
_BEYOND: Final = ("Invalid", "Missing", "IncorrectEniStatus", "DependencyViolation")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the cluster names, and the cloud is asked about."""

    instance_types: tuple[str, ...] = ()
    trunk_enis: tuple[str, ...] = ()
    vswitches: tuple[str, ...] = ()


def look_at_cloud(cloud: Cloud, facts: CloudFacts, wanted: Callable[[], Wanted]) -> None:
    """Fill in `facts`. `wanted` waits for what the cluster names. Raises nothing."""
    there = attempt(lambda: cloud.describe_enis(EniQuery(eni_ids=(NO_ENI,))).value)
    if isinstance(there, Unseen) and (cause := _not_ours_to_ask(cloud)) is not None:
        facts.api = cause
        blind(facts, cause)
        return
    facts.api = "answers"
    facts.rights = {api: _right(call) for api, call in _looking(cloud)}
    if there == ():
        facts.rights |= {api: _right(call) for api, call in _changing(cloud)}
    else:
        why = (
            f"not asked: whether {NO_ENI} exists could not be seen, and nothing is tried on an ENI"
        )
        facts.rights |= {api: Unseen(why) for api, _ in _changing(cloud)}
    names = wanted()
    facts.instance_types = attempt(
        lambda: cloud.describe_instance_types(names.instance_types).value
    )
    facts.trunks = attempt(
        lambda: (
            cloud.describe_enis(EniQuery(eni_ids=names.trunk_enis)).value
            if names.trunk_enis
            else ()
        )
    )
    facts.vswitches = attempt(
        lambda: {id_: cloud.describe_vswitch(id_).value for id_ in names.vswitches}
    )


def _not_ours_to_ask(cloud: Cloud) -> Unseen | None:
    """Why nothing at all can be asked; None where only that first call failed."""
    try:
        cloud.describe_vswitch(NO_VSWITCH)
    except Refused as refused:
        return Unseen(str(refused)) if refused.code.startswith(_STRANGERS) else None
    except CloudError as failed:
        return Unseen(str(failed))
    return None


Call = Callable[[], Any]


def _looking(cloud: Cloud) -> list[tuple[str, Call]]:
    return [
        ("DescribeNetworkInterfaces", lambda: cloud.describe_enis(EniQuery(eni_ids=(NO_ENI,)))),
        ("DescribeVSwitches", lambda: cloud.describe_vswitch(NO_VSWITCH)),
        ("DescribeInstanceTypes", lambda: cloud.describe_instance_types(("ecs.nosuch.type",))),
    ]


def _changing(cloud: Cloud) -> list[tuple[str, Call]]:
    create = CreateEni(
        vswitch_id=NO_VSWITCH,
        security_group_ids=(NO_GROUP,),
        client_token="eni-ledger-doctor",  # noqa: S106 - an idempotency token
        tags={},
        delete_on_release=True,
    )
    return [
        ("CreateNetworkInterface", lambda: cloud.create_eni(create)),
        ("AttachNetworkInterface", lambda: cloud.attach_eni(NO_ENI, NO_INSTANCE, None, None)),
        ("DetachNetworkInterface", lambda: cloud.detach_eni(NO_ENI, NO_INSTANCE, None)),
        ("DeleteNetworkInterface", lambda: cloud.delete_eni(NO_ENI)),
        (
            "ModifyNetworkInterfaceAttribute",
            lambda: cloud.modify_eni_security_groups(NO_ENI, (NO_GROUP,)),
        ),
    ]


def _right(call: Call) -> Look[Right]:
    """Whether the call got past the check of rights, told by what it was refused for."""
    try:
        call()
    except Refused as refused:
        return right_of(refused)
    except CloudError as failed:
        return Unseen(str(failed))
    return Right(granted=True, code="")


def right_of(refused: Refused) -> Look[Right]:
    """What a refusal says about the right to call. Pure.

    Not found, and everything else about the values given, comes after the right was checked. A code
    that fits nothing says nothing: the right is then unknown.
    """
    code = refused.code
    if code.startswith(_REFUSALS):
        return Right(granted=False, code=code)
    if code.startswith(_STRANGERS) or not code.startswith(_BEYOND):
        return Unseen(str(refused))
    return Right(granted=True, code=code)
