"""What was last seen of clusters and vSwitches: facts to act by, none of them a truth of ours."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from ledger.rules.vswitches import VSwitchFacts


class WrongCluster(Exception):  # noqa: N818 - names what was found
    """The kubeconfig leads to another cluster than the one this ledger knows by that id."""


def confirm_cluster(connection: Connection, cluster: str, kube_system_uid: str) -> None:
    """Bind a cluster id to a cluster at first sight; raises WrongCluster ever after for another."""
    connection.exec_driver_sql(
        "INSERT INTO ledger.cluster (cluster, kube_system_uid, first_seen) "
        "VALUES (%(cluster)s, %(uid)s, ledger.now()) ON CONFLICT (cluster) DO NOTHING",
        {"cluster": cluster, "uid": kube_system_uid},
    )
    known = connection.exec_driver_sql(
        "SELECT kube_system_uid FROM ledger.cluster WHERE cluster = %(cluster)s",
        {"cluster": cluster},
    ).scalar_one()
    if known != kube_system_uid:
        raise WrongCluster(
            f"cluster id {cluster!r} means the cluster whose kube-system has uid {known}, and this "
            f"API server's has {kube_system_uid}: correct the kubeconfig, or use another cluster id"
        )


def read_vswitches(connection: Connection, ids: Sequence[str]) -> dict[str, VSwitchFacts]:
    """The vSwitches looked at before, by id. The free count is the last look less what we took since."""
    found = connection.exec_driver_sql(
        """
        SELECT v.id, v.zone, v.cidr, v.ipv6_cidr, v.free_ips - (
            SELECT count(*) FROM ledger.allocation a
            WHERE a.vswitch = v.id AND a.phase <> 'released' AND a.created_at > v.looked_at) AS free
        FROM ledger.vswitch v WHERE v.id = ANY(%(ids)s) ORDER BY v.id
        """,
        {"ids": list(ids)},
    )
    return {
        row.id: VSwitchFacts(row.id, row.zone, row.cidr, row.ipv6_cidr, max(0, row.free))
        for row in found
    }


def keep_vswitch(connection: Connection, vpc: str, seen: VSwitchFacts, at: datetime) -> None:
    """Remember a look at a vSwitch."""
    connection.exec_driver_sql(
        """
        INSERT INTO ledger.vswitch (id, vpc, zone, cidr, ipv6_cidr, free_ips, looked_at)
        VALUES (%(id)s, %(vpc)s, %(zone)s, %(cidr)s, %(ipv6_cidr)s, %(free)s, %(at)s)
        ON CONFLICT (id) DO UPDATE SET vpc = excluded.vpc, zone = excluded.zone, cidr = excluded.cidr,
            ipv6_cidr = excluded.ipv6_cidr, free_ips = excluded.free_ips, looked_at = excluded.looked_at
        WHERE vswitch.looked_at <= excluded.looked_at
        """,
        {
            "id": seen.id,
            "vpc": vpc,
            "zone": seen.zone,
            "cidr": seen.cidr,
            "ipv6_cidr": seen.ipv6_cidr,
            "free": seen.free_estimate or 0,
            "at": at,
        },
    )
