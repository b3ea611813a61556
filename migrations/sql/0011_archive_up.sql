-- Retention: old entries move from `entry` and `feed` to archives, tables of their own that stay readable and can be
-- moved away; nothing is ever deleted. Additive for the code of the revision before: it finds what it knows under the
-- same names, and no entry moves before `eni-ledger archive` is given.

-- ---------------------------------------------------------------------------------------------- the archives
-- By feed position and not by id: ids are not in feed order, and a range of ids is never known to be complete while
-- an older transaction is open. Each partition is an archive, `entry_<first>_<last>`: an entry and its position in one
-- row, so that it can be held against its seals wherever it is. Indexes and triggers are each archive's own: they stay
-- when it is detached.
CREATE TABLE ledger.archived_entry (
    position       bigint NOT NULL,
    id             bigint NOT NULL,
    cluster        text NOT NULL,
    allocation_id  uuid,
    version        integer,
    kind           text NOT NULL,
    recorded_at    timestamptz NOT NULL,
    cause          jsonb NOT NULL,
    data           jsonb NOT NULL
) PARTITION BY RANGE (position);
COMMENT ON TABLE ledger.archived_entry IS
    'Entries that were moved out of ledger.entry, with their feed positions; a partition an archive.';

CREATE TABLE ledger.archive (
    name            text PRIMARY KEY CHECK (name = format('entry_%s_%s', first_position, last_position)),
    first_position  bigint NOT NULL UNIQUE CHECK (first_position > 0),
    last_position   bigint NOT NULL UNIQUE CHECK (last_position >= first_position),
    oldest          timestamptz NOT NULL,
    newest          timestamptz NOT NULL,
    archived_at     timestamptz NOT NULL,
    archived_by     text NOT NULL,
    seal            bytea NOT NULL CHECK (length(seal) = 32),
    told_by         bigint NOT NULL
);
COMMENT ON TABLE ledger.archive IS 'Every archive that was ever made, also those that were moved away.';
COMMENT ON COLUMN ledger.archive.seal IS 'Hash of the seal that ends at last_position.';
COMMENT ON COLUMN ledger.archive.told_by IS 'The entry (kind archived) that tells of it.';

CREATE TABLE ledger.archived_story (
    allocation_id    uuid NOT NULL,
    last_version     integer NOT NULL,
    first_version    integer NOT NULL,
    archive          text NOT NULL REFERENCES ledger.archive,
    entry_ids        bigint[] NOT NULL,
    kinds            text[] NOT NULL,
    settled_version  integer NOT NULL,
    settled_at       timestamptz NOT NULL,
    PRIMARY KEY (allocation_id, last_version),
    CHECK (cardinality(entry_ids) = last_version - first_version + 1),
    CHECK (cardinality(kinds) = cardinality(entry_ids)),
    CHECK (settled_version >= last_version)
);
COMMENT ON TABLE ledger.archived_story IS
    'Which entries of which allocation are in which archive, and up to where its current rows rest on archives.';
COMMENT ON COLUMN ledger.archived_story.settled_version IS
    'Rows that were over by this version rest on archives: rebuild leaves them alone. What is told beyond it begins with carried-forward.';
COMMENT ON COLUMN ledger.archived_story.settled_at IS 'When the entry of settled_version was recorded.';

-- Where no archive is, this is ledger.entry and nothing else, also to the planner.
CREATE VIEW ledger.every_entry AS
SELECT id, cluster, allocation_id, version, kind, recorded_at, cause, data FROM ledger.entry
UNION ALL
SELECT id, cluster, allocation_id, version, kind, recorded_at, cause, data FROM ledger.archived_entry;
COMMENT ON VIEW ledger.every_entry IS 'The entries, wherever they are: in ledger.entry or in an archive that is attached.';

