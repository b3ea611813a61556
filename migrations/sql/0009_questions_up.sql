-- The public read API made whole: every answer with its reasons, no answer across clusters unasked, capacity.
-- Additive for the code of the revision before: views gain columns at their end, functions gain parameters with
-- defaults. The indexes are built on `tenure` alone and plainly: writers of periods wait meanwhile, about 3 s for a
-- million rows. Rejected: CONCURRENTLY, which waits for every older snapshot, and a second migrator that waits for
-- its turn holds one.

-- Who held an address at a moment is one probe a VPC, however long the address's history is: periods of one address
-- never overlap, so the newest that began by then is the only one that can hold.
CREATE INDEX tenure_of_ipv4_in_vpc ON ledger.tenure (ipv4, vpc, lower(during) DESC);
CREATE INDEX tenure_of_ipv6_in_vpc ON ledger.tenure (ipv6, vpc, lower(during) DESC) WHERE ipv6 IS NOT NULL;
DROP INDEX ledger.tenure_of_ipv4, ledger.tenure_of_ipv6;
CREATE INDEX tenure_of_node ON ledger.tenure (cluster, node, lower(during) DESC);
-- Beginnings and ends by vSwitch: how many were held at any moment is what is held now, less the beginnings and
-- plus the ends since.
CREATE INDEX tenure_of_vswitch ON ledger.tenure (vswitch, lower(during) DESC);
CREATE INDEX tenure_ended_in_vswitch ON ledger.tenure (vswitch, upper(during)) WHERE NOT upper_inf(during);
-- Written once in an allocation's life, when it is released: a name's past without a cost on its way.
CREATE INDEX allocation_released ON ledger.allocation (cluster, namespace, pod) WHERE phase = 'released';

-- ---------------------------------------------------------------------------------------------- which cluster
CREATE VIEW audit.clusters AS
WITH RECURSIVE told (cluster) AS (
    (SELECT t.cluster FROM ledger.tenure t ORDER BY t.cluster LIMIT 1)
    UNION ALL
    SELECT (SELECT t.cluster FROM ledger.tenure t WHERE t.cluster > told.cluster ORDER BY t.cluster LIMIT 1)
    FROM told WHERE told.cluster IS NOT NULL
)
SELECT cluster FROM told WHERE cluster IS NOT NULL
UNION
SELECT c.cluster FROM ledger.cluster c;
COMMENT ON VIEW audit.clusters IS 'The clusters this ledger has something to say about; one in most set-ups.';
COMMENT ON COLUMN audit.clusters.cluster IS 'The cluster id, as in every other view: filter on it where a ledger serves several.';

