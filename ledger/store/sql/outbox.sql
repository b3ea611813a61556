-- name: begin
INSERT INTO ledger.outbox (topic) VALUES (%(topic)s) ON CONFLICT DO NOTHING

-- name: claim
UPDATE ledger.outbox SET token = %(token)s, held_until = ledger.now() + %(hold)s
WHERE topic = %(topic)s AND (token IS NULL OR token = %(token)s OR held_until <= ledger.now())
RETURNING position, next_offset

-- name: advance
UPDATE ledger.outbox SET position = %(position)s, next_offset = %(next_offset)s, held_until = ledger.now() + %(hold)s
WHERE topic = %(topic)s AND token = %(token)s AND position = %(before)s

-- name: give_up
UPDATE ledger.outbox SET token = NULL, held_until = NULL WHERE topic = %(topic)s AND token = %(token)s

-- name: lag
SELECT (SELECT coalesce(max(position), 0) FROM ledger.feed) + (SELECT count(*) FROM ledger.unfed)
    - coalesce((SELECT position FROM ledger.outbox WHERE topic = %(topic)s), 0)

-- name: unpublished
-- The Pod of a story is in its first entry; of a remark, in the remark itself. Not from allocation: that is state, asked
-- only where the first entry is in an archive that was moved away. A log that was lost begins again in the archives.
WITH next AS (
    (SELECT a.position, a.id, a.cluster, a.kind, a.recorded_at, a.allocation_id, a.version, a.cause, a.data
     FROM ledger.archived_entry a
     WHERE a.position > %(after)s AND a.position <= %(after)s + %(limit)s)
    UNION ALL
    (SELECT f.position, e.id, e.cluster, e.kind, e.recorded_at, e.allocation_id, e.version, e.cause, e.data
     FROM ledger.feed f JOIN ledger.entry e ON e.id = f.entry_id
     WHERE f.position > %(after)s AND f.position <= %(after)s + %(limit)s)
)
SELECT n.position, n.id, n.cluster, n.kind, n.recorded_at, n.allocation_id, n.version, n.cause, n.data,
    coalesce(first.data ->> 'namespace', a.namespace, n.data ->> 'namespace') AS namespace,
    coalesce(first.data ->> 'pod', a.pod, n.data ->> 'pod') AS pod,
    coalesce(first.data ->> 'interface', a.interface) AS interface
FROM next n
LEFT JOIN ledger.every_entry first ON first.allocation_id = n.allocation_id AND first.version = 1
LEFT JOIN ledger.allocation a ON first.id IS NULL AND a.id = n.allocation_id
ORDER BY n.position

-- name: archive_with
SELECT name FROM ledger.archive WHERE %(position)s BETWEEN first_position AND last_position
