-- name: insert_events
INSERT INTO events (seq, kind, subject, project, at, data)
SELECT $1 + (SELECT pg_current_xact_id()::text::bigint << 20) + $2 + place - 1, kind, subject, project, at, data
FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[]) WITH ORDINALITY
    AS new (kind, subject, project, at, data, place)

-- name: events_after
SELECT seq, kind, subject, project, at, data FROM events
WHERE seq > $2 AND seq < $1 + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20)
    AND ($3::text IS NULL OR project = $3)
ORDER BY seq LIMIT $4

-- name: last_event
SELECT coalesce(max(seq), 0) FROM events WHERE seq < $1 + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20)

-- name: prune_events
WITH gone AS (
    DELETE FROM events WHERE at < $1 AND seq = ANY (ARRAY (
        SELECT seq FROM events WHERE seq < (SELECT max(seq) FROM events) ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING 1)
SELECT count(*) FROM gone

-- name: documents
SELECT collection, key, body, grp, expires, version FROM documents
WHERE collection = $1 AND key = ANY ($2::text[]) ORDER BY key {documents}

-- name: new_document
INSERT INTO documents (collection, key, body, grp, expires, version) VALUES ($1, $2, $3, $4, $5, $6)

-- name: put_document
INSERT INTO documents (collection, key, body, grp, expires, version) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (collection, key) DO UPDATE
SET body = excluded.body, grp = excluded.grp, expires = excluded.expires, version = excluded.version

-- name: delete_documents
WITH gone AS (DELETE FROM documents WHERE collection = $1 AND key = ANY ($2::text[]) RETURNING 1)
SELECT count(*) FROM gone

-- name: list_documents
SELECT collection, key, body, grp, expires, version FROM documents
WHERE collection = $1 AND key > $2 ORDER BY key LIMIT $3 {documents}

-- name: list_group
SELECT collection, key, body, grp, expires, version FROM documents
WHERE collection = $1 AND grp = $2 AND key > $3 ORDER BY key LIMIT $4 {documents}

-- name: delete_group
DELETE FROM documents WHERE collection = $1 AND grp = $2 RETURNING key

-- name: prune_documents
WITH gone AS (
    DELETE FROM documents WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM documents WHERE expires <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING 1)
SELECT count(*) FROM gone
