-- What a person looks at first, for readers who may read schema audit alone. Additive: views, and no table is changed.

CREATE VIEW audit.waiting AS
SELECT cluster, kind, namespace, name, waiting_for, attempt AS attempts, due_at AS next_try_at
FROM ledger.work WHERE waiting_for IS NOT NULL AND attempt > 0;
COMMENT ON VIEW audit.waiting IS
    'Work that can''t go on: about which object, what it waits for, and when it is tried again. What only lets time pass is not here.';
COMMENT ON COLUMN audit.waiting.cluster IS 'The cluster id.';
COMMENT ON COLUMN audit.waiting.kind IS 'pod, podnetworking or sweep; namespace and name are empty for a sweep.';
COMMENT ON COLUMN audit.waiting.namespace IS 'Namespace of the Pod; empty for what has none.';
COMMENT ON COLUMN audit.waiting.name IS 'Name of the Pod or PodNetworking.';
COMMENT ON COLUMN audit.waiting.waiting_for IS 'What it waits for, in words.';
COMMENT ON COLUMN audit.waiting.attempts IS 'Tries in a row without success.';
COMMENT ON COLUMN audit.waiting.next_try_at IS 'When it is tried again, if nothing is heard before.';

CREATE VIEW audit.brakes AS
SELECT cluster, scope, pulled_at, pulled_by, reason FROM ledger.brake;
COMMENT ON VIEW audit.brakes IS
    'What stands still, since when, by whom and why: all, or only what takes a network away (destructive).';
COMMENT ON COLUMN audit.brakes.cluster IS 'The cluster id.';
COMMENT ON COLUMN audit.brakes.scope IS 'all, or destructive: detaching, deleting, releasing.';
COMMENT ON COLUMN audit.brakes.pulled_at IS 'Since when.';
COMMENT ON COLUMN audit.brakes.pulled_by IS 'Who, or the part of the system that did.';
COMMENT ON COLUMN audit.brakes.reason IS 'Why, in words.';

CREATE VIEW audit.sweeps AS
SELECT cluster, finished_at, enis, calls FROM ledger.sweep;
COMMENT ON VIEW audit.sweeps IS 'When cloud, PodENIs and ledger were last compared whole.';
COMMENT ON COLUMN audit.sweeps.cluster IS 'The cluster id.';
COMMENT ON COLUMN audit.sweeps.finished_at IS 'When the last whole comparison ended.';
COMMENT ON COLUMN audit.sweeps.enis IS 'ENIs it looked at.';
COMMENT ON COLUMN audit.sweeps.calls IS 'Cloud calls it took.';

-- A letter belongs to the cluster that its key names, or its header ce_source, or to the only cluster of this ledger.
-- Neither header values nor the message itself are shown: whatever was in it could not be read, so it could not be
-- stripped of secrets either.
CREATE VIEW audit.dead_letters AS
WITH known AS (SELECT cluster FROM ledger.cluster UNION SELECT cluster FROM ledger.watermark)
SELECT coalesce(
           (SELECT c.cluster FROM known c
            WHERE c.cluster = split_part(pg_catalog.encode(d.key, 'escape'), '/', 1)),
           (SELECT c.cluster FROM known c
            WHERE EXISTS (SELECT FROM jsonb_array_elements(d.headers) AS header
                          WHERE lower(header ->> 0) = 'ce_source'
                            AND header ->> 1 = translate(pg_catalog.encode(
                                convert_to('/clusters/' || c.cluster, 'UTF8'), 'base64'), E'\n', ''))),
           (SELECT min(c.cluster) FROM known c HAVING count(*) = 1)
       ) AS cluster,
       d.id, d.topic, d.partition, d."offset", pg_catalog.encode(d.key, 'escape') AS key,
       coalesce(octet_length(d.value), 0) AS bytes, d.error_class, d.message,
       d.recorded_at, d.published_at, d.redriven_at
FROM ledger.dead_letter d;
COMMENT ON VIEW audit.dead_letters IS
    'Messages that could not be taken in, and why; never their contents. cluster is null where a ledger of several clusters can''t tell whose it is.';
COMMENT ON COLUMN audit.dead_letters.cluster IS 'The cluster id, as far as it can be told.';
COMMENT ON COLUMN audit.dead_letters.id IS 'What `eni-ledger dlq show` and `redrive` take.';
COMMENT ON COLUMN audit.dead_letters.topic IS 'The topic it came from.';
COMMENT ON COLUMN audit.dead_letters.partition IS 'Its partition there.';
COMMENT ON COLUMN audit.dead_letters."offset" IS 'Its offset there; an offset alone is no identity once a log was made anew.';
COMMENT ON COLUMN audit.dead_letters.bytes IS 'Size of the message.';
COMMENT ON COLUMN audit.dead_letters.error_class IS 'The kind of reason.';
COMMENT ON COLUMN audit.dead_letters.message IS 'The reason, in words.';
COMMENT ON COLUMN audit.dead_letters.recorded_at IS 'When it was found that it can''t be taken in.';
COMMENT ON COLUMN audit.dead_letters.published_at IS 'When its dead-letter topic got it; null before.';
COMMENT ON COLUMN audit.dead_letters.key IS 'The record''s key; bytes that are no ASCII are escaped as \nnn.';
COMMENT ON COLUMN audit.dead_letters.redriven_at IS 'When it was sent to its topic again; null while nobody did.';

GRANT SELECT ON audit.waiting, audit.brakes, audit.sweeps, audit.dead_letters
    TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
