"""What was last seen of clusters, vSwitches and instance types, and how much of an instance is taken:
facts to act by, none of them a truth of ours."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from ledger.rules.instance_types import Carrier, InstanceTypeFacts
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
    known = known_cluster_uid(connection, cluster)
    if known != kube_system_uid:
        raise WrongCluster(
            f"cluster id {cluster!r} means the cluster whose kube-system has uid {known}, and this "
            f"API server's has {kube_system_uid}: correct the kubeconfig, or use another cluster id"
        )


def known_cluster_uid(connection: Connection, cluster: str) -> str | None:
    """The kube-system uid of the cluster that an id means; None before the first sight of it."""
    known: str | None = connection.exec_driver_sql(
        "SELECT kube_system_uid FROM ledger.cluster WHERE cluster = %(cluster)s",
        {"cluster": cluster},
    ).scalar_one_or_none()
    return known


def read_vswitches(connection: Connection, ids: Sequence[str]) -> dict[str, VSwitchFacts]:
    """The vSwitches looked at before, by id. The free count is the last look less what we took since."""
    found = connection.exec_driver_sql(
        """
        SELECT v.id, v.zone, v.cidr, v.ipv6_cidr, v.looked_at, v.free_ips - (
            SELECT count(*) FROM ledger.allocation a
            WHERE a.vswitch = v.id AND a.phase <> 'released' AND a.created_at > v.looked_at) AS free
        FROM ledger.vswitch v WHERE v.id = ANY(%(ids)s) ORDER BY v.id
        """,
        {"ids": list(ids)},
    )
    return {
        row.id: VSwitchFacts(
            row.id, row.zone, row.cidr, row.ipv6_cidr, max(0, row.free), row.looked_at
        )
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


def mark_vswitch_full(connection: Connection, id_: str, at: datetime) -> None:
    """The cloud just said that a vSwitch has no address left: as good as a look."""
    connection.exec_driver_sql(
        "UPDATE ledger.vswitch SET free_ips = 0, looked_at = %(at)s "
        "WHERE id = %(id)s AND looked_at <= %(at)s",
        {"id": id_, "at": at},
    )


def read_instance_type(connection: Connection, id_: str) -> InstanceTypeFacts | None:
    """An instance type looked at before."""
    row = connection.exec_driver_sql(
        "SELECT id, looked_at, known, trunk_supported, eni_quantity, eni_total_quantity "
        "FROM ledger.instance_type WHERE id = %(id)s",
        {"id": id_},
    ).one_or_none()
    return None if row is None else InstanceTypeFacts(*row)


def keep_instance_type(connection: Connection, seen: InstanceTypeFacts) -> None:
    """Remember a look at an instance type."""
    connection.exec_driver_sql(
        """
        INSERT INTO ledger.instance_type
            (id, known, trunk_supported, eni_quantity, eni_total_quantity, looked_at)
        VALUES (%(id)s, %(known)s, %(trunk)s, %(ordinary)s, %(total)s, %(at)s)
        ON CONFLICT (id) DO UPDATE SET known = excluded.known,
            trunk_supported = excluded.trunk_supported, eni_quantity = excluded.eni_quantity,
            eni_total_quantity = excluded.eni_total_quantity, looked_at = excluded.looked_at
        WHERE instance_type.looked_at <= excluded.looked_at
        """,
        {
            "id": seen.id,
            "known": seen.known,
            "trunk": seen.trunk_supported,
            "ordinary": seen.eni_quantity,
            "total": seen.eni_total_quantity,
            "at": seen.looked_at,
        },
    )


def carried_by(connection: Connection, cluster: str, node: str, carrier: Carrier) -> int:
    """How many ENIs of ours take a slot of a carrier: attached, on their way, or with a place there.

    `node` is the node it belongs to, by whose name those are found that only have a place.
    """
    found: int = connection.exec_driver_sql(
        """
        SELECT (SELECT count(*) FROM ledger.allocation
                WHERE phase <> 'released' AND instance = %(instance)s
                  AND trunk IS NOT DISTINCT FROM %(trunk)s)
             + (SELECT count(*) FROM ledger.allocation
                WHERE phase = 'wanted' AND cluster = %(cluster)s AND node = %(node)s
                  AND instance IS NULL
                  AND state #>> '{place,instance_id}' = %(instance)s
                  AND state #>> '{place,trunk_eni_id}' IS NOT DISTINCT FROM %(trunk)s)
        """,
        {
            "cluster": cluster,
            "node": node,
            "instance": carrier.instance_id,
            "trunk": carrier.trunk_eni_id,
        },
    ).scalar_one()
    return found


def lock_carrier(connection: Connection, carrier: Carrier) -> None:
    """Let one transaction at a time take a slot of a carrier: last of a transaction's locks."""
    connection.exec_driver_sql(
        "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))",
        {"key": f"eni-ledger carrier {carrier.instance_id} {carrier.trunk_eni_id or ''}"},
    )
