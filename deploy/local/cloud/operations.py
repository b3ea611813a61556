"""The API operations: parameters in, JSON bodies out, on the model. One method per action."""

import base64
import json
from collections.abc import Callable

from deploy.local.cloud import answers
from deploy.local.cloud.answers import Body
from deploy.local.cloud.apis import ApiError, not_found
from deploy.local.cloud.enis import Eni
from deploy.local.cloud.model import CloudModel, NewEni
from deploy.local.cloud.parameters import Parameters

ENI_TYPES = ("Primary", "Secondary", "Trunk", "Member")
ENI_STATES = ("Available", "Attaching", "InUse", "Detaching", "Deleting")
_MOST_IDS = 100


class Operations:
    """What each action does. Raises ApiError; the answers lack only the RequestId."""

    def __init__(self, model: CloudModel) -> None:
        self._model = model
        self._by_action: dict[str, Callable[[Parameters], Body]] = {
            "CreateNetworkInterface": self._create,
            "AttachNetworkInterface": self._attach,
            "DetachNetworkInterface": self._detach,
            "DeleteNetworkInterface": self._delete,
            "ModifyNetworkInterfaceAttribute": self._modify,
            "DescribeNetworkInterfaces": self._describe_enis,
            "DescribeNetworkInterfaceAttribute": self._describe_eni,
            "DescribeInstanceTypes": self._describe_instance_types,
            "DescribeInstances": self._describe_instances,
            "DescribeVSwitches": self._describe_vswitches,
        }

    def perform(self, action: str, parameters: Parameters) -> Body:
        """Run one action. `action` must be one of apis.API_NAMES."""
        region = parameters.text("RegionId")
        if region is None and action != "DescribeInstanceTypes":
            parameters.required("RegionId")
        if region not in (None, self._model.world.region):
            raise not_found("InvalidRegionId.NotFound", "region", str(region))
        return self._by_action[action](parameters)

    # --- changing ---------------------------------------------------------------------------

    def _create(self, parameters: Parameters) -> Body:
        groups = parameters.listed("SecurityGroupIds")
        single = parameters.text("SecurityGroupId")
        if groups and single:
            raise ApiError(
                "InvalidParameter.Conflict", "Give SecurityGroupId or SecurityGroupIds, not both."
            )
        # The only mode simulated; it may be named.
        parameters.choice("NetworkInterfaceTrafficMode", ("Standard",))
        token = parameters.text("ClientToken")
        if token is not None and (len(token) > 64 or not token.isascii()):
            raise ApiError("InvalidClientToken", "ClientToken has at most 64 ASCII characters.")
        new = NewEni(
            vswitch_id=parameters.required("VSwitchId"),
            security_group_ids=groups or ((single,) if single else ()),
            instance_type=parameters.choice("InstanceType", ("Secondary", "Trunk")) or "Secondary",
            ipv6_count=parameters.number("Ipv6AddressCount", low=1, high=10) or 0,
            primary_ip=parameters.text("PrimaryIpAddress"),
            delete_on_release=parameters.boolean("DeleteOnRelease") is not False,
            source_dest_check=parameters.boolean("SourceDestCheck") is not False,
            description=parameters.text("Description") or "",
            name=parameters.text("NetworkInterfaceName") or "",
            resource_group_id=parameters.text("ResourceGroupId") or "",
            tags=parameters.tags(),
        )
        parameters.done()
        return answers.created_eni(self._model.create(new, token), self._vpc)

    def _attach(self, parameters: Parameters) -> Body:
        eni, instance = self._eni_and_instance(parameters)
        trunk = parameters.text("TrunkNetworkInstanceId")
        card = parameters.number("NetworkCardIndex", low=0, high=15)
        # Inside the instance nothing is configured here, so there is nothing to wait for.
        parameters.boolean("WaitForNetworkConfigurationReady")
        parameters.done()
        self._model.attach(eni, instance, trunk, card)
        return {}

    def _detach(self, parameters: Parameters) -> Body:
        eni, instance = self._eni_and_instance(parameters)
        trunk = parameters.text("TrunkNetworkInstanceId")
        parameters.done()
        self._model.detach(eni, instance, trunk)
        return {}

    def _delete(self, parameters: Parameters) -> Body:
        eni = parameters.required("NetworkInterfaceId")
        parameters.done()
        self._model.delete(eni)
        return {}

    def _modify(self, parameters: Parameters) -> Body:
        eni = parameters.required("NetworkInterfaceId")
        groups = parameters.listed("SecurityGroupId")
        description = parameters.text("Description")
        name = parameters.text("NetworkInterfaceName")
        on_release = parameters.boolean("DeleteOnRelease")
        parameters.done()
        self._model.modify(
            eni,
            security_group_ids=groups or None,
            description=description,
            name=name,
            delete_on_release=on_release,
        )
        return {}

    def _eni_and_instance(self, parameters: Parameters) -> tuple[str, str]:
        return parameters.required("NetworkInterfaceId"), parameters.required("InstanceId")

    # --- looking ----------------------------------------------------------------------------

    def _describe_enis(self, parameters: Parameters) -> Body:
        ids = parameters.listed("NetworkInterfaceId")
        if len(ids) > _MOST_IDS:
            raise ApiError("InvalidParameter", f"At most {_MOST_IDS} NetworkInterfaceId.N.")
        wanted = self._eni_filter(parameters)
        token = parameters.text("NextToken")
        most = parameters.number("MaxResults", low=10, high=500)
        page = parameters.number("PageNumber", low=1, high=100_000)
        size = parameters.number("PageSize", low=1, high=500)
        parameters.done()
        found = [eni for eni in self._model.seen_enis(ids) if wanted(eni)]
        if page is not None or size is not None:
            page, size = page or 1, size or 10
            shown = found[(page - 1) * size : page * size]
            extra: Body = {"PageNumber": page, "PageSize": size, "TotalCount": len(found)}
        else:
            shown, following = _page_by_token(found, token, most or 10)
            extra = {"NextToken": following, "TotalCount": len(found)}
        sets = [answers.described_eni(eni, self._vpc) for eni in shown]
        return {"NetworkInterfaceSets": {"NetworkInterfaceSet": sets}, **extra}

    def _eni_filter(self, parameters: Parameters) -> Callable[[Eni], bool]:
        vpc = parameters.text("VpcId")
        vswitch = parameters.text("VSwitchId")
        kind = parameters.choice("Type", ENI_TYPES)
        status = parameters.choice("Status", ENI_STATES)
        instance = parameters.text("InstanceId")
        group = parameters.text("SecurityGroupId")
        address = parameters.text("PrimaryIpAddress")
        resource_group = parameters.text("ResourceGroupId")
        tags = set(parameters.tags())

        def wanted(eni: Eni) -> bool:
            return (
                vpc in (None, self._vpc)
                and vswitch in (None, eni.vswitch_id)
                and kind in (None, eni.type)
                and status in (None, eni.status)
                and instance in (None, eni.instance_id)
                and (group is None or group in eni.security_group_ids)
                and address in (None, eni.ipv4)
                and resource_group in (None, eni.resource_group_id)
                and tags <= set(eni.tags)
            )

        return wanted

    def _describe_eni(self, parameters: Parameters) -> Body:
        eni_id = parameters.required("NetworkInterfaceId")
        parameters.text("Attribute")
        parameters.done()
        found = self._model.seen_enis([eni_id])
        if not found:
            raise not_found("InvalidEniId.NotFound", "network interface", eni_id)
        return answers.described_eni(found[0], self._vpc)

    def _describe_instance_types(self, parameters: Parameters) -> Body:
        names = parameters.listed("InstanceTypes")
        parameters.number("MaxResults", low=1, high=1600)
        parameters.text("NextToken")
        parameters.done()
        kinds = [kind for kind in self._model.world.instance_types if not names or kind.id in names]
        listed = [answers.instance_type(kind) for kind in kinds]
        return {"InstanceTypes": {"InstanceType": listed}, "NextToken": ""}

    def _describe_instances(self, parameters: Parameters) -> Body:
        ids = _json_list(parameters.text("InstanceIds"))
        zone = parameters.text("ZoneId")
        vpc = parameters.text("VpcId")
        page = parameters.number("PageNumber", low=1, high=100_000) or 1
        size = parameters.number("PageSize", low=1, high=100) or 10
        parameters.done()
        found = [
            instance
            for instance in self._model.instances()
            if (ids is None or instance.id in ids)
            and zone in (None, instance.zone)
            and vpc in (None, self._vpc)
        ]
        enis = self._model.enis()
        listed = [
            answers.instance(
                instance,
                self._model.world.region,
                self._vpc,
                (eni for eni in enis if eni.instance_id == instance.id),
            )
            for instance in found[(page - 1) * size : page * size]
        ]
        return {
            "Instances": {"Instance": listed},
            "PageNumber": page,
            "PageSize": size,
            "TotalCount": len(found),
        }

    def _describe_vswitches(self, parameters: Parameters) -> Body:
        ids = (parameters.text("VSwitchId") or "").split(",")
        vpc = parameters.text("VpcId")
        zone = parameters.text("ZoneId")
        page = parameters.number("PageNumber", low=1, high=100_000) or 1
        size = parameters.number("PageSize", low=1, high=50) or 10
        parameters.done()
        found = [
            switch
            for switch in self._model.vswitches()
            if (ids == [""] or switch.id in ids)
            and vpc in (None, self._vpc)
            and zone in (None, switch.zone)
        ]
        listed = [
            answers.vswitch(switch, self._vpc, self._model.available_ips(switch.id))
            for switch in found[(page - 1) * size : page * size]
        ]
        return {
            "VSwitches": {"VSwitch": listed},
            "PageNumber": page,
            "PageSize": size,
            "TotalCount": len(found),
        }

    @property
    def _vpc(self) -> str:
        return self._model.world.vpc.id


def _page_by_token(found: list[Eni], token: str | None, size: int) -> tuple[list[Eni], str]:
    """The page after the token, and the token of the next one ("" on the last page).

    A token holds the ordinal of the last ENI shown, so that a page neither skips nor repeats one
    when others come or go in between.
    """
    after = 0
    if token is not None:
        try:
            after = int(base64.urlsafe_b64decode(token.encode()).decode())
        except ValueError:
            raise ApiError("InvalidNextToken", "The NextToken is not one of ours.") from None
    rest = [eni for eni in found if eni.ordinal > after]
    shown = rest[:size]
    if len(rest) <= size:
        return shown, ""
    return shown, base64.urlsafe_b64encode(str(shown[-1].ordinal).encode()).decode()


def _json_list(text: str | None) -> list[str] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise ApiError("InvalidInstanceIds.Malformed", "InstanceIds is a JSON array of ids.")
    return [str(item) for item in value]
