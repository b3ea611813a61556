"""A ledger of any size, written by SQL: what years of Pods would have left behind.

Each address was held by four allocations one after another: three lived from request to release
(54 entries, 5 periods), the last is bound (9 entries, 2 periods). So a hundred addresses are 1,700
periods and 17,100 entries. Nothing here goes through the rules: it is for plans and figures only.
"""

from datetime import UTC, datetime

import psycopg

CLUSTER = "c-generated"
START = datetime(2024, 1, 1, tzinfo=UTC)
TENURES_PER_ADDRESS, ENTRIES_PER_ADDRESS = 17, 171
#: Days from one holder of an address to the next.
DAYS_EACH = 20
NODES, VSWITCHES = 500, 8

_ALLOCATIONS = """
CREATE TABLE generated AS
SELECT md5('allocation ' || i || ' ' || k)::uuid AS id, i, k, 'web-' || i || '-' || k %% 2 AS pod,
       'shop-' || i %% 20 AS namespace, md5('pod ' || i || ' ' || k)::uuid::text AS pod_uid,
       'node-' || (i * 7 + k) %% %(nodes)s AS node, '10.0.0.0'::inet + i AS ip,
       'eni-' || left(md5('eni ' || i || ' ' || k), 17) AS eni, 'vsw-' || i %% %(vswitches)s AS vswitch,
       '00:16:3e:' || regexp_replace(left(md5('mac ' || i || ' ' || k), 6), '(..)(..)(..)', '\\1:\\2:\\3')
           AS mac,
       md5('intent ' || i || ' ' || k)::uuid AS intent,
       %(start)s::timestamptz + k * make_interval(days => %(days)s) + i %% 86400 * interval '1 second'
           AS began,
       k < 3 AS over
FROM generate_series(1, %(addresses)s) i, generate_series(0, 3) k
"""
_ENTRIES = """
INSERT INTO ledger.entry (cluster, allocation_id, version, kind, recorded_at, cause, data)
SELECT %(cluster)s, g.id, v, s.kind, g.began + v * interval '8 hours',
  CASE WHEN s.kind IN ('requested', 'gone-reported', 'ttl-restarted') THEN jsonb_build_object(
         'event', md5(g.i || ' ' || g.k || ' ' || v), 'type', 'io.eni-ledger.pod.observed.v1',
         'source', '/clusters/c-generated', 'topic', 'eni-ledger.pod.v1', 'partition', g.i %% 12,
         'offset', g.i * 100 + v, 'resource_version', g.i * 1000 + v, 'epoch', 0)
       WHEN s.kind = 'call-done' THEN jsonb_build_object('call', s.api, 'request_id', md5(g.eni || v))
       WHEN s.kind IN ('attached', 'detached', 'eni-gone') THEN jsonb_build_object('look', md5(g.eni || v))
       WHEN s.kind = 'podeni-written' THEN '{"podeni": "Bind"}'
       ELSE jsonb_build_object('look', 'pod', 'resource_version', g.i, 'found_uid', g.pod_uid) END,
  CASE WHEN v = 4 THEN jsonb_build_object(
         'intent', g.intent, 'settled_by', 'answer', 'request_id', md5(g.eni || v),
         'address', jsonb_build_object('eni', g.eni, 'mac', g.mac, 'vpc', 'vpc-1', 'vswitch', g.vswitch,
           'zone', 'cn-hangzhou-h', 'ipv4', host(g.ip),
           'security_group_ids', jsonb_build_array('sg-' || g.i %% 5)))
       WHEN s.kind = 'call-done' THEN jsonb_build_object(
         'intent', md5(g.eni || v)::uuid, 'request_id', md5(g.eni || v))
       ELSE jsonb_build_object('pod_uid', g.pod_uid, 'node', g.node) END
FROM generated g
CROSS JOIN LATERAL generate_series(1, CASE WHEN g.over THEN 54 ELSE 9 END) v
CROSS JOIN LATERAL (SELECT CASE
    WHEN v = 1 THEN 'requested' WHEN v = 2 THEN 'placed' WHEN v IN (3, 6, 13, 46) THEN 'call-intended'
    WHEN v IN (4, 7, 14, 47) THEN 'call-done' WHEN v IN (5, 9, 12, 16) THEN 'podeni-written'
    WHEN v = 8 THEN 'attached' WHEN v = 10 THEN 'gone-reported' WHEN v = 11 THEN 'absence-confirmed'
    WHEN v = 15 THEN 'detached' WHEN v = 45 THEN 'release-decided' WHEN v = 48 THEN 'eni-gone'
    WHEN v = 54 THEN 'released' ELSE 'ttl-restarted' END AS kind,
    CASE v WHEN 4 THEN 'CreateNetworkInterface' WHEN 7 THEN 'AttachNetworkInterface'
           WHEN 14 THEN 'DetachNetworkInterface' ELSE 'DeleteNetworkInterface' END AS api) s
ORDER BY g.began, g.i, v
"""
_TENURES = """
INSERT INTO ledger.tenure (allocation_id, cluster, namespace, pod, interface, pod_uid, node, kind, vpc, ipv4,
    eni, mac, vswitch, instance, trunk, vlan, during, opened_by, closed_by)
SELECT g.id, %(cluster)s, g.namespace, g.pod, 'eth0', g.pod_uid, g.node, p.kind, 'vpc-1', g.ip,
       g.eni, g.mac, g.vswitch, CASE p.kind WHEN 'bound' THEN 'i-' || g.node END,
       CASE p.kind WHEN 'bound' THEN 'trunk-' || g.node END, CASE p.kind WHEN 'bound' THEN g.i END,
       tstzrange(g.began + p.opened * interval '8 hours',
                 CASE WHEN g.over OR p.opened < 9 THEN g.began + p.closed * interval '8 hours' END),
       p.opened, CASE WHEN g.over OR p.opened < 9 THEN p.closed END
FROM generated g
JOIN (VALUES ('preparing', 4, 9), ('bound', 9, 11), ('leaving', 11, 16), ('reserved', 16, 45),
             ('releasing', 45, 48)) p (kind, opened, closed) ON g.over OR p.opened <= 9
ORDER BY g.began, g.i, p.opened
"""
_CALLS = """
INSERT INTO ledger.cloud_call (intent, allocation_id, cluster, api, parameters, intended_at, deadline,
    settled_at, outcome, request_id)
SELECT intent, id, %(cluster)s, 'CreateNetworkInterface',
       jsonb_build_object('vswitch_id', vswitch, 'security_group_ids', 'sg-' || i %% 5),
       began, began + interval '15 s', began + interval '2 s', 'done', md5(eni || 4)
FROM generated
"""
_STATES = """
INSERT INTO ledger.allocation (id, version, cluster, namespace, pod, interface, phase, pod_uid, node,
    vpc, ipv4, eni, mac, instance, trunk, vlan, vswitch, created_at, changed_at, state)
SELECT id, CASE WHEN over THEN 54 ELSE 9 END, %(cluster)s, namespace, pod, 'eth0',
       CASE WHEN over THEN 'released' ELSE 'bound' END, pod_uid, node,
       CASE WHEN NOT over THEN 'vpc-1' END, CASE WHEN NOT over THEN ip END, CASE WHEN NOT over THEN eni END,
       CASE WHEN NOT over THEN mac END, CASE WHEN NOT over THEN 'i-' || node END,
       CASE WHEN NOT over THEN 'trunk-' || node END, CASE WHEN NOT over THEN i END,
       CASE WHEN NOT over THEN vswitch END, began, began, '{}'
FROM generated
"""


def generate(dsn: str, addresses: int) -> None:
    """Fill a migrated, empty ledger; `dsn` is a superuser's (entries feed nobody here)."""
    given = {
        "addresses": addresses, "cluster": CLUSTER, "start": START, "days": DAYS_EACH,
        "nodes": NODES, "vswitches": VSWITCHES,
    }  # fmt: skip
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET work_mem = '256MB'")
        with psycopg.ClientCursor(connection) as cursor:  # CREATE TABLE AS takes no parameters
            for statement in (_ALLOCATIONS, _ENTRIES, _TENURES, _CALLS, _STATES):
                cursor.execute(statement, given)
        connection.execute("DROP TABLE generated")
        connection.execute(
            "INSERT INTO ledger.vswitch SELECT 'vsw-' || n, 'vpc-1', 'cn-hangzhou-h', '10.' || n || "
            "'.0.0/16', '', 5000, ledger.now() - interval '1 hour' FROM generate_series(0, %s) n",
            [VSWITCHES - 1],
        )
        connection.execute("VACUUM ANALYZE")
