DROP FUNCTION audit.vswitch_history(text, timestamptz, interval);
DROP VIEW audit.node_capacity, audit.vswitch_capacity, audit.reservations, audit.allocations;
DROP FUNCTION audit.timeline(inet, text);
DROP FUNCTION audit.ip_owner_at(inet, timestamptz, text);
DROP VIEW audit.tenures;
DROP FUNCTION audit.cluster_meant(text);
DROP VIEW audit.clusters;

CREATE INDEX tenure_of_ipv4 ON ledger.tenure (ipv4, lower(during) DESC);
CREATE INDEX tenure_of_ipv6 ON ledger.tenure (ipv6, lower(during) DESC) WHERE ipv6 IS NOT NULL;
DROP INDEX ledger.tenure_of_ipv4_in_vpc, ledger.tenure_of_ipv6_in_vpc, ledger.tenure_of_node,
    ledger.tenure_of_vswitch, ledger.tenure_ended_in_vswitch, ledger.allocation_released;

-- As 0003 made them.
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

CREATE FUNCTION audit.ip_owner_at(ip inet, at timestamptz DEFAULT ledger.now())
RETURNS SETOF audit.tenures LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT * FROM audit.tenures t
    WHERE CASE WHEN family(ip) = 4 THEN t.ipv4 = ip ELSE t.ipv6 = ip END
      AND t.since <= at AND (t.until IS NULL OR at < t.until)
$$;

CREATE FUNCTION audit.timeline(ip inet)
RETURNS SETOF audit.tenures LANGUAGE sql STABLE AS $$
    SELECT * FROM audit.tenures t
    WHERE CASE WHEN family(ip) = 4 THEN t.ipv4 = ip ELSE t.ipv6 = ip END
    ORDER BY t.since, t.vpc
$$;

CREATE VIEW audit.allocations AS
SELECT cluster, namespace, pod, interface, phase, parked, pod_uid, node, vpc, ipv4, ipv6, eni, mac,
       instance, trunk, vlan, vswitch, ttl_due, created_at, changed_at, id AS allocation_id, version
FROM ledger.allocation;

CREATE VIEW audit.reservations AS
SELECT a.cluster, a.namespace, a.pod, a.interface, a.vpc, a.ipv4, a.ipv6, a.eni, a.vswitch,
       a.state #>> '{address,zone}' AS zone,
       (a.state ->> 'absent_since')::timestamptz AS absent_since,
       a.state #>> '{retention,rule}' AS rule,
       a.ttl_due, a.ttl_due - ledger.now() AS expires_in, a.id AS allocation_id
FROM ledger.allocation a
WHERE a.phase IN ('leaving', 'reserved');

CREATE VIEW audit.vswitch_capacity AS
SELECT v.id AS vswitch, v.vpc, v.zone, v.cidr, v.free_ips AS free_estimate, v.looked_at,
       count(a.id) FILTER (WHERE a.phase IN ('wanted', 'bound')) AS in_use,
       count(a.id) FILTER (WHERE a.phase IN ('leaving', 'reserved')) AS reserved
FROM ledger.vswitch v
LEFT JOIN ledger.allocation a ON a.vswitch = v.id AND a.ipv4 IS NOT NULL AND a.phase <> 'released'
GROUP BY v.id;

GRANT SELECT ON ALL TABLES IN SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