CREATE FUNCTION audit.cluster_meant(wanted text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE known text[];
BEGIN
    IF wanted IS NOT NULL THEN
        RETURN wanted;
    END IF;
    SELECT array_agg(c.cluster ORDER BY c.cluster) INTO known FROM audit.clusters c;
    IF cardinality(known) > 1 THEN
        RAISE EXCEPTION 'this ledger serves % clusters: say which one is meant', cardinality(known)
            USING ERRCODE = 'ambiguous_parameter',
                  HINT = 'Give the parameter cluster: an id of audit.clusters, or ''*'' for an answer across all.';
    END IF;
    RETURN known[1];
END $$;
COMMENT ON FUNCTION audit.cluster_meant(text) IS
    'The cluster a question is about: the given one, else the only one; an error where there are several. ''*'' means all.';

-- ---------------------------------------------------------------------------------------------- who held what
CREATE OR REPLACE VIEW audit.tenures AS
SELECT t.cluster, t.vpc, t.ipv4, t.ipv6, t.eni, t.mac, t.vswitch, t.kind,
       t.namespace, t.pod, t.interface, t.pod_uid, t.node, t.instance, t.trunk, t.vlan,
       lower(t.during) AS since, upper(t.during) AS until,
       opened.id AS opened_by_entry, opened.kind AS opened_by_kind, opened.cause AS opened_because,
       closed.id AS closed_by_entry, closed.kind AS closed_by_kind, closed.cause AS closed_because,
       t.allocation_id,
       t.opened_by AS opened_by_version, t.closed_by AS closed_by_version,
       -- Subselects and not joins: whoever does not ask for a reason does not pay for it.
       (SELECT jsonb_build_object('entry', e.id, 'kind', e.kind, 'topic', e.cause -> 'topic',
                                  'partition', e.cause -> 'partition', 'offset', e.cause -> 'offset',
                                  'event', e.cause -> 'event')
        FROM ledger.entry e
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by AND e.cause ? 'topic'
        ORDER BY e.version DESC LIMIT 1) AS message,
       (SELECT jsonb_build_object('entry', e.id, 'kind', e.kind, 'data', e.data)
        FROM ledger.entry e
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by
          AND e.kind IN ('requested', 'claimed', 'adopted', 'absence-confirmed', 'release-decided')
        ORDER BY e.version DESC LIMIT 1) AS decision,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'entry', e.id, 'kind', e.kind, 'api', coalesce(e.cause ->> 'call', c.api, 'look'),
                   'request_id', coalesce(e.data ->> 'request_id', e.cause ->> 'look')) ORDER BY e.version), '[]')
        FROM ledger.entry e
        LEFT JOIN ledger.cloud_call c
          ON e.kind IN ('call-done', 'call-refused', 'call-undone') AND c.intent = (e.data ->> 'intent')::uuid
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by
          AND e.version > coalesce((SELECT max(p.opened_by) FROM ledger.tenure p
                                    WHERE p.allocation_id = t.allocation_id AND p.opened_by < t.opened_by), 0)
          AND (e.kind IN ('call-done', 'call-refused', 'call-undone')
               OR e.kind IN ('attached', 'attach-failed', 'detached', 'eni-gone') AND e.cause ? 'look')) AS requests,
       (SELECT coalesce(ARRAY(SELECT jsonb_array_elements_text(e.data #> '{address,security_group_ids}')),
                        ARRAY[]::text[])
               || CASE WHEN c.api = 'ModifyNetworkInterfaceAttribute'
                       THEN string_to_array(c.parameters ->> 'security_group_ids', ',') ELSE '{}' END
        FROM ledger.entry e
        LEFT JOIN ledger.cloud_call c ON e.kind = 'call-done' AND c.intent = (e.data ->> 'intent')::uuid
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by AND e.kind IN ('call-done', 'adopted')
          AND (jsonb_typeof(e.data #> '{address,security_group_ids}') = 'array'
               OR c.api = 'ModifyNetworkInterfaceAttribute')
        ORDER BY e.version DESC LIMIT 1) AS security_groups
FROM ledger.tenure t
JOIN ledger.entry opened ON opened.allocation_id = t.allocation_id AND opened.version = t.opened_by
LEFT JOIN ledger.entry closed ON closed.allocation_id = t.allocation_id AND closed.version = t.closed_by;
COMMENT ON COLUMN audit.tenures.cluster IS 'The cluster id. Filter on it where the ledger serves several: rows of all are here.';
COMMENT ON COLUMN audit.tenures.vpc IS 'The VPC of the address: the same address may be held in two VPCs at once.';
COMMENT ON COLUMN audit.tenures.ipv4 IS 'The IPv4 address held.';
COMMENT ON COLUMN audit.tenures.ipv6 IS 'The IPv6 address held; null without one.';
COMMENT ON COLUMN audit.tenures.eni IS 'The elastic network interface that carries the addresses.';
COMMENT ON COLUMN audit.tenures.mac IS 'Its MAC address, in lower case with colons.';
COMMENT ON COLUMN audit.tenures.vswitch IS 'The vSwitch the addresses are from.';
COMMENT ON COLUMN audit.tenures.namespace IS 'Namespace of the Pod it was held for.';
COMMENT ON COLUMN audit.tenures.pod IS 'Name of the Pod it was held for.';
COMMENT ON COLUMN audit.tenures.interface IS 'The Pod''s interface, eth0 for most.';
COMMENT ON COLUMN audit.tenures.pod_uid IS 'Uid of the Pod; while reserved, of the one that was there last.';
COMMENT ON COLUMN audit.tenures.node IS 'The node of that Pod.';
COMMENT ON COLUMN audit.tenures.instance IS 'The ECS instance it was bound on; null unless bound.';
COMMENT ON COLUMN audit.tenures.trunk IS 'The trunk ENI it was a member of; null unless bound to one.';
COMMENT ON COLUMN audit.tenures.vlan IS 'Its VLAN on the trunk; null unless bound to one.';
COMMENT ON COLUMN audit.tenures.since IS 'When the period began, inclusive.';
COMMENT ON COLUMN audit.tenures.until IS 'When it ended, exclusive; null while it lasts.';
COMMENT ON COLUMN audit.tenures.opened_by_entry IS 'Id of the entry that began the period (audit.story.entry).';
COMMENT ON COLUMN audit.tenures.opened_by_kind IS 'Kind of that entry.';
COMMENT ON COLUMN audit.tenures.opened_because IS 'What led to that entry: a message, a look, a cloud call, a command.';
COMMENT ON COLUMN audit.tenures.closed_by_entry IS 'Id of the entry that ended the period; null while it lasts.';
COMMENT ON COLUMN audit.tenures.closed_by_kind IS 'Kind of that entry.';
COMMENT ON COLUMN audit.tenures.closed_because IS 'What led to that entry.';
COMMENT ON COLUMN audit.tenures.allocation_id IS 'The allocation whose story this period is part of.';
COMMENT ON COLUMN audit.tenures.opened_by_version IS 'Version of the allocation at which the period began.';
COMMENT ON COLUMN audit.tenures.closed_by_version IS 'Version at which it ended; null while it lasts.';
COMMENT ON COLUMN audit.tenures.message IS
    'The newest Kafka message behind the period: entry, kind, topic, partition, offset, and event (the CloudEvents id); null where none led to it.';
COMMENT ON COLUMN audit.tenures.decision IS 'The decision behind the period: entry, kind and data of it.';
COMMENT ON COLUMN audit.tenures.requests IS
    'The cloud requests between the beginning of the period before and this one''s: entry, kind, api and request_id of each, in order.';
COMMENT ON COLUMN audit.tenures.security_groups IS 'The ENI''s security groups during the period.';

DROP FUNCTION audit.ip_owner_at(inet, timestamptz);
DROP FUNCTION audit.timeline(inet);

-- With its owner's rights and in plpgsql: it probes the tables below the views, and keeps its plan between calls.
CREATE FUNCTION audit.ip_owner_at(ip inet, at timestamptz DEFAULT ledger.now(), cluster text DEFAULT NULL)
RETURNS SETOF audit.tenures LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE meant text := audit.cluster_meant(ip_owner_at.cluster);
BEGIN
    IF family(ip) = 4 THEN
        RETURN QUERY
        WITH RECURSIVE network (vpc) AS (
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv4 = ip ORDER BY k.vpc LIMIT 1)
            UNION ALL
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv4 = ip AND k.vpc > n.vpc ORDER BY k.vpc LIMIT 1)
            FROM network n WHERE n.vpc IS NOT NULL
        )
        SELECT t.* FROM network n
        CROSS JOIN LATERAL (
            SELECT k.allocation_id, k.opened_by, k.during FROM ledger.tenure k
            WHERE k.ipv4 = ip AND k.vpc = n.vpc AND lower(k.during) <= ip_owner_at.at
            ORDER BY lower(k.during) DESC LIMIT 1) newest
        JOIN audit.tenures t ON t.allocation_id = newest.allocation_id AND t.opened_by_version = newest.opened_by
        WHERE newest.during @> ip_owner_at.at AND (meant = '*' OR t.cluster = meant)
        ORDER BY t.vpc;
    ELSE
        RETURN QUERY
        WITH RECURSIVE network (vpc) AS (
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv6 = ip ORDER BY k.vpc LIMIT 1)
            UNION ALL
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv6 = ip AND k.vpc > n.vpc ORDER BY k.vpc LIMIT 1)
            FROM network n WHERE n.vpc IS NOT NULL
        )
        SELECT t.* FROM network n
        CROSS JOIN LATERAL (
            SELECT k.allocation_id, k.opened_by, k.during FROM ledger.tenure k
            WHERE k.ipv6 = ip AND k.vpc = n.vpc AND lower(k.during) <= ip_owner_at.at
            ORDER BY lower(k.during) DESC LIMIT 1) newest
        JOIN audit.tenures t ON t.allocation_id = newest.allocation_id AND t.opened_by_version = newest.opened_by
        WHERE newest.during @> ip_owner_at.at AND (meant = '*' OR t.cluster = meant)
        ORDER BY t.vpc;
    END IF;
