-- name: last_seal
SELECT upto, hash FROM ledger.seal ORDER BY upto DESC LIMIT 1

-- name: clock
SELECT at, trunc(extract(epoch FROM at) * 1000000)::text AS microseconds FROM (SELECT ledger.now() AS at) clock

-- name: feed_rows
SELECT f.position, f.entry_id, e.cluster, e.allocation_id::text, e.version, e.kind,
    trunc(extract(epoch FROM e.recorded_at) * 1000000)::text AS recorded_at, e.cause::text, e.data::text
FROM ledger.feed f LEFT JOIN ledger.entry e ON e.id = f.entry_id
WHERE f.position > %(after)s AND f.position <= %(upto)s
ORDER BY f.position, f.entry_id
LIMIT %(limit)s

-- name: archived_rows
SELECT a.position, a.id AS entry_id, a.cluster, a.allocation_id::text, a.version, a.kind,
    trunc(extract(epoch FROM a.recorded_at) * 1000000)::text AS recorded_at, a.cause::text, a.data::text
FROM ledger.archived_entry a
ORDER BY a.position

-- name: archived_row
SELECT a.position, a.id AS entry_id, a.cluster, a.allocation_id::text, a.version, a.kind,
    trunc(extract(epoch FROM a.recorded_at) * 1000000)::text AS recorded_at, a.cause::text, a.data::text
FROM ledger.archived_entry a WHERE a.id = %(entry_id)s

-- name: append_seal
INSERT INTO ledger.seal (upto, since, sealed_at, entry_ids, row_hashes, column_checks, previous, hash)
VALUES (%(upto)s, %(since)s, %(sealed_at)s, %(entry_ids)b::bigint[], %(row_hashes)b, %(column_checks)b, %(previous)b, %(hash)b)

-- name: seals
SELECT since, upto, trunc(extract(epoch FROM sealed_at) * 1000000)::text AS sealed_at,
    entry_ids, row_hashes, column_checks, previous, hash
FROM ledger.seal ORDER BY upto, since

-- name: seals_from
SELECT since, upto, trunc(extract(epoch FROM sealed_at) * 1000000)::text AS sealed_at,
    entry_ids, row_hashes, column_checks, previous, hash
FROM ledger.seal WHERE since >= %(first)s AND upto <= %(last)s ORDER BY upto

-- name: seal_ending_at
SELECT hash FROM ledger.seal WHERE upto = %(upto)s

-- name: is_sealed
SELECT EXISTS (SELECT FROM ledger.seal WHERE %(entry_id)s = ANY (entry_ids))

-- name: whereabouts
SELECT coalesce((SELECT min(position) FROM ledger.feed WHERE entry_id = %(entry_id)s),
                (SELECT min(position) FROM ledger.archived_entry WHERE id = %(entry_id)s)),
    EXISTS (SELECT FROM ledger.every_entry WHERE id = %(entry_id)s)

-- name: untold_archives
-- Archives that no entry at hand tells of as they are registered, and the seal that has the entry that should.
SELECT r.name, r.told_by,
    (SELECT s.since + array_position(s.entry_ids, r.told_by) - 1 FROM ledger.seal s
     WHERE s.upto > r.last_position AND r.told_by = ANY (s.entry_ids) LIMIT 1) AS position
FROM ledger.archive r
WHERE NOT EXISTS (
    SELECT FROM ledger.every_entry e
    WHERE e.id = r.told_by AND e.kind = 'archived' AND e.data ->> 'archive' = r.name
      AND e.data ->> 'seal' = encode(r.seal, 'hex'))
ORDER BY r.first_position

-- name: outside_the_feed
SELECT e.id, e.kind FROM ledger.entry e
WHERE NOT EXISTS (SELECT FROM ledger.feed f WHERE f.entry_id = e.id)
  AND NOT EXISTS (SELECT FROM ledger.unfed u WHERE u.entry_id = e.id)
ORDER BY e.id
LIMIT %(limit)s

-- name: tail
SELECT s.upto AS sealed, f.position AS fed,
    greatest(f.position - s.upto, 0) + (SELECT count(*) FROM ledger.unfed) AS entries,
    ledger.now() - coalesce(
        (SELECT e.recorded_at FROM ledger.feed n JOIN ledger.entry e ON e.id = n.entry_id
         WHERE n.position > s.upto ORDER BY n.position LIMIT 1),
        (SELECT e.recorded_at FROM ledger.unfed u JOIN ledger.entry e ON e.id = u.entry_id
         ORDER BY u.entry_id LIMIT 1)) AS age
FROM (SELECT coalesce(max(upto), 0) AS upto FROM ledger.seal) s,
    (SELECT coalesce(max(position), 0) AS position FROM ledger.feed) f

-- name: head
SELECT (SELECT hash FROM audit.seals ORDER BY last_position LIMIT 1) AS ledger,
    last_position, last_entry, hash, sealed_at, ledger.now() AS exported_at
FROM audit.seals ORDER BY last_position DESC LIMIT 1