CREATE TRIGGER archive_is_append_only BEFORE UPDATE OR DELETE ON ledger.archive
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER archive_is_never_truncated BEFORE TRUNCATE ON ledger.archive
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER archived_story_is_append_only BEFORE UPDATE OR DELETE ON ledger.archived_story
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER archived_story_is_never_truncated BEFORE TRUNCATE ON ledger.archived_story
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- ---------------------------------------------------------------------------------------------- append-only
-- Still refused, but for the owner's DELETE of a row that stands, byte for byte, in a registered archive. As text: to
-- jsonb 1.5 and 1.50 are equal, to a seal they are not. feed keeps its foreign key: a position leaves with its entry.
CREATE FUNCTION ledger.refuse_change_unless_archived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'feed' THEN
        IF EXISTS (SELECT FROM ledger.archive r
                   JOIN ledger.archived_entry a ON a.position BETWEEN r.first_position AND r.last_position
                   WHERE a.position = OLD.position AND a.id = OLD.entry_id) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'entry' THEN
        IF EXISTS (SELECT FROM ledger.archived_entry a
                   JOIN ledger.archive r ON a.position BETWEEN r.first_position AND r.last_position
                   WHERE a.id = OLD.id AND a.cluster = OLD.cluster AND a.kind = OLD.kind
                     AND a.allocation_id IS NOT DISTINCT FROM OLD.allocation_id
                     AND a.version IS NOT DISTINCT FROM OLD.version AND a.recorded_at = OLD.recorded_at
                     AND a.cause::text = OLD.cause::text AND a.data::text = OLD.data::text) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Correct the record by appending an entry that says what is true now; what is old moves by eni-ledger archive.';
END $$;
CREATE OR REPLACE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE ON ledger.entry
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_unless_archived();
CREATE OR REPLACE TRIGGER feed_is_append_only BEFORE UPDATE OR DELETE ON ledger.feed
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_unless_archived();