END $$;
COMMENT ON FUNCTION audit.ip_owner_at(inet, timestamptz, text) IS
    'Who held an address at a moment, reserved counting as held: no row where nobody did through this ledger; more than one only across VPCs. cluster: may be left out where the ledger serves one; ''*'' for all.';

CREATE FUNCTION audit.timeline(ip inet, cluster text DEFAULT NULL)
RETURNS SETOF audit.tenures LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT t.* FROM audit.tenures t
    WHERE (t.ipv4 = ip OR t.ipv6 = ip)
      AND (SELECT audit.cluster_meant(timeline.cluster)) IN ('*', t.cluster)
    ORDER BY t.since, t.vpc
$$;
COMMENT ON FUNCTION audit.timeline(inet, text) IS
    'Everyone who ever held an address, oldest first. cluster: may be left out where the ledger serves one; ''*'' for all.';

-- ---------------------------------------------------------------------------------------------- what is so now
-- Two arms, so that each finds its partial index: a Pod's past costs as little as its present.
CREATE OR REPLACE VIEW audit.allocations AS
SELECT cluster, namespace, pod, interface, phase, parked, pod_uid, node, vpc, ipv4, ipv6, eni, mac,
       instance, trunk, vlan, vswitch, ttl_due, created_at, changed_at, id AS allocation_id, version,
       state #>> '{retention,rule}' AS rule, (state ->> 'absent_since')::timestamptz AS absent_since,
       state ->> 'release_requested' AS release_requested, state ->> 'released_why' AS released_why
