-- INDEXED BY where the plan is a promise: without statistics SQLite might otherwise sort a million rows.
-- Lists of ids and names come as one JSON array, so that a statement is the same whatever their number.

-- name: insert_task
INSERT INTO tasks (seq, id, project, type, kind, queue, name, face, submitter, description, instructions, variables,
    digest, batch, priority, not_before, waiting, max_retries, on_lost, state, created, updated)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: save_task
UPDATE tasks SET state = ?, retries = ?, fence = ?, worker = ?, holder = ?, displaced = ?, lease_until = ?,
    not_before = ?, waiting = ?, updated = ?, assigned = ?, finished = ?, result = ?, attempts = ?
WHERE seq = ?

-- name: rewrite_task
UPDATE tasks SET description = ?, instructions = ?, variables = ?, digest = ?, batch = ?, updated = ? WHERE seq = ?

-- name: delete_tasks
DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?))

-- name: delete_task_aliases
DELETE FROM aliases WHERE (face, name, scope, task) IN (
    SELECT face, name, project, id FROM tasks WHERE id IN (SELECT value FROM json_each(?)) AND name IS NOT NULL)

-- name: tasks
SELECT {columns} FROM tasks WHERE id IN (SELECT value FROM json_each(?))

-- name: ripen
UPDATE tasks INDEXED BY task_waiting SET waiting = 0
WHERE project = ? AND state = 'queued' AND waiting = 1 AND not_before <= ?

-- name: claimable
SELECT {columns} FROM tasks INDEXED BY task_claimable
WHERE project = ? AND queue = ? AND state = 'queued' AND waiting = 0
ORDER BY priority DESC, seq LIMIT ?

-- name: expired
SELECT {columns} FROM tasks INDEXED BY task_leased
WHERE project = ? AND state = 'running' AND lease_until <= ?
ORDER BY lease_until LIMIT ?

-- name: move_leases
UPDATE tasks SET lease_until = lease_until + :by
WHERE seq IN (SELECT tasks.seq FROM tallies CROSS JOIN tasks INDEXED BY task_leased ON tasks.project = tallies.project
    WHERE tallies.state = 'running' AND tasks.state = 'running' AND tasks.lease_until > :now)

-- name: held
SELECT {columns} FROM tasks INDEXED BY task_held
WHERE project = ? AND state = 'running' AND worker IN (SELECT value FROM json_each(?))
ORDER BY seq

-- name: seek_twins
UPDATE tasks INDEXED BY task_typed SET sought = 1 WHERE sought = 0 AND type IN (SELECT value FROM json_each(?))

-- name: twins
SELECT {columns} FROM (SELECT value ->> 0 AS its_type, value ->> 1 AS its_digest FROM json_each(?))
    CROSS JOIN tasks INDEXED BY task_twin ON sought = 1 AND type = its_type AND digest = its_digest
WHERE state NOT IN ('failed', 'cancelled')
ORDER BY seq

-- name: list_tasks
SELECT {columns} FROM tasks INDEXED BY {index} WHERE {conditions} ORDER BY seq LIMIT ? OFFSET ?

-- name: count_tasks
SELECT count(*) FROM tasks INDEXED BY {index} WHERE {conditions}

-- name: has_tasks
SELECT EXISTS (SELECT 1 FROM tasks INDEXED BY task_typed WHERE type = :type AND sought = 0)
    OR EXISTS (SELECT 1 FROM tasks INDEXED BY task_twin WHERE type = :type AND sought = 1)

-- name: delete_project_tasks
DELETE FROM tasks WHERE seq IN (SELECT seq FROM tasks INDEXED BY task_created WHERE project = ? LIMIT ?)

-- name: count_claimable
SELECT coalesce((SELECT count FROM tallies WHERE project = :project AND state = 'queued'), 0)
    - (SELECT count(*) FROM tasks INDEXED BY task_waiting
        WHERE project = :project AND state = 'queued' AND waiting = 1 AND not_before > :now)
    + (SELECT count(*) FROM tasks INDEXED BY task_leased
        WHERE project = :project AND state = 'running' AND lease_until <= :now)

-- name: add_tally
INSERT INTO tallies (project, state, count) VALUES (?, ?, ?)
ON CONFLICT (project, state) DO UPDATE SET count = count + excluded.count

-- name: tallies
SELECT project, state, count FROM tallies WHERE project IN (SELECT value FROM json_each(?))

-- name: busy_projects
SELECT project FROM tallies WHERE state = 'running' AND count > 0

-- name: activity
SELECT state, count(*), avg(finished - assigned) FROM tasks INDEXED BY task_finished
WHERE project = ? AND finished > ? GROUP BY state

-- name: workers
SELECT count(DISTINCT worker) FROM tasks INDEXED BY task_leased
WHERE project = ? AND state = 'running' AND lease_until > ?

-- name: alias
SELECT task FROM aliases JOIN tasks ON tasks.id = aliases.task
WHERE aliases.face = :face AND aliases.name = :name AND (:scope IS NULL OR aliases.scope = :scope)
ORDER BY tasks.seq DESC LIMIT 1

-- name: aliases
SELECT name, task FROM aliases WHERE face = ? AND scope = ? AND name IN (SELECT value FROM json_each(?))

-- name: put_alias
INSERT INTO aliases (face, scope, name, task) VALUES (?, ?, ?, ?)
ON CONFLICT (face, name, scope) DO UPDATE SET task = excluded.task
