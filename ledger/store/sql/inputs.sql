-- name: move_offsets
UPDATE ledger.kafka_offset o SET next = rows.next, last_event_id = rows.last_event_id, taken_at = %(at)s
FROM unnest(%(topic)b::text[], %(partition)b::int[], %(expected)b::bigint[], %(next)b::bigint[], %(last_event_id)b::text[])
     AS rows (topic, partition, expected, next, last_event_id)
WHERE o.topic = rows.topic AND o.partition = rows.partition AND o.next = rows.expected
RETURNING o.topic, o.partition

-- name: lock_offsets
SELECT o.topic, o.partition FROM ledger.kafka_offset o
JOIN unnest(%(topic)b::text[], %(partition)b::int[]) AS rows (topic, partition)
  ON o.topic = rows.topic AND o.partition = rows.partition
ORDER BY o.topic, o.partition
FOR UPDATE OF o

-- name: begin_offset
INSERT INTO ledger.kafka_offset (topic, partition, next, last_event_id, taken_at)
VALUES (%(topic)s, %(partition)s, %(next)s, NULL, ledger.now())
ON CONFLICT (topic, partition) DO NOTHING

-- name: read_offset
SELECT next, last_event_id FROM ledger.kafka_offset WHERE topic = %(topic)s AND partition = %(partition)s

-- name: reset_offset
UPDATE ledger.kafka_offset SET next = %(next)s, last_event_id = NULL, taken_at = ledger.now()
WHERE topic = %(topic)s AND partition = %(partition)s

-- name: observe
INSERT INTO ledger.observation AS known
    (cluster, entity, namespace, name, source, epoch, resource_version, uid, alive, object, cause)
SELECT cluster, entity, namespace, name, source, epoch, resource_version, uid, alive, object::jsonb, cause::jsonb
FROM unnest(%(cluster)b::text[], %(entity)b::text[], %(namespace)b::text[], %(name)b::text[], %(source)b::text[],
            %(epoch)b::int[], %(resource_version)b::bigint[], %(uid)b::text[], %(alive)b::bool[], %(object)b::text[],
            %(cause)b::text[])
     AS rows (cluster, entity, namespace, name, source, epoch, resource_version, uid, alive, object, cause)
ORDER BY cluster, entity, namespace, name
ON CONFLICT (cluster, entity, namespace, name) DO UPDATE SET
    source = excluded.source, epoch = excluded.epoch, resource_version = excluded.resource_version,
    uid = excluded.uid, alive = excluded.alive, object = excluded.object, cause = excluded.cause
WHERE (excluded.epoch, excluded.resource_version) > (known.epoch, known.resource_version)
RETURNING cluster, entity, namespace, name

-- name: may_be_unlisted
SELECT k.cluster, k.entity, k.namespace, k.name FROM ledger.observation k
WHERE k.cluster = %(cluster)s AND k.entity = %(entity)s AND k.source = %(source)s AND k.alive
  AND (k.epoch, k.resource_version) < (%(epoch)s, %(resource_version)s)
  AND (CASE WHEN k.namespace = '' THEN k.name ELSE k.namespace || '/' || k.name END) COLLATE "C" >= %(from)s
  AND (%(to)s::text IS NULL
       OR (CASE WHEN k.namespace = '' THEN k.name ELSE k.namespace || '/' || k.name END) COLLATE "C" < %(to)s)
  AND NOT (CASE WHEN k.namespace = '' THEN k.name ELSE k.namespace || '/' || k.name END) = ANY(%(keys)b::text[])

-- name: lock_observations
SELECT FROM ledger.observation o
JOIN unnest(%(cluster)b::text[], %(entity)b::text[], %(namespace)b::text[], %(name)b::text[])
     AS rows (cluster, entity, namespace, name)
  ON o.cluster = rows.cluster AND o.entity = rows.entity AND o.namespace = rows.namespace AND o.name = rows.name
ORDER BY o.cluster, o.entity, o.namespace, o.name
FOR UPDATE OF o

-- name: unlisted
UPDATE ledger.observation o
SET alive = false, object = NULL, epoch = %(epoch)s, resource_version = %(resource_version)s, cause = %(cause)s::jsonb
WHERE (o.cluster, o.entity, o.namespace, o.name) IN (
    SELECT k.cluster, k.entity, k.namespace, k.name FROM ledger.observation k
    WHERE k.cluster = %(cluster)s AND k.entity = %(entity)s AND k.source = %(source)s AND k.alive
      AND (k.epoch, k.resource_version) < (%(epoch)s, %(resource_version)s)
      AND (CASE WHEN k.namespace = '' THEN k.name ELSE k.namespace || '/' || k.name END) COLLATE "C" >= %(from)s
      AND (%(to)s::text IS NULL
           OR (CASE WHEN k.namespace = '' THEN k.name ELSE k.namespace || '/' || k.name END) COLLATE "C" < %(to)s)
      AND NOT (CASE WHEN k.namespace = '' THEN k.name ELSE k.namespace || '/' || k.name END) = ANY(%(keys)b::text[])
    ORDER BY k.cluster, k.entity, k.namespace, k.name
    FOR UPDATE)
RETURNING o.cluster, o.entity, o.namespace, o.name

