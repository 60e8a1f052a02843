-- name: insert_event
INSERT INTO events (seq, kind, subject, project, at, data) VALUES (?, ?, ?, ?, ?, ?)

-- name: events_after
SELECT seq, kind, subject, project, at, data FROM events
WHERE seq > :cursor AND (:project IS NULL OR project = :project) ORDER BY seq LIMIT :limit

-- name: last_event
SELECT coalesce(max(seq), 0) FROM events

-- name: prune_events
DELETE FROM events WHERE seq IN (
    SELECT seq FROM events WHERE seq < (SELECT max(seq) FROM events) ORDER BY seq LIMIT :limit) AND at < :before

-- name: documents
SELECT collection, key, body, grp, expires, version FROM documents
WHERE collection = ? AND key IN (SELECT value FROM json_each(?))

-- name: put_document
INSERT INTO documents (collection, key, body, grp, expires, version) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (collection, key) DO UPDATE
SET body = excluded.body, grp = excluded.grp, expires = excluded.expires, version = excluded.version

-- name: delete_documents
DELETE FROM documents WHERE collection = ? AND key IN (SELECT value FROM json_each(?))

-- name: list_documents
SELECT collection, key, body, grp, expires, version FROM documents
WHERE collection = ? AND key > ? ORDER BY key LIMIT ?

-- name: list_group
SELECT collection, key, body, grp, expires, version FROM documents
WHERE collection = ? AND grp = ? AND key > ? ORDER BY key LIMIT ?

-- name: delete_group
DELETE FROM documents WHERE collection = ? AND grp = ? RETURNING key

-- name: prune_documents
DELETE FROM documents WHERE (collection, key) IN (
    SELECT collection, key FROM documents WHERE expires <= ? LIMIT ?)