FROM ledger.allocation WHERE phase <> 'released'
UNION ALL
SELECT cluster, namespace, pod, interface, phase, parked, pod_uid, node, vpc, ipv4, ipv6, eni, mac,
       instance, trunk, vlan, vswitch, ttl_due, created_at, changed_at, id, version,
       state #>> '{retention,rule}', (state ->> 'absent_since')::timestamptz,
       state ->> 'release_requested', state ->> 'released_why'
FROM ledger.allocation WHERE phase = 'released';
COMMENT ON COLUMN audit.allocations.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.allocations.namespace IS 'Namespace of the Pod.';
COMMENT ON COLUMN audit.allocations.pod IS 'Name of the Pod.';
COMMENT ON COLUMN audit.allocations.interface IS 'The Pod''s interface, eth0 for most.';
COMMENT ON COLUMN audit.allocations.phase IS
    'wanted: asked for; bound: in use; leaving: its Pod is gone, being unbound; reserved: kept for the Pod''s return; releasing: on its way back; released: over.';
COMMENT ON COLUMN audit.allocations.parked IS 'Why nothing further is tried, and the next step; null while work goes on.';
COMMENT ON COLUMN audit.allocations.pod_uid IS 'Uid of the Pod it serves, or served last.';
COMMENT ON COLUMN audit.allocations.node IS 'The node of that Pod.';
COMMENT ON COLUMN audit.allocations.vpc IS 'The VPC of the addresses; this and the next columns are null while it has no ENI.';
COMMENT ON COLUMN audit.allocations.ipv4 IS 'The IPv4 address.';
COMMENT ON COLUMN audit.allocations.ipv6 IS 'The IPv6 address, if any.';
COMMENT ON COLUMN audit.allocations.eni IS 'The elastic network interface.';
COMMENT ON COLUMN audit.allocations.mac IS 'Its MAC address.';
COMMENT ON COLUMN audit.allocations.instance IS 'The ECS instance it is attached to; null unless attached.';
COMMENT ON COLUMN audit.allocations.trunk IS 'The trunk ENI it is a member of; null unless a member.';
COMMENT ON COLUMN audit.allocations.vlan IS 'Its VLAN on the trunk; null unless a member.';
COMMENT ON COLUMN audit.allocations.vswitch IS 'The vSwitch of the addresses.';
COMMENT ON COLUMN audit.allocations.ttl_due IS 'When its reservation may end at the earliest; null where no TTL runs.';
COMMENT ON COLUMN audit.allocations.created_at IS 'When it was requested.';
COMMENT ON COLUMN audit.allocations.changed_at IS 'When its newest entry was recorded.';
COMMENT ON COLUMN audit.allocations.allocation_id IS 'Its id: the key to audit.story, audit.tenures and audit.calls.';
COMMENT ON COLUMN audit.allocations.version IS 'How many entries its story has.';
COMMENT ON COLUMN audit.allocations.rule IS 'What happens when its Pod is gone: none (it goes back), ttl, or never (kept for ever).';
COMMENT ON COLUMN audit.allocations.absent_since IS 'Since when its Pod is known to be gone; null while it is there.';
COMMENT ON COLUMN audit.allocations.release_requested IS 'How, by whom and why its release was asked for; null if it was not.';
COMMENT ON COLUMN audit.allocations.released_why IS 'Why it was released: elastic, ttl, requested or never-allocated.';

