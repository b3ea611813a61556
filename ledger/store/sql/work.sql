-- name: signal
INSERT INTO ledger.work AS due (cluster, kind, namespace, name, due_at)
SELECT cluster, kind, namespace, name, %(at)s
FROM unnest(%(cluster)b::text[], %(kind)b::text[], %(namespace)b::text[], %(name)b::text[])
     AS rows (cluster, kind, namespace, name)
ORDER BY cluster, kind, namespace, name
ON CONFLICT (cluster, kind, namespace, name) DO UPDATE SET
    due_at = least(due.due_at, excluded.due_at), signals = due.signals + 1, attempt = 0

-- name: waiting_on_nodes
SELECT DISTINCT a.cluster, a.namespace, a.pod FROM ledger.allocation a
JOIN unnest(%(cluster)b::text[], %(node)b::text[]) AS rows (cluster, node)
  ON a.cluster = rows.cluster AND a.node = rows.node
WHERE a.phase = 'wanted'
ORDER BY a.cluster, a.namespace, a.pod

-- name: signal_unplaced
UPDATE ledger.work SET due_at = least(due_at, %(at)s), signals = signals + 1, attempt = 0
WHERE (cluster, kind, namespace, name) IN (
    SELECT w.cluster, w.kind, w.namespace, w.name FROM ledger.work w
    WHERE w.kind = 'pod' AND (w.cluster, w.namespace, w.name) IN (
        SELECT a.cluster, a.namespace, a.pod FROM ledger.allocation a
        JOIN ledger.observation o
          ON o.cluster = a.cluster AND o.entity = 'node' AND o.namespace = '' AND o.name = a.node
        JOIN unnest(%(cluster)b::text[], %(instance)b::text[]) AS rows (cluster, instance)
          ON rows.cluster = a.cluster
         AND rows.instance IN (o.object #>> '{spec,providerID}',
                               split_part(o.object #>> '{spec,providerID}', '.', 2))
        WHERE a.phase = 'wanted' AND a.state #>> '{place,instance_id}' IS NULL)
    ORDER BY w.cluster, w.kind, w.namespace, w.name
    FOR UPDATE)

-- name: claim
WITH due AS (
    SELECT cluster, kind, namespace, name FROM ledger.work
    WHERE due_at <= %(at)s AND (claimed_until IS NULL OR claimed_until <= %(at)s) AND cluster = %(cluster)s
    ORDER BY due_at, cluster, kind, namespace, name
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE ledger.work w SET claim_token = %(token)s, claimed_until = %(until)s
FROM due WHERE w.cluster = due.cluster AND w.kind = due.kind AND w.namespace = due.namespace AND w.name = due.name
RETURNING w.cluster, w.kind, w.namespace, w.name, w.signals, w.attempt, w.waiting_for

-- name: hold
UPDATE ledger.work SET claimed_until = %(until)s
WHERE cluster = %(cluster)s AND kind = %(kind)s AND namespace = %(namespace)s AND name = %(name)s
  AND claim_token = %(token)s

-- name: finish
WITH mine AS (
    SELECT cluster, kind, namespace, name, signals FROM ledger.work
    WHERE cluster = %(cluster)s AND kind = %(kind)s AND namespace = %(namespace)s AND name = %(name)s
      AND claim_token = %(token)s
    FOR UPDATE
), done AS (
    DELETE FROM ledger.work w USING mine
    WHERE w.cluster = mine.cluster AND w.kind = mine.kind AND w.namespace = mine.namespace AND w.name = mine.name
      AND mine.signals = %(signals)s AND %(due_at)s::timestamptz IS NULL
    RETURNING 1
)
UPDATE ledger.work w SET
    claim_token = NULL, claimed_until = NULL, attempt = %(attempt)s, waiting_for = %(waiting_for)s,
    due_at = CASE WHEN mine.signals = %(signals)s THEN %(due_at)s::timestamptz ELSE %(at)s END
FROM mine
WHERE w.cluster = mine.cluster AND w.kind = mine.kind AND w.namespace = mine.namespace AND w.name = mine.name
  AND NOT EXISTS (SELECT FROM done)

-- name: next_due
SELECT min(greatest(due_at, coalesce(claimed_until, due_at))) FROM ledger.work WHERE cluster = %(cluster)s

-- name: take_permit
-- The clock is read after the row is locked, and once: whoever waited for the lock with an older reading would
-- leave a token to the next one that the time in between has already given.
INSERT INTO ledger.rate_bucket AS bucket (account, region, api, tokens, filled_at)
VALUES (%(account)s, %(region)s, %(api)s, %(burst)s - 1, ledger.now())
ON CONFLICT (account, region, api) DO UPDATE SET (tokens, filled_at) = (
    SELECT least(%(burst)s, bucket.tokens
                 + greatest(0, extract(epoch FROM clock.at - bucket.filled_at)) * %(per_second)s) - 1,
           greatest(bucket.filled_at, clock.at)
    FROM (SELECT ledger.now() AS at) clock)
WHERE (bucket.backoff_until IS NULL OR bucket.backoff_until <= ledger.now())
  AND least(%(burst)s, bucket.tokens
            + greatest(0, extract(epoch FROM ledger.now() - bucket.filled_at)) * %(per_second)s) >= 1
RETURNING tokens

-- name: permit_again
SELECT greatest(
    clock.at + interval '1 millisecond',
    backoff_until,
    greatest(clock.at, filled_at) + make_interval(secs => (
        1 - least(%(burst)s, tokens + greatest(0, extract(epoch FROM clock.at - filled_at)) * %(per_second)s)
    ) / %(per_second)s))
FROM ledger.rate_bucket, (SELECT ledger.now() AS at) clock
WHERE account = %(account)s AND region = %(region)s AND api = %(api)s

-- name: crowd
SELECT count(*) FROM ledger.work WHERE cluster = %(cluster)s AND waiting_for = %(waiting_for)s

-- name: back_off
-- It fills from the end of the pause on: else all replicas would return with a whole burst in hand.
UPDATE ledger.rate_bucket SET
    backoff_until = greatest(backoff_until, %(until)s), tokens = least(tokens, 0), filled_at = greatest(filled_at, %(until)s)
WHERE account = %(account)s AND region = %(region)s AND api = %(api)s
