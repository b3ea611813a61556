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
-- The Pod of a story is in its first entry; of a remark, in the remark itself. Not from allocation: that is state.
SELECT f.position, e.id, e.cluster, e.kind, e.recorded_at, e.allocation_id, e.version, e.cause, e.data,
    coalesce(first.data ->> 'namespace', e.data ->> 'namespace') AS namespace,
    coalesce(first.data ->> 'pod', e.data ->> 'pod') AS pod,
    first.data ->> 'interface' AS interface
FROM ledger.feed f
JOIN ledger.entry e ON e.id = f.entry_id
LEFT JOIN ledger.entry first ON first.allocation_id = e.allocation_id AND first.version = 1
WHERE f.position > %(after)s AND f.position <= %(after)s + %(limit)s
ORDER BY f.position