-- name: read_observations
SELECT o.cluster, o.entity, o.namespace, o.name, o.uid, o.alive, o.object, o.cause, o.epoch, o.resource_version
FROM ledger.observation o
JOIN unnest(%(cluster)b::text[], %(entity)b::text[], %(namespace)b::text[], %(name)b::text[])
     AS rows (cluster, entity, namespace, name)
  ON o.cluster = rows.cluster AND o.entity = rows.entity AND o.namespace = rows.namespace AND o.name = rows.name
ORDER BY o.cluster, o.entity, o.namespace, o.name

-- name: seen_scheduled
SELECT o.cluster, o.entity, o.namespace, o.name
FROM ledger.observation o
JOIN unnest(%(cluster)b::text[], %(entity)b::text[], %(namespace)b::text[], %(name)b::text[], %(uid)b::text[])
     AS rows (cluster, entity, namespace, name, uid)
  ON o.cluster = rows.cluster AND o.entity = rows.entity AND o.namespace = rows.namespace AND o.name = rows.name
WHERE o.uid = rows.uid AND coalesce(o.object #>> '{spec,nodeName}', '') <> ''
ORDER BY o.cluster, o.entity, o.namespace, o.name

-- name: read_podnetworkings
SELECT object FROM ledger.observation
WHERE cluster = %(cluster)s AND entity = 'podnetworking' AND alive
ORDER BY namespace, name

-- name: is_remarked
SELECT 1 FROM ledger.every_entry
WHERE cluster = %(cluster)s AND kind = 'missed-by-admission' AND data ->> 'uid' = %(uid)s
LIMIT 1

-- name: lock_observation
SELECT epoch, resource_version FROM ledger.observation
WHERE cluster = %(cluster)s AND entity = %(entity)s AND namespace = %(namespace)s AND name = %(name)s
FOR UPDATE

-- name: place_of_observation
SELECT epoch, resource_version FROM ledger.observation
WHERE cluster = %(cluster)s AND entity = %(entity)s AND namespace = %(namespace)s AND name = %(name)s

-- name: believe
UPDATE ledger.observation
SET uid = %(uid)s, alive = %(object)s::text IS NOT NULL, object = %(object)s::jsonb,
    resource_version = %(resource_version)s, cause = %(cause)s::jsonb
WHERE cluster = %(cluster)s AND entity = %(entity)s AND namespace = %(namespace)s AND name = %(name)s

-- name: mark_watermarks
INSERT INTO ledger.watermark AS known (topic, partition, cluster, epoch, resource_version, produced_at, taken_at)
SELECT topic, partition, cluster, epoch, resource_version, produced_at::timestamptz, %(at)s
FROM unnest(%(topic)b::text[], %(partition)b::int[], %(cluster)b::text[], %(epoch)b::int[],
            %(resource_version)b::bigint[], %(produced_at)b::text[])
     AS rows (topic, partition, cluster, epoch, resource_version, produced_at)
ORDER BY topic, partition, cluster
ON CONFLICT (topic, partition, cluster) DO UPDATE SET
    epoch = excluded.epoch, resource_version = excluded.resource_version,
    produced_at = excluded.produced_at, taken_at = excluded.taken_at
WHERE (excluded.epoch, excluded.resource_version) >= (known.epoch, known.resource_version)

-- name: watermark_place
SELECT epoch, resource_version FROM ledger.watermark
WHERE topic = %(topic)s AND partition = %(partition)s AND cluster = %(cluster)s

-- name: watermark_of
-- A partition that has not heard of the newest epoch is behind, whatever number it has reached.
SELECT CASE WHEN min(epoch) < max(epoch) THEN 0 ELSE min(resource_version) END FROM ledger.watermark WHERE topic = %(topic)s AND cluster = %(cluster)s

-- name: bury
INSERT INTO ledger.dead_letter (topic, partition, "offset", key, value, headers, error_class, message, recorded_at, fingerprint)
VALUES (%(topic)s, %(partition)s, %(offset)s, %(key)s, %(value)s, %(headers)s::jsonb, %(error_class)s, %(message)s,
        %(at)s, %(fingerprint)s)
ON CONFLICT (topic, partition, "offset", fingerprint) DO NOTHING

-- name: unpublished
SELECT id, topic, partition, "offset", key, value, coalesce(octet_length(value), 0) AS size, headers, error_class, message, recorded_at, published_at, redriven_at
FROM ledger.dead_letter WHERE published_at IS NULL
ORDER BY id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: published
UPDATE ledger.dead_letter SET published_at = ledger.now() WHERE id = %(id)s

-- name: list_dead_letters
-- Without the bytes: a thousand letters may be a gigabyte.
SELECT id, topic, partition, "offset", key, NULL::bytea AS value, coalesce(octet_length(value), 0) AS size, headers, error_class, message, recorded_at, published_at, redriven_at
FROM ledger.dead_letter WHERE (%(all)s OR redriven_at IS NULL)
ORDER BY id LIMIT %(limit)s

-- name: not_redriven
SELECT id FROM ledger.dead_letter WHERE redriven_at IS NULL ORDER BY id

-- name: show_dead_letter
SELECT id, topic, partition, "offset", key, value, coalesce(octet_length(value), 0) AS size, headers, error_class, message, recorded_at, published_at, redriven_at
FROM ledger.dead_letter WHERE id = %(id)s

-- name: redriven
UPDATE ledger.dead_letter SET redriven_at = ledger.now() WHERE id = %(id)s
