-- What a transaction says about itself.

-- name: begin_writing
-- Without READ WRITE: where an administrator or a standby says read-only, the first change is refused in so many words.
BEGIN ISOLATION LEVEL READ COMMITTED

-- name: begin_reading
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY

-- name: commit
COMMIT

-- name: roll_back
ROLLBACK

-- name: number
SELECT pg_current_xact_id_if_assigned()::text

-- name: fate
SELECT pg_xact_status($1::xid8)

-- name: lock
SELECT CASE WHEN shared THEN pg_advisory_xact_lock_shared(key) ELSE pg_advisory_xact_lock(key) END
FROM unnest($1::bigint[], $2::boolean[]) AS wanted (key, shared)
