"""The incumbent's ctrl-config.yaml and ctrl-secret.yaml as a source of our settings (reference §9).

Both are read as they are, so that a cluster that ran terway-controlplane need not say twice where it is
and what its Pods may have. What only concerns the incumbent's own process (leases, ports, its webhook,
numbers of workers, shared-ENI IPAM) is left aside.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from consumers.runtime.yaml_files import UnusableFile, read_map

CONFIG_VARIABLE: Final = "ENI_LEDGER_INCUMBENT_CONFIG"
CREDENTIAL_VARIABLE: Final = "ENI_LEDGER_INCUMBENT_CREDENTIAL"

#: Its key, in lower case as its own reader compares them -> (our section, our setting).
_SAID: Final = {
    "clusterid": ("", "cluster_id"),
    "regionid": ("cloud", "region_id"),
    "vpcid": ("cloud", "vpc_id"),
    "credentialpath": ("cloud", "credential_path"),
    "accesskey": ("cloud", "access_key_id"),
    "accesssecret": ("cloud", "access_key_secret"),
    "enabletrunk": ("policy", "enable_trunk"),
    "enablewebhookinjectresource": ("policy", "enable_webhook_inject_resource"),
    "customstatefulworkloadkinds": ("policy", "custom_stateful_workload_kinds"),
    "ipstack": ("policy", "ip_stack"),
    "ipamtype": ("policy", "ipam_type"),
}
_RATES: Final = "ratelimit"


def incumbent_settings(bursts: Mapping[str, int]) -> dict[str, Any]:
    """What the files that the two variables name say, by our sections; {} where none is named.

    `bursts` are ours, by API: the incumbent names none, and lets a whole minute's quota through at once.
    Raises UnusableFile.
    """
    said: dict[str, Any] = {}
    for variable in (CONFIG_VARIABLE, CREDENTIAL_VARIABLE):
        path = os.environ.get(variable)
        if path:
            read = read_map(variable, Path(path))
            said |= {key.lower(): value for key, value in read.items()}
    return from_incumbent(said, bursts)


def from_incumbent(said: Mapping[str, Any], bursts: Mapping[str, int]) -> dict[str, Any]:
    """Our settings for what it says, keys in lower case. An empty value is one that is not given.

    Raises UnusableFile for half of an access key, which the incumbent refuses, too.
    """
    found: dict[str, Any] = {}
    for key, (section, name) in _SAID.items():
        value = said.get(key)
        if value is not None and value != "":
            (found.setdefault(section, {}) if section else found)[name] = value
    cloud = found.get("cloud", {})
    if ("access_key_id" in cloud) != ("access_key_secret" in cloud):
        raise UnusableFile("accessKey and accessSecret: give both or neither")
    if "access_key_id" in cloud:
        cloud.pop("credential_path", None)  # its chain begins with the key, ours with the file
    limits = _rate_limits(said.get(_RATES), bursts)
    if limits:
        found.setdefault("cloud", {})["rate_limits"] = limits
    return found


def _rate_limits(said: object, bursts: Mapping[str, int]) -> dict[str, Any]:
    """Those of the APIs that we call."""
    if not said:
        return {}
    if not isinstance(said, Mapping):
        raise UnusableFile("rateLimit is no map of API and calls a minute")
    given = {str(api).lower(): rate for api, rate in said.items()}
    return {
        api: {"per_minute": given[api.lower()], "burst": burst}
        for api, burst in bursts.items()
        if api.lower() in given
    }