-- ---------------------------------------------------------------------------------------------- the public views
-- The same columns over every entry. Where an archive was moved away, its ids and kinds are still told, and in place
-- of a cause the archive that has it; an entry that nobody can account for is `gone`.
CREATE OR REPLACE VIEW audit.tenures AS
SELECT t.cluster, t.vpc, t.ipv4, t.ipv6, t.eni, t.mac, t.vswitch, t.kind,
       t.namespace, t.pod, t.interface, t.pod_uid, t.node, t.instance, t.trunk, t.vlan,
       lower(t.during) AS since, upper(t.during) AS until,
       coalesce(opened.id, opened_away.entry, 0) AS opened_by_entry,
       coalesce(opened.kind, opened_away.kind, 'gone') AS opened_by_kind,
       coalesce(opened.cause, opened_away.cause, '{"gone": "eni-ledger verify --seal"}') AS opened_because,
       CASE WHEN t.closed_by IS NOT NULL THEN coalesce(closed.id, closed_away.entry, 0) END AS closed_by_entry,
       CASE WHEN t.closed_by IS NOT NULL THEN coalesce(closed.kind, closed_away.kind, 'gone') END AS closed_by_kind,
       CASE WHEN t.closed_by IS NOT NULL
            THEN coalesce(closed.cause, closed_away.cause, '{"gone": "eni-ledger verify --seal"}') END
           AS closed_because,
       t.allocation_id,
       t.opened_by AS opened_by_version, t.closed_by AS closed_by_version,
       -- Subselects and not joins: whoever does not ask for a reason does not pay for it.
       (SELECT jsonb_build_object('entry', e.id, 'kind', e.kind, 'topic', e.cause -> 'topic',
                                  'partition', e.cause -> 'partition', 'offset', e.cause -> 'offset',
                                  'event', e.cause -> 'event')
        FROM ledger.every_entry e
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by AND e.cause ? 'topic'
        ORDER BY e.version DESC LIMIT 1) AS message,
       (SELECT jsonb_build_object('entry', e.id, 'kind', e.kind, 'data', e.data)
        FROM ledger.every_entry e
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by
          AND e.kind IN ('requested', 'claimed', 'adopted', 'absence-confirmed', 'release-decided')
        ORDER BY e.version DESC LIMIT 1) AS decision,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'entry', e.id, 'kind', e.kind, 'api', coalesce(e.cause ->> 'call', c.api, 'look'),
                   'request_id', coalesce(e.data ->> 'request_id', e.cause ->> 'look')) ORDER BY e.version), '[]')
        FROM ledger.every_entry e
        LEFT JOIN ledger.cloud_call c
          ON e.kind IN ('call-done', 'call-refused', 'call-undone') AND c.intent = (e.data ->> 'intent')::uuid
        WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by
          AND e.version > coalesce((SELECT max(p.opened_by) FROM ledger.tenure p
                                    WHERE p.allocation_id = t.allocation_id AND p.opened_by < t.opened_by), 0)
          AND (e.kind IN ('call-done', 'call-refused', 'call-undone')
               OR e.kind IN ('attached', 'attach-failed', 'detached', 'eni-gone') AND e.cause ? 'look')) AS requests,
       coalesce((
           SELECT coalesce(ARRAY(SELECT jsonb_array_elements_text(coalesce(
                               e.data #> '{address,security_group_ids}',
                               e.data #> '{state,address,security_group_ids}'))), ARRAY[]::text[])
                  || CASE WHEN c.api = 'ModifyNetworkInterfaceAttribute'
                          THEN string_to_array(c.parameters ->> 'security_group_ids', ',') ELSE '{}' END
           FROM ledger.every_entry e
           LEFT JOIN ledger.cloud_call c ON e.kind = 'call-done' AND c.intent = (e.data ->> 'intent')::uuid
           WHERE e.allocation_id = t.allocation_id AND e.version <= t.opened_by
             AND e.kind IN ('call-done', 'adopted', 'carried-forward')
             AND (jsonb_typeof(coalesce(e.data #> '{address,security_group_ids}',
                                        e.data #> '{state,address,security_group_ids}')) = 'array'
                  OR c.api = 'ModifyNetworkInterfaceAttribute')
           ORDER BY e.version DESC LIMIT 1
       ), (
           -- Its create is in an archive that was moved away: groups don't change within a period, so what was
           -- carried forward in its course says them, too.
           SELECT ARRAY(SELECT jsonb_array_elements_text(e.data #> '{state,address,security_group_ids}'))
           FROM ledger.every_entry e
           WHERE e.allocation_id = t.allocation_id AND e.kind = 'carried-forward' AND e.version > t.opened_by
             AND (t.closed_by IS NULL OR e.version < t.closed_by)
             AND jsonb_typeof(e.data #> '{state,address,security_group_ids}') = 'array'
           ORDER BY e.version LIMIT 1
       )) AS security_groups
FROM ledger.tenure t
LEFT JOIN ledger.every_entry opened ON opened.allocation_id = t.allocation_id AND opened.version = t.opened_by
LEFT JOIN ledger.every_entry closed ON closed.allocation_id = t.allocation_id AND closed.version = t.closed_by
LEFT JOIN LATERAL (
    SELECT s.entry_ids[t.opened_by - s.first_version + 1] AS entry, s.kinds[t.opened_by - s.first_version + 1] AS kind,
           jsonb_build_object('archive', s.archive) AS cause
    FROM ledger.archived_story s
    WHERE opened.id IS NULL AND s.allocation_id = t.allocation_id
      AND t.opened_by BETWEEN s.first_version AND s.last_version
) opened_away ON true
LEFT JOIN LATERAL (
    SELECT s.entry_ids[t.closed_by - s.first_version + 1] AS entry, s.kinds[t.closed_by - s.first_version + 1] AS kind,
           jsonb_build_object('archive', s.archive) AS cause
    FROM ledger.archived_story s
    WHERE closed.id IS NULL AND s.allocation_id = t.allocation_id
      AND t.closed_by BETWEEN s.first_version AND s.last_version
) closed_away ON true;

CREATE OR REPLACE VIEW audit.story AS
SELECT e.id AS entry, e.cluster, a.namespace, a.pod, a.interface, e.version, e.kind, e.recorded_at,
       e.cause, e.data, e.allocation_id
FROM ledger.every_entry e LEFT JOIN ledger.allocation a ON a.id = e.allocation_id;

CREATE VIEW audit.archives AS
SELECT r.name AS archive, r.first_position, r.last_position, r.last_position - r.first_position + 1 AS entries,
       r.oldest, r.newest, r.archived_at, r.archived_by, encode(r.seal, 'hex') AS seal, r.told_by AS told_by_entry,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'ledger.archived_entry'::regclass AND c.relname = r.name) AS here
FROM ledger.archive r;
COMMENT ON VIEW audit.archives IS
    'Where old entries are: tables ledger.<archive>, each a range of the feed. One that is not here was moved away, and what only it tells is not in the other views.';
COMMENT ON COLUMN audit.archives.archive IS 'Its name: the table of this name in schema ledger, entry_<first>_<last position>.';
COMMENT ON COLUMN audit.archives.first_position IS 'The first feed position in it.';
COMMENT ON COLUMN audit.archives.last_position IS 'The last feed position in it.';
COMMENT ON COLUMN audit.archives.entries IS 'How many entries it has: one a position.';
COMMENT ON COLUMN audit.archives.oldest IS 'When its oldest entry was recorded.';
COMMENT ON COLUMN audit.archives.newest IS 'When its newest entry was recorded.';
COMMENT ON COLUMN audit.archives.archived_at IS 'When the entries were moved there.';
COMMENT ON COLUMN audit.archives.archived_by IS 'Who did.';
COMMENT ON COLUMN audit.archives.seal IS 'The hash of the seal that ends with it (audit.seals.hash).';
COMMENT ON COLUMN audit.archives.told_by_entry IS 'The entry that tells of the move.';
COMMENT ON COLUMN audit.archives.here IS 'Whether it is attached; false where somebody moved it away.';

CREATE VIEW audit.archived_entries AS
SELECT a.cluster, a.namespace, a.pod, a.interface, s.allocation_id, s.archive, s.first_version, s.last_version, r.here,
       r.oldest
FROM ledger.archived_story s
JOIN ledger.allocation a ON a.id = s.allocation_id
JOIN audit.archives r ON r.archive = s.archive;
COMMENT ON VIEW audit.archived_entries IS 'Which entries of which allocation are in which archive.';
COMMENT ON COLUMN audit.archived_entries.cluster IS 'The cluster id. Filter on it where the ledger serves several.';
COMMENT ON COLUMN audit.archived_entries.namespace IS 'Namespace of the Pod.';
COMMENT ON COLUMN audit.archived_entries.pod IS 'Name of the Pod.';
COMMENT ON COLUMN audit.archived_entries.interface IS 'The Pod''s interface.';
COMMENT ON COLUMN audit.archived_entries.allocation_id IS 'The allocation.';
COMMENT ON COLUMN audit.archived_entries.archive IS 'The archive (audit.archives.archive).';
COMMENT ON COLUMN audit.archived_entries.first_version IS 'The first of its entries that is there.';
COMMENT ON COLUMN audit.archived_entries.last_version IS 'The last of its entries that is there.';
COMMENT ON COLUMN audit.archived_entries.here IS 'Whether the archive is attached; false where somebody moved it away.';
COMMENT ON COLUMN audit.archived_entries.oldest IS 'When the oldest entry of that archive was recorded.';

-- Only the owner archives: no role may write any of these.
GRANT SELECT ON ledger.archive, ledger.archived_entry, ledger.archived_story, ledger.every_entry
    TO eni_ledger_writer, eni_ledger_reconciler;
GRANT SELECT ON audit.archives, audit.archived_entries
    TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
