-- name: append_entries
INSERT INTO ledger.entry (cluster, allocation_id, version, kind, recorded_at, cause, data)
SELECT cluster, allocation_id, version, kind, %(at)s, cause::jsonb, data::jsonb
FROM unnest(%(cluster)b::text[], %(allocation_id)b::uuid[], %(version)b::int[], %(kind)b::text[],
            %(cause)b::text[], %(data)b::text[])
     WITH ORDINALITY AS rows (cluster, allocation_id, version, kind, cause, data, position)
ORDER BY position
RETURNING id, allocation_id, version

-- name: write_allocations
INSERT INTO ledger.allocation (id, version, cluster, namespace, pod, interface, phase, parked, pod_uid, node,
    vpc, ipv4, ipv6, eni, mac, instance, trunk, vlan, vswitch, ttl_due, created_at, changed_at, state)
SELECT id, version, cluster, namespace, pod, interface, phase, parked, pod_uid, node,
    vpc, ipv4::inet, ipv6::inet, eni, mac, instance, trunk, vlan, vswitch,
    ttl_due::timestamptz, created_at::timestamptz, changed_at::timestamptz, state::jsonb
FROM unnest(%(id)b::uuid[], %(version)b::int[], %(cluster)b::text[], %(namespace)b::text[], %(pod)b::text[],
            %(interface)b::text[], %(phase)b::text[], %(parked)b::text[], %(pod_uid)b::text[], %(node)b::text[],
            %(vpc)b::text[], %(ipv4)b::text[], %(ipv6)b::text[], %(eni)b::text[], %(mac)b::text[],
            %(instance)b::text[], %(trunk)b::text[], %(vlan)b::int[], %(vswitch)b::text[],
            %(ttl_due)b::text[], %(created_at)b::text[], %(changed_at)b::text[], %(state)b::text[])
     AS rows (id, version, cluster, namespace, pod, interface, phase, parked, pod_uid, node,
              vpc, ipv4, ipv6, eni, mac, instance, trunk, vlan, vswitch, ttl_due, created_at, changed_at, state)
ORDER BY cluster, namespace, pod, id
ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, phase = excluded.phase, parked = excluded.parked,
    pod_uid = excluded.pod_uid, node = excluded.node, vpc = excluded.vpc, ipv4 = excluded.ipv4,
    ipv6 = excluded.ipv6, eni = excluded.eni, mac = excluded.mac, instance = excluded.instance,
    trunk = excluded.trunk, vlan = excluded.vlan, vswitch = excluded.vswitch, ttl_due = excluded.ttl_due,
    changed_at = excluded.changed_at, state = excluded.state
WHERE allocation.version < excluded.version

-- name: close_tenures
WITH ending AS (
    SELECT * FROM unnest(%(id)b::uuid[], %(version)b::int[]) AS rows (id, version)
), never_lasted AS (
    DELETE FROM ledger.tenure t USING ending
    WHERE t.allocation_id = ending.id AND upper_inf(t.during) AND lower(t.during) >= %(at)s
)
UPDATE ledger.tenure t SET during = tstzrange(lower(t.during), %(at)s), closed_by = ending.version
FROM ending
WHERE t.allocation_id = ending.id AND upper_inf(t.during) AND lower(t.during) < %(at)s

-- name: open_tenures
INSERT INTO ledger.tenure (allocation_id, cluster, namespace, pod, interface, pod_uid, node, kind,
    vpc, ipv4, ipv6, eni, mac, vswitch, instance, trunk, vlan, during, opened_by)
SELECT id, cluster, namespace, pod, interface, pod_uid, node, kind,
    vpc, ipv4::inet, ipv6::inet, eni, mac, vswitch, instance, trunk, vlan, tstzrange(%(at)s, NULL), version
