-- What a person looks at first, for readers who may read schema audit alone. Additive: views, and no table is changed.

CREATE VIEW audit.waiting AS
SELECT cluster, kind, namespace, name, waiting_for, attempt AS attempts, due_at AS next_try_at
FROM ledger.work WHERE waiting_for IS NOT NULL AND attempt > 0;
COMMENT ON VIEW audit.waiting IS
    'Work that can''t go on: about which object, what it waits for, and when it is tried again. What only lets time pass is not here.';
COMMENT ON COLUMN audit.waiting.kind IS 'pod, podnetworking or sweep; namespace and name are empty for a sweep.';
COMMENT ON COLUMN audit.waiting.attempts IS 'Tries in a row without success.';

CREATE VIEW audit.brakes AS
SELECT cluster, scope, pulled_at, pulled_by, reason FROM ledger.brake;
COMMENT ON VIEW audit.brakes IS
    'What stands still, since when, by whom and why: all, or only what takes a network away (destructive).';

CREATE VIEW audit.sweeps AS
SELECT cluster, finished_at, enis, calls FROM ledger.sweep;
COMMENT ON VIEW audit.sweeps IS 'When cloud, PodENIs and ledger were last compared whole.';

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
COMMENT ON COLUMN audit.dead_letters.key IS 'The record''s key; bytes that are no ASCII are escaped as \nnn.';
COMMENT ON COLUMN audit.dead_letters.redriven_at IS 'When it was sent to its topic again; null while nobody did.';

GRANT SELECT ON audit.waiting, audit.brakes, audit.sweeps, audit.dead_letters
    TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
