-- name: archives
SELECT archive AS name, first_position AS first, last_position AS last, oldest, newest, archived_at, archived_by,
    seal, told_by_entry AS told_by, here
FROM audit.archives ORDER BY first_position

-- name: bounds
-- What may move at most: sealed, published wherever somebody publishes, and never the newest position, from which the
-- next one is counted.
SELECT (SELECT coalesce(max(last_position), 0) FROM ledger.archive) AS archived,
    (SELECT coalesce(max(upto), 0) FROM ledger.seal) AS sealed,
    (SELECT min(position) FROM ledger.outbox) AS published,
    (SELECT topic FROM ledger.outbox ORDER BY position, topic LIMIT 1) AS topic,
    (SELECT coalesce(max(position), 0) FROM ledger.feed) AS fed

-- name: is_owner
SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'ledger.entry'::regclass

-- name: recorded_at
SELECT e.recorded_at FROM ledger.feed f JOIN ledger.entry e ON e.id = f.entry_id WHERE f.position = %(position)s

-- name: last_seal_by
SELECT max(upto) FROM ledger.seal WHERE upto <= %(position)s AND upto > %(after)s

-- name: first_seal_after
SELECT min(upto) FROM ledger.seal WHERE upto > %(after)s

-- name: to_carry
-- Allocations that live, whose story begins at or before the cut, and that were not carried beyond it yet.
SELECT a.id FROM ledger.allocation a
WHERE a.phase <> 'released'
  AND (SELECT f.position FROM ledger.entry e LEFT JOIN ledger.feed f ON f.entry_id = e.id
       WHERE e.allocation_id = a.id ORDER BY e.version LIMIT 1) <= %(upto)s
  AND NOT EXISTS (SELECT FROM ledger.entry e LEFT JOIN ledger.feed f ON f.entry_id = e.id
                  WHERE e.allocation_id = a.id AND e.kind = 'carried-forward'
                    AND (f.position IS NULL OR f.position > %(upto)s))
ORDER BY a.cluster, a.namespace, a.pod, a.id

-- name: stories_of
SELECT e.id, e.allocation_id, e.version, e.kind, e.recorded_at, e.data FROM ledger.entry e
WHERE e.allocation_id = ANY(%(ids)b::uuid[])
  AND e.version > coalesce((SELECT max(s.settled_version) FROM ledger.archived_story s
                            WHERE s.allocation_id = e.allocation_id), 0)
ORDER BY e.allocation_id, e.version

-- name: copy_range
INSERT INTO ledger.{name} (position, id, cluster, allocation_id, version, kind, recorded_at, cause, data)
SELECT f.position, e.id, e.cluster, e.allocation_id, e.version, e.kind, e.recorded_at, e.cause, e.data
FROM ledger.feed f JOIN ledger.entry e ON e.id = f.entry_id
WHERE f.position BETWEEN {first} AND {last} ORDER BY f.position

-- name: copied_rows
SELECT a.position, a.id AS entry_id, a.cluster, a.allocation_id::text, a.version, a.kind,
    trunc(extract(epoch FROM a.recorded_at) * 1000000)::text AS recorded_at, a.cause::text, a.data::text
FROM ledger.{name} a ORDER BY a.position

-- name: register
INSERT INTO ledger.archive (name, first_position, last_position, oldest, newest, archived_at, archived_by, seal, told_by)
SELECT %(name)s, %(first)s, %(last)s, min(recorded_at), max(recorded_at), %(at)s, %(by)s, %(seal)s, %(told_by)s
FROM ledger.{name}

-- name: register_stories
-- A story rests on archives up to its release, or up to just before the entry that carries it forward.
INSERT INTO ledger.archived_story (allocation_id, first_version, last_version, archive, entry_ids, kinds,
    settled_version, settled_at)
SELECT s.allocation_id, s.first_version, s.last_version, %(name)s, s.entry_ids, s.kinds, settled.version, settled.at
FROM (SELECT allocation_id, min(version) AS first_version, max(version) AS last_version,
             array_agg(id ORDER BY version) AS entry_ids, array_agg(kind ORDER BY version) AS kinds
      FROM ledger.{name} WHERE allocation_id IS NOT NULL GROUP BY allocation_id) s
LEFT JOIN LATERAL (
    SELECT e.version - (e.kind = 'carried-forward')::integer AS version,
           CASE e.kind WHEN 'released' THEN e.recorded_at
                       ELSE (e.data #>> '{{state,changed_at}}')::timestamptz END AS at
    FROM ledger.entry e
    WHERE e.allocation_id = s.allocation_id
      AND (e.kind = 'carried-forward' AND e.version > s.last_version OR e.kind = 'released')
    ORDER BY e.kind, e.version DESC LIMIT 1
) settled ON true

-- name: unsettled_story
SELECT a.allocation_id FROM ledger.{name} a
WHERE a.allocation_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM ledger.entry e WHERE e.allocation_id = a.allocation_id
      AND (e.kind = 'carried-forward' AND e.version > a.version OR e.kind = 'released'))
ORDER BY a.position LIMIT 1

-- name: leave_feed
DELETE FROM ledger.feed WHERE position BETWEEN {first} AND {last}

-- name: leave_entry
DELETE FROM ledger.entry e USING ledger.{name} a WHERE a.id = e.id
