-- name: stories
SELECT id, allocation_id, version, kind, recorded_at, data FROM ledger.entry
WHERE allocation_id IS NOT NULL ORDER BY allocation_id, version

-- name: every_story
SELECT id, allocation_id, version, kind, recorded_at, data FROM ledger.every_entry
WHERE allocation_id IS NOT NULL ORDER BY allocation_id, version

-- name: settled
SELECT allocation_id, max(settled_version) AS version, max(settled_at) AS at FROM ledger.archived_story
GROUP BY allocation_id ORDER BY allocation_id

-- name: empty_tenure
DELETE FROM ledger.tenure t WHERE NOT EXISTS (
    SELECT FROM ledger.archived_story s WHERE s.allocation_id = t.allocation_id AND t.closed_by <= s.settled_version)

-- name: empty_cloud_call
DELETE FROM ledger.cloud_call c WHERE NOT EXISTS (
    SELECT FROM ledger.archived_story s WHERE s.allocation_id = c.allocation_id AND c.settled_at <= s.settled_at)

-- name: empty_allocation
DELETE FROM ledger.allocation a
WHERE NOT EXISTS (SELECT FROM ledger.archived_story s WHERE s.allocation_id = a.id)
   OR EXISTS (SELECT FROM ledger.entry e WHERE e.allocation_id = a.id AND e.version > (
                  SELECT max(s.settled_version) FROM ledger.archived_story s WHERE s.allocation_id = a.id))

-- name: held_allocation
SELECT id AS allocation_id, id::text AS key,
    id, version, cluster, namespace, pod, interface, phase, parked, pod_uid, node, vpc,
    host(ipv4) AS ipv4, host(ipv6) AS ipv6, eni, mac, instance, trunk, vlan, vswitch,
    ttl_due, created_at, changed_at, state
FROM ledger.allocation ORDER BY id

-- name: held_tenure
SELECT allocation_id, allocation_id || ' v' || opened_by AS key,
    allocation_id AS id, cluster, namespace, pod, interface, pod_uid, node, kind, vpc,
    host(ipv4) AS ipv4, host(ipv6) AS ipv6, eni, mac, vswitch, instance, trunk, vlan, opened_by AS version,
    lower(during) AS since, upper(during) AS until, closed_by
FROM ledger.tenure ORDER BY allocation_id, opened_by

-- name: held_cloud_call
SELECT allocation_id, allocation_id || ' intent ' || intent AS key,
    intent, allocation_id AS id, cluster, api, client_token, parameters, intended_at, deadline, settled_at,
    outcome, code, request_id
FROM ledger.cloud_call ORDER BY allocation_id, intent

-- name: restore_tenures
INSERT INTO ledger.tenure (allocation_id, cluster, namespace, pod, interface, pod_uid, node, kind,
    vpc, ipv4, ipv6, eni, mac, vswitch, instance, trunk, vlan, during, opened_by, closed_by)
SELECT id, cluster, namespace, pod, interface, pod_uid, node, kind, vpc, ipv4::inet, ipv6::inet, eni, mac, vswitch,
    instance, trunk, vlan, tstzrange(since::timestamptz, until::timestamptz), version, closed_by
FROM unnest(%(id)b::uuid[], %(cluster)b::text[], %(namespace)b::text[], %(pod)b::text[], %(interface)b::text[],
            %(pod_uid)b::text[], %(node)b::text[], %(kind)b::text[], %(vpc)b::text[], %(ipv4)b::text[],
            %(ipv6)b::text[], %(eni)b::text[], %(mac)b::text[], %(vswitch)b::text[], %(instance)b::text[],
            %(trunk)b::text[], %(vlan)b::int[], %(version)b::int[], %(since)b::text[], %(until)b::text[],
            %(closed_by)b::int[])
     AS rows (id, cluster, namespace, pod, interface, pod_uid, node, kind, vpc, ipv4, ipv6, eni, mac, vswitch,
              instance, trunk, vlan, version, since, until, closed_by)

-- name: restore_calls
INSERT INTO ledger.cloud_call (intent, allocation_id, cluster, api, client_token, parameters, intended_at, deadline,
    settled_at, outcome, code, request_id)
SELECT intent, id, cluster, api, client_token, parameters::jsonb, intended_at::timestamptz, deadline::timestamptz,
    settled_at::timestamptz, outcome, code, request_id
FROM unnest(%(intent)b::uuid[], %(id)b::uuid[], %(cluster)b::text[], %(api)b::text[], %(client_token)b::text[],
            %(parameters)b::text[], %(intended_at)b::text[], %(deadline)b::text[], %(settled_at)b::text[],
            %(outcome)b::text[], %(code)b::text[], %(request_id)b::text[])
     AS rows (intent, id, cluster, api, client_token, parameters, intended_at, deadline, settled_at, outcome,
              code, request_id)
-- Settled within the moment in which its story was carried forward: it looked as if it rested on the archive.
ON CONFLICT (intent) DO UPDATE SET
    allocation_id = excluded.allocation_id, cluster = excluded.cluster, api = excluded.api,
    client_token = excluded.client_token, parameters = excluded.parameters, intended_at = excluded.intended_at,
    deadline = excluded.deadline, settled_at = excluded.settled_at, outcome = excluded.outcome,
    code = excluded.code, request_id = excluded.request_id