CREATE OR REPLACE VIEW audit.reservations AS
SELECT a.cluster, a.namespace, a.pod, a.interface, a.vpc, a.ipv4, a.ipv6, a.eni, a.vswitch,
       a.state #>> '{address,zone}' AS zone,
       (a.state ->> 'absent_since')::timestamptz AS absent_since,
       a.state #>> '{retention,rule}' AS rule,
       a.ttl_due, a.ttl_due - ledger.now() AS expires_in, a.id AS allocation_id,
       a.phase, a.pod_uid, a.state ->> 'release_requested' AS release_requested
FROM ledger.allocation a
WHERE a.phase IN ('leaving', 'reserved') AND a.ipv4 IS NOT NULL AND a.state #>> '{retention,rule}' <> 'none';
COMMENT ON COLUMN audit.reservations.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.reservations.namespace IS 'Namespace of the Pod it is kept for.';
COMMENT ON COLUMN audit.reservations.pod IS 'Name of the Pod it is kept for.';
COMMENT ON COLUMN audit.reservations.interface IS 'The Pod''s interface.';
COMMENT ON COLUMN audit.reservations.vpc IS 'The VPC of the address.';
COMMENT ON COLUMN audit.reservations.ipv4 IS 'The IPv4 address kept.';
COMMENT ON COLUMN audit.reservations.ipv6 IS 'The IPv6 address kept, if any.';
COMMENT ON COLUMN audit.reservations.eni IS 'The ENI that carries it.';
COMMENT ON COLUMN audit.reservations.vswitch IS 'The vSwitch it occupies.';
COMMENT ON COLUMN audit.reservations.zone IS 'The zone to which a Pod of that name has to come back.';
COMMENT ON COLUMN audit.reservations.absent_since IS 'Since when the Pod is known to be gone.';
COMMENT ON COLUMN audit.reservations.rule IS 'ttl, or never (kept until somebody releases it).';
COMMENT ON COLUMN audit.reservations.ttl_due IS 'When it may end at the earliest; null where it never does by itself.';
COMMENT ON COLUMN audit.reservations.expires_in IS 'How long that is from now; negative while its end waits for a live look.';
COMMENT ON COLUMN audit.reservations.allocation_id IS 'The allocation.';
COMMENT ON COLUMN audit.reservations.phase IS 'leaving while the ENI is being detached, then reserved.';
COMMENT ON COLUMN audit.reservations.pod_uid IS 'Uid of the Pod that was there last.';
COMMENT ON COLUMN audit.reservations.release_requested IS 'How, by whom and why its release was asked for; null if it was not.';