FROM unnest(%(id)b::uuid[], %(cluster)b::text[], %(namespace)b::text[], %(pod)b::text[], %(interface)b::text[],
            %(pod_uid)b::text[], %(node)b::text[], %(kind)b::text[], %(vpc)b::text[], %(ipv4)b::text[],
            %(ipv6)b::text[], %(eni)b::text[], %(mac)b::text[], %(vswitch)b::text[], %(instance)b::text[],
            %(trunk)b::text[], %(vlan)b::int[], %(version)b::int[])
     AS rows (id, cluster, namespace, pod, interface, pod_uid, node, kind, vpc, ipv4, ipv6, eni, mac, vswitch,
              instance, trunk, vlan, version)

-- name: open_calls
INSERT INTO ledger.cloud_call (intent, allocation_id, cluster, api, client_token, parameters, intended_at, deadline)
VALUES (%(intent)s, %(allocation_id)s, %(cluster)s, %(api)s, %(client_token)s, %(parameters)s::jsonb, %(at)s, %(deadline)s)

-- name: settle_call
UPDATE ledger.cloud_call
SET settled_at = %(at)s, outcome = %(outcome)s, code = %(code)s, request_id = %(request_id)s
WHERE intent = %(intent)s AND settled_at IS NULL

-- name: extend_call
UPDATE ledger.cloud_call SET deadline = %(deadline)s WHERE intent = %(intent)s AND settled_at IS NULL

-- name: allocations_of_pods
SELECT a.state FROM ledger.allocation a
JOIN unnest(%(cluster)b::text[], %(namespace)b::text[], %(pod)b::text[], %(uid)b::text[])
     AS rows (cluster, namespace, pod, uid)
  ON a.cluster = rows.cluster AND a.namespace = rows.namespace AND a.pod = rows.pod
 AND (a.phase <> 'released' OR a.pod_uid = rows.uid)
ORDER BY a.cluster, a.namespace, a.pod, a.id
FOR UPDATE OF a

-- name: read_pod
SELECT state FROM ledger.allocation
WHERE cluster = %(cluster)s AND namespace = %(namespace)s AND pod = %(pod)s AND phase <> 'released'
ORDER BY id

-- name: lock_allocations
SELECT state FROM ledger.allocation WHERE id = ANY(%(id)b::uuid[])
ORDER BY cluster, namespace, pod, id
FOR UPDATE

-- name: lock_reservations
SELECT state FROM ledger.allocation
WHERE cluster = %(cluster)s AND phase IN ('leaving', 'reserved') AND ttl_due IS NOT NULL
ORDER BY cluster, namespace, pod, id
FOR UPDATE

-- name: holder_of_claim
SELECT state FROM ledger.allocation
WHERE phase <> 'released' AND id <> %(id)s AND (
    (vpc = %(vpc)s AND ipv4 = %(ipv4)s::inet) OR (vpc = %(vpc)s AND ipv6 = %(ipv6)s::inet)
    OR eni = %(eni)s OR (trunk = %(trunk)s AND vlan = %(vlan)s))
ORDER BY created_at, id

-- name: last_end_of_keys
SELECT max(upper(during)) FROM ledger.tenure
WHERE NOT upper_inf(during) AND (
    (vpc = %(vpc)s AND ipv4 = %(ipv4)s::inet) OR (vpc = %(vpc)s AND ipv6 = %(ipv6)s::inet) OR eni = %(eni)s)

-- name: unseen_since
WITH first AS (
    SELECT lower(during) AS since, opened_by FROM ledger.tenure
    WHERE allocation_id = %(id)s AND eni = %(eni)s ORDER BY opened_by LIMIT 1)
SELECT since FROM first WHERE NOT EXISTS (
    SELECT FROM ledger.entry
    WHERE allocation_id = %(id)s AND version > first.opened_by AND kind IN ('attached', 'detached'))

-- name: newest_life
SELECT version, kind, recorded_at, data FROM ledger.entry
WHERE allocation_id = %(id)s AND version >= (
    SELECT max(version) FROM ledger.entry WHERE allocation_id = %(id)s AND kind IN ('requested', 'claimed'))
ORDER BY version
