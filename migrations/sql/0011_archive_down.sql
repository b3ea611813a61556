-- The way back is there while nothing has been archived: the code of the revision before reads neither archives nor
-- entries that were carried forward.
DO $$
BEGIN
    IF EXISTS (SELECT FROM ledger.archive)
       OR EXISTS (SELECT FROM ledger.entry WHERE kind = 'carried-forward') THEN
        RAISE EXCEPTION 'entries were archived: the revision before 0011 can''t read this ledger'
            USING HINT = 'Stay at 0011 or newer; or restore a backup from before the first eni-ledger archive.';
    END IF;
END $$;

CREATE OR REPLACE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE ON ledger.entry
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE OR REPLACE TRIGGER feed_is_append_only BEFORE UPDATE OR DELETE ON ledger.feed
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
DROP FUNCTION ledger.refuse_change_unless_archived();
DROP VIEW audit.archived_entries, audit.archives;

-- As 0009 and 0003 made them.
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

CREATE OR REPLACE VIEW audit.story AS
SELECT e.id AS entry, e.cluster, a.namespace, a.pod, a.interface, e.version, e.kind, e.recorded_at,
       e.cause, e.data, e.allocation_id
FROM ledger.entry e LEFT JOIN ledger.allocation a ON a.id = e.allocation_id;

DROP VIEW ledger.every_entry;
DROP TABLE ledger.archived_story, ledger.archive, ledger.archived_entry;