COMMENT ON COLUMN audit.calls.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.calls.api IS 'The cloud API''s action, for example CreateNetworkInterface.';
COMMENT ON COLUMN audit.calls.intended_at IS 'When the intent was recorded, before the call.';
COMMENT ON COLUMN audit.calls.settled_at IS 'When its outcome was recorded; null while it is open.';
COMMENT ON COLUMN audit.calls.outcome IS 'done, refused, or undone (a look found that it never took effect); null while open.';
COMMENT ON COLUMN audit.calls.code IS 'The cloud''s error code where it refused.';
COMMENT ON COLUMN audit.calls.request_id IS 'The cloud''s id of the request that settled it.';
COMMENT ON COLUMN audit.calls.client_token IS 'The idempotency token; null for APIs without one.';
COMMENT ON COLUMN audit.calls.parameters IS 'What was asked.';
COMMENT ON COLUMN audit.calls.deadline IS 'Until when it may still take effect unanswered.';
COMMENT ON COLUMN audit.calls.intent IS 'The intent''s id, in the ENI''s tag eni-ledger/intent.';
COMMENT ON COLUMN audit.calls.allocation_id IS 'The allocation it was made for.';
COMMENT ON COLUMN audit.calls.namespace IS 'Namespace of the Pod.';
COMMENT ON COLUMN audit.calls.pod IS 'Name of the Pod.';
COMMENT ON COLUMN audit.calls.interface IS 'The Pod''s interface.';

COMMENT ON COLUMN audit.story.entry IS 'The entry''s id; what is cited elsewhere. Not the commit order.';
COMMENT ON COLUMN audit.story.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.story.namespace IS 'Namespace of the Pod; null for commands and alarms.';
COMMENT ON COLUMN audit.story.pod IS 'Name of the Pod.';
COMMENT ON COLUMN audit.story.interface IS 'The Pod''s interface.';
COMMENT ON COLUMN audit.story.version IS 'The entry''s number in its allocation''s story, from 1.';
COMMENT ON COLUMN audit.story.kind IS 'What happened.';
COMMENT ON COLUMN audit.story.recorded_at IS 'When it was recorded, by the ledger''s clock.';
COMMENT ON COLUMN audit.story.cause IS
    'What led to it. By message: topic, partition, offset and event (the CloudEvents id); by look: look; by cloud call: call and request_id; by person: command and by.';
COMMENT ON COLUMN audit.story.data IS 'What the entry says, by its kind.';
COMMENT ON COLUMN audit.story.allocation_id IS 'The allocation it belongs to; filter on it: entries are indexed by allocation.';

COMMENT ON COLUMN audit.reported_addresses.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.reported_addresses.namespace IS 'Namespace of the Pod.';
COMMENT ON COLUMN audit.reported_addresses.pod IS 'Name of the Pod.';
COMMENT ON COLUMN audit.reported_addresses.pod_uid IS 'Uid of the Pod.';
COMMENT ON COLUMN audit.reported_addresses.ip IS 'status.podIP of the newest event, as text.';

COMMENT ON COLUMN audit.drift.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.drift.eni IS 'The ENI.';
COMMENT ON COLUMN audit.drift.kind IS
    'unknown-intent: tagged as ours by an intent this ledger never wrote; leak: nothing names it, its intent is closed; leak-in-use: the same, and in use; missing: the ledger has it and the cloud has not.';
COMMENT ON COLUMN audit.drift.detail IS 'What was found, in words.';
COMMENT ON COLUMN audit.drift.first_seen IS 'The first look that found it.';
COMMENT ON COLUMN audit.drift.last_seen IS 'The newest look that found it.';
COMMENT ON COLUMN audit.drift.accepted_at IS 'When a person accepted it as it is (verify --accept); null otherwise.';
COMMENT ON COLUMN audit.drift.accepted_by IS 'Who accepted it.';

