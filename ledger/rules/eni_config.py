"""The defaults of a cluster: ConfigMap kube-system/eni-config, key eni_conf (reference §9)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ledger.rules.networks import SECURITY_GROUPS_MAX
from ledger.rules.objects import KubeObject, ObjectError, mapping_at, text_at, texts_at

ENI_CONFIG_NAMESPACE, ENI_CONFIG_NAME, ENI_CONFIG_KEY = "kube-system", "eni-config", "eni_conf"


class EniConfigError(ValueError):
    """The eni-config can't be used: says which part of it and what is needed."""


@dataclass(frozen=True, slots=True)
class EniConfig:
    """What fills the gaps of a network that names no vSwitch or no security group. Both sorted."""

    vswitch_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()

    @classmethod
    def from_object(cls, config_map: KubeObject) -> "EniConfig":
        """Read the ConfigMap. Raises EniConfigError for a missing key, bad JSON or > 10 groups."""
        try:
            text = text_at(config_map, "data", ENI_CONFIG_KEY)
        except ObjectError as wrong:
            raise EniConfigError(f"{_WHERE}: {wrong}") from wrong
        if not text:
            raise EniConfigError(f"{_WHERE} is empty or missing: restore the ConfigMap")
        return cls.from_text(text)

    @classmethod
    def from_text(cls, text: str) -> "EniConfig":
        """Read the value of the key eni_conf. Raises EniConfigError."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as wrong:
            raise EniConfigError(f"{_WHERE} is not JSON ({wrong}): correct it") from wrong
        if not isinstance(document, Mapping):
            raise EniConfigError(f"{_WHERE} is not a JSON object: correct it")
        try:
            by_zone = mapping_at(document, "vswitches")
            vswitches = {id_ for zone in by_zone for id_ in texts_at(by_zone, zone)}
            groups = {text_at(document, "security_group"), *texts_at(document, "security_groups")}
        except ObjectError as wrong:
            raise EniConfigError(f"{_WHERE}: {wrong}") from wrong
        groups.discard("")
        if len(groups) > SECURITY_GROUPS_MAX:
            raise EniConfigError(
                f"{_WHERE} names {len(groups)} security groups, {SECURITY_GROUPS_MAX} are allowed"
            )
        return cls(tuple(sorted(vswitches)), tuple(sorted(groups)))


_WHERE = f"ConfigMap {ENI_CONFIG_NAMESPACE}/{ENI_CONFIG_NAME} key {ENI_CONFIG_KEY}"
