-- The public read API: stable names over tables that may change.

CREATE VIEW audit.tenures AS
SELECT t.cluster, t.vpc, t.ipv4, t.ipv6, t.eni, t.mac, t.vswitch, t.kind,
       t.namespace, t.pod, t.interface, t.pod_uid, t.node, t.instance, t.trunk, t.vlan,
       lower(t.during) AS since, upper(t.during) AS until,
       opened.id AS opened_by_entry, opened.kind AS opened_by_kind, opened.cause AS opened_because,
       closed.id AS closed_by_entry, closed.kind AS closed_by_kind, closed.cause AS closed_because,
       t.allocation_id
FROM ledger.tenure t
JOIN ledger.entry opened ON opened.allocation_id = t.allocation_id AND opened.version = t.opened_by
LEFT JOIN ledger.entry closed ON closed.allocation_id = t.allocation_id AND closed.version = t.closed_by;
COMMENT ON VIEW audit.tenures IS
    'Who held which ENI and addresses, from when to when (until is null while it lasts), and the entries that opened and closed the period.';
COMMENT ON COLUMN audit.tenures.kind IS
    'preparing: made for a Pod that does not use it yet; bound: in use; leaving: its Pod is gone, being unbound; reserved: kept for the Pod''s return; releasing: on its way back.';

CREATE FUNCTION audit.ip_owner_at(ip inet, at timestamptz DEFAULT ledger.now())
RETURNS SETOF audit.tenures LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT * FROM audit.tenures t
    WHERE CASE WHEN family(ip) = 4 THEN t.ipv4 = ip ELSE t.ipv6 = ip END
      AND t.since <= at AND (t.until IS NULL OR at < t.until)
$$;
COMMENT ON FUNCTION audit.ip_owner_at(inet, timestamptz) IS
    'Who held an address at a moment: no row where nobody held it through this ledger; more than one only across VPCs.';

CREATE FUNCTION audit.timeline(ip inet)
RETURNS SETOF audit.tenures LANGUAGE sql STABLE AS $$
    SELECT * FROM audit.tenures t
    WHERE CASE WHEN family(ip) = 4 THEN t.ipv4 = ip ELSE t.ipv6 = ip END
    ORDER BY t.since, t.vpc
$$;
COMMENT ON FUNCTION audit.timeline(inet) IS 'Everyone who ever held an address, oldest first.';

CREATE VIEW audit.allocations AS
SELECT cluster, namespace, pod, interface, phase, parked, pod_uid, node, vpc, ipv4, ipv6, eni, mac,
       instance, trunk, vlan, vswitch, ttl_due, created_at, changed_at, id AS allocation_id, version
FROM ledger.allocation;
COMMENT ON VIEW audit.allocations IS 'Every allocation as it stands now, released ones included.';

CREATE VIEW audit.reservations AS
SELECT a.cluster, a.namespace, a.pod, a.interface, a.vpc, a.ipv4, a.ipv6, a.eni, a.vswitch,
       a.state #>> '{address,zone}' AS zone,
       (a.state ->> 'absent_since')::timestamptz AS absent_since,
       a.state #>> '{retention,rule}' AS rule,
       a.ttl_due, a.ttl_due - ledger.now() AS expires_in, a.id AS allocation_id
FROM ledger.allocation a
WHERE a.phase IN ('leaving', 'reserved');
COMMENT ON VIEW audit.reservations IS
    'Addresses kept for Pods that are away; ttl_due is null for those that never expire.';

CREATE VIEW audit.calls AS
SELECT c.cluster, c.api, c.intended_at, c.settled_at, c.outcome, c.code, c.request_id,
       c.client_token, c.parameters, c.deadline, c.intent, c.allocation_id, a.namespace, a.pod, a.interface
FROM ledger.cloud_call c JOIN ledger.allocation a ON a.id = c.allocation_id;
COMMENT ON VIEW audit.calls IS 'Every intended cloud call and what became of it; outcome is null while it is open.';

CREATE VIEW audit.story AS
SELECT e.id AS entry, e.cluster, a.namespace, a.pod, a.interface, e.version, e.kind, e.recorded_at,
       e.cause, e.data, e.allocation_id
FROM ledger.entry e LEFT JOIN ledger.allocation a ON a.id = e.allocation_id;
COMMENT ON VIEW audit.story IS 'The entries themselves; those without an allocation are commands and alarms.';

CREATE VIEW audit.reported_addresses AS
SELECT o.cluster, o.namespace, o.name AS pod, o.uid AS pod_uid, o.object #>> '{status,podIP}' AS ip
FROM ledger.observation o
WHERE o.entity = 'pod' AND o.alive AND o.object #>> '{status,podIP}' <> '';
COMMENT ON VIEW audit.reported_addresses IS
    'The address each living Pod reports, whoever gave it out: what to say of one that is not managed here.';

CREATE VIEW audit.vswitch_capacity AS
SELECT v.id AS vswitch, v.vpc, v.zone, v.cidr, v.free_ips AS free_estimate, v.looked_at,
       count(a.id) FILTER (WHERE a.phase IN ('wanted', 'bound')) AS in_use,
       count(a.id) FILTER (WHERE a.phase IN ('leaving', 'reserved')) AS reserved
FROM ledger.vswitch v
LEFT JOIN ledger.allocation a ON a.vswitch = v.id AND a.ipv4 IS NOT NULL AND a.phase <> 'released'
GROUP BY v.id;
COMMENT ON VIEW audit.vswitch_capacity IS
    'What this ledger uses and keeps in each vSwitch it has looked at; the free count is an estimate.';

GRANT SELECT ON ALL TABLES IN SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
GRANT USAGE ON SCHEMA ledger TO eni_ledger_auditor;  -- for ledger.now() alone: no table of it is granted
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