-- ---------------------------------------------------------------------------------------------- capacity
-- One row a cluster and vSwitch: what is used and kept is the cluster's, what is free is the vSwitch's.
CREATE OR REPLACE VIEW audit.vswitch_capacity AS
SELECT v.id AS vswitch, v.vpc, v.zone, v.cidr,
       greatest(0, v.free_ips
           - (SELECT count(*) FROM ledger.tenure t
              WHERE t.vswitch = v.id AND lower(t.during) > v.looked_at AND t.ipv4 IS NOT NULL)
           + (SELECT count(*) FROM ledger.tenure t
              WHERE t.vswitch = v.id AND NOT upper_inf(t.during) AND upper(t.during) > v.looked_at
                AND t.ipv4 IS NOT NULL))::integer AS free_estimate,
       v.looked_at, held.in_use, held.reserved,
       c.cluster, held.releasing, held.reserved_for_ever,
       (CASE WHEN v.cidr ~ '^[0-9.]+/[0-9]+$' AND masklen(v.cidr::inet) <= 29
             THEN (1::bigint << (32 - masklen(v.cidr::inet))) - 4 END)::integer AS size
FROM audit.clusters c
CROSS JOIN ledger.vswitch v
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE a.phase IN ('wanted', 'bound')) AS in_use,
           count(*) FILTER (WHERE a.phase IN ('leaving', 'reserved')) AS reserved,
           count(*) FILTER (WHERE a.phase = 'releasing') AS releasing,
           count(*) FILTER (WHERE a.phase IN ('leaving', 'reserved') AND a.ttl_due IS NULL
                              AND a.state #>> '{retention,rule}' = 'never') AS reserved_for_ever
    FROM ledger.allocation a
    WHERE a.vswitch = v.id AND a.cluster = c.cluster AND a.ipv4 IS NOT NULL AND a.phase <> 'released'
) held
-- A cluster is told of the vSwitches it has to do with.
WHERE held.in_use + held.reserved + held.releasing > 0
   OR (SELECT count(*) FROM audit.clusters) = 1
   OR EXISTS (SELECT FROM ledger.observation o
              WHERE o.cluster = c.cluster AND o.entity = 'podnetworking' AND o.alive
                AND o.object #> '{spec,vSwitchOptions}' ? v.id);
COMMENT ON VIEW audit.vswitch_capacity IS
    'What each cluster uses and keeps in each vSwitch, and an estimate of what is free there.';
COMMENT ON COLUMN audit.vswitch_capacity.vswitch IS 'The vSwitch.';
COMMENT ON COLUMN audit.vswitch_capacity.vpc IS 'Its VPC.';
COMMENT ON COLUMN audit.vswitch_capacity.zone IS 'Its zone.';
COMMENT ON COLUMN audit.vswitch_capacity.cidr IS 'Its IPv4 block.';
COMMENT ON COLUMN audit.vswitch_capacity.free_estimate IS
    'Free addresses: the cloud''s count at the last look, less what this ledger took and plus what it gave back since. Others use the vSwitch too.';
COMMENT ON COLUMN audit.vswitch_capacity.looked_at IS 'When the cloud was last asked.';
COMMENT ON COLUMN audit.vswitch_capacity.in_use IS 'Addresses of this cluster''s Pods that are there or about to be.';
COMMENT ON COLUMN audit.vswitch_capacity.reserved IS 'Addresses kept for this cluster''s Pods that are away.';
COMMENT ON COLUMN audit.vswitch_capacity.cluster IS 'The cluster id. The free estimate is the vSwitch''s and repeats for each cluster: do not sum it.';
COMMENT ON COLUMN audit.vswitch_capacity.releasing IS 'Addresses of this cluster that are on their way back.';
COMMENT ON COLUMN audit.vswitch_capacity.reserved_for_ever IS 'Of the reserved ones, those that end only by a command.';
COMMENT ON COLUMN audit.vswitch_capacity.size IS 'Addresses that the block offers: all but the four the cloud keeps for itself.';

CREATE VIEW audit.node_capacity AS
SELECT n.cluster, n.name AS node, n.instance, n.trunk, n.member_slots, taken.attached, taken.waiting,
       greatest(0, n.member_slots - taken.attached - taken.waiting)::integer AS free
FROM (
    SELECT o.cluster, o.name,
           CASE WHEN o.object #>> '{metadata,labels,alibabacloud.com/lingjun-worker}' = 'true'
                THEN o.object #>> '{spec,providerID}'
                ELSE split_part(o.object #>> '{spec,providerID}', '.', 2) END AS instance,
           o.object #>> '{metadata,annotations,k8s.aliyun.com/trunk-on}' AS trunk,
           CASE WHEN o.object #>> '{status,allocatable,aliyun/member-eni}' ~ '^[0-9]{1,6}k?$'
                THEN replace(o.object #>> '{status,allocatable,aliyun/member-eni}', 'k', '000')::integer
           END AS member_slots
    FROM ledger.observation o WHERE o.entity = 'node' AND o.alive
) n
CROSS JOIN LATERAL (
    SELECT (SELECT count(*) FROM ledger.allocation a
            WHERE a.phase <> 'released' AND a.instance = n.instance AND a.trunk IS NOT NULL) AS attached,
           (SELECT count(*) FROM ledger.allocation a
            WHERE a.phase = 'wanted' AND a.cluster = n.cluster AND a.node = n.name
              AND a.instance IS NULL) AS waiting
) taken
WHERE n.member_slots IS NOT NULL;
COMMENT ON VIEW audit.node_capacity IS
    'Slots for member ENIs of each node that advertises some (aliyun/member-eni), as last heard of, and how many are taken.';
COMMENT ON COLUMN audit.node_capacity.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.node_capacity.node IS 'The node.';
COMMENT ON COLUMN audit.node_capacity.instance IS 'Its ECS instance.';
COMMENT ON COLUMN audit.node_capacity.trunk IS 'Its trunk ENI; null while it has none.';
COMMENT ON COLUMN audit.node_capacity.member_slots IS 'Member ENIs that it advertises room for.';
COMMENT ON COLUMN audit.node_capacity.attached IS 'Member ENIs of this ledger that are attached to it, or on their way to or from.';
COMMENT ON COLUMN audit.node_capacity.waiting IS 'Pods on it whose ENI is still to be attached.';
COMMENT ON COLUMN audit.node_capacity.free IS 'Slots left: advertised less attached and waiting.';

CREATE FUNCTION audit.vswitch_history(vswitch text, since timestamptz, step interval DEFAULT '6 hours')
RETURNS TABLE (at timestamptz, held bigint) LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    WITH moment AS (
        SELECT m AS at FROM generate_series(greatest(vswitch_history.since, ledger.now() - interval '400 days'),
                                            ledger.now(), greatest(vswitch_history.step, interval '1 minute')) m
    ), change AS (
        SELECT lower(t.during) AS at, 1 AS by FROM ledger.tenure t
        WHERE t.vswitch = vswitch_history.vswitch AND lower(t.during) > vswitch_history.since AND t.ipv4 IS NOT NULL
        UNION ALL
        SELECT upper(t.during), -1 FROM ledger.tenure t
        WHERE t.vswitch = vswitch_history.vswitch AND NOT upper_inf(t.during)
          AND upper(t.during) > vswitch_history.since AND t.ipv4 IS NOT NULL
    ), lasting AS (
        SELECT count(*) AS held FROM ledger.allocation a
        WHERE a.vswitch = vswitch_history.vswitch AND a.ipv4 IS NOT NULL AND a.phase <> 'released'
    )
    SELECT m.at, lasting.held - coalesce((SELECT sum(c.by) FROM change c WHERE c.at > m.at), 0)::bigint
    FROM moment m CROSS JOIN lasting ORDER BY m.at
$$;
COMMENT ON FUNCTION audit.vswitch_history(text, timestamptz, interval) IS
    'How many addresses of a vSwitch this ledger held, over all clusters, from a moment until now: a row a step.';

GRANT SELECT ON ALL TABLES IN SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
