-- Rows go in and out as one array for each column, so that a statement is the same whatever their number.
-- {columns} are those of `tasks JOIN progress USING (seq)`. {lock} and {skip} are FOR UPDATE OF progress in a writing
-- transaction and nothing in a reading one: the row that changes is the task's lock. Rows are locked in creation order, so
-- that two replicas that want the same ones wait for each other instead of getting stuck; SKIP LOCKED where any row will
-- do. ANY (ARRAY (SELECT …)) looks for the rows once, whatever the planner thinks of the rest.

-- name: insert_tasks
WITH new AS MATERIALIZED (
    SELECT nextval('task_places') AS seq, asked.*
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[], $16::boolean[],
        $17::bigint[], $18::text[], $19::text[], $20::bigint[], $21::bigint[])
        AS asked (id, project, type, kind, queue, name, face, submitter, description, instructions, variables, digest,
            batch, priority, not_before, waiting, max_retries, on_lost, state, created, updated)
), written AS (
    INSERT INTO tasks (seq, id, project, type, kind, name, face, submitter, description, instructions, variables, digest,
        batch, max_retries, on_lost, created)
    SELECT seq, id, project, type, kind, name, face, submitter, description, instructions, variables, digest,
        batch, max_retries, on_lost, created FROM new
), begun AS (
    INSERT INTO progress (seq, project, queue, priority, not_before, waiting, state, updated)
    SELECT seq, project, queue, priority, not_before, waiting, state, updated FROM new
)
SELECT seq FROM new ORDER BY seq

-- name: save_tasks
UPDATE progress SET state = new.state, retries = new.retries, fence = new.fence, worker = new.worker,
    holder = new.holder, displaced = new.displaced, lease_until = new.lease_until, not_before = new.not_before,
    waiting = new.waiting, updated = new.updated, assigned = new.assigned, finished = new.finished, result = new.result,
    attempts = new.attempts
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
    $9::boolean[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::bigint[])
    AS new (state, retries, fence, worker, holder, displaced, lease_until, not_before, waiting, updated, assigned,
        finished, result, attempts, seq)
WHERE progress.seq = new.seq

-- name: rewrite_tasks
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[])
        AS edited (description, instructions, variables, digest, batch, updated, seq)
), touched AS (
    UPDATE progress SET updated = new.updated FROM new WHERE progress.seq = new.seq
)
UPDATE tasks SET description = new.description, instructions = new.instructions, variables = new.variables,
    digest = new.digest, batch = new.batch
FROM new WHERE tasks.seq = new.seq

-- name: delete_tasks
WITH gone AS (
    DELETE FROM tasks WHERE id = ANY ($1::text[]) RETURNING seq, id, face, name, project
), ended AS (
    DELETE FROM progress USING gone WHERE progress.seq = gone.seq
)
DELETE FROM aliases USING gone
WHERE aliases.face = gone.face AND aliases.name = gone.name AND aliases.scope = gone.project
    AND aliases.task = gone.id

-- name: tasks
SELECT {columns} FROM tasks JOIN progress USING (seq) WHERE id = ANY ($1::text[]) ORDER BY seq {lock}

-- name: ripen
UPDATE progress SET waiting = false WHERE seq = ANY (ARRAY (
    SELECT seq FROM progress WHERE project = $1 AND state = 'queued' AND waiting AND not_before <= $2
    FOR UPDATE SKIP LOCKED))

-- name: claimable
SELECT {columns} FROM progress JOIN tasks USING (seq)
WHERE progress.project = $1 AND queue = $2 AND state = 'queued' AND NOT waiting
ORDER BY priority DESC, progress.seq LIMIT $3 {skip}

-- name: expired
SELECT {columns} FROM progress JOIN tasks USING (seq)
WHERE progress.project = $1 AND state = 'running' AND lease_until <= $2
ORDER BY lease_until LIMIT $3 {skip}

-- name: held
-- seq + 0: sorted after they were found by worker, instead of looked for among all running tasks in their order.
SELECT {columns} FROM progress JOIN tasks USING (seq)
WHERE progress.project = $1 AND state = 'running' AND worker = ANY ($2::text[])
ORDER BY progress.seq + 0 {lock}

-- name: twins
SELECT {columns} FROM tasks JOIN progress USING (seq)
WHERE (type, digest) IN (SELECT type, digest FROM unnest($1::text[], $2::bigint[]) AS sought (type, digest))
    AND state NOT IN ('failed', 'cancelled')
ORDER BY seq

-- name: has_tasks
SELECT EXISTS (SELECT FROM tasks WHERE type = $1)

-- name: delete_project_tasks
WITH old AS MATERIALIZED (
    SELECT seq FROM tasks WHERE project = $1 ORDER BY seq LIMIT $2
), ended AS (
    DELETE FROM progress WHERE seq = ANY (ARRAY (SELECT seq FROM old))
), gone AS (
    DELETE FROM tasks WHERE seq = ANY (ARRAY (SELECT seq FROM old)) RETURNING 1
)
SELECT count(*) FROM gone

-- name: count_claimable
SELECT (SELECT coalesce(sum(count), 0)::bigint FROM tallies WHERE project = $1 AND state = 'queued')
    - (SELECT count(*) FROM progress WHERE project = $1 AND state = 'queued' AND waiting AND not_before > $2)
    + (SELECT count(*) FROM progress WHERE project = $1 AND state = 'running' AND lease_until <= $2)

-- name: add_tallies
INSERT INTO tallies (project, state, shard, count)
SELECT project, state, $4::integer, count FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (project, state, count)
ON CONFLICT (project, state, shard) DO UPDATE SET count = tallies.count + excluded.count

-- name: tallies
SELECT project, state, sum(count)::bigint FROM tallies WHERE project = ANY ($1::text[]) GROUP BY project, state

-- name: busy_projects
SELECT project FROM tallies WHERE state = 'running' GROUP BY project HAVING sum(count) > 0

-- name: activity
SELECT state, count(*), avg(finished - assigned)::float8 FROM progress
WHERE project = $1 AND finished > $2 GROUP BY state

-- name: workers
SELECT count(DISTINCT worker) FROM progress WHERE project = $1 AND state = 'running' AND lease_until > $2

-- name: alias
SELECT task FROM aliases JOIN tasks ON tasks.id = aliases.task
WHERE aliases.face = $1 AND aliases.name = $2 AND ($3::text IS NULL OR aliases.scope = $3)
ORDER BY tasks.seq DESC LIMIT 1

-- name: aliases
SELECT name, task FROM aliases WHERE face = $1 AND scope = $2 AND name = ANY ($3::text[])

-- name: new_aliases
INSERT INTO aliases (face, scope, name, task)
SELECT $1, $2, name, task FROM unnest($3::text[], $4::text[]) AS new (name, task) ORDER BY name

-- name: put_aliases
INSERT INTO aliases (face, scope, name, task)
SELECT $1, $2, name, task FROM unnest($3::text[], $4::text[]) AS new (name, task) ORDER BY name
ON CONFLICT (face, name, scope) DO UPDATE SET task = excluded.task
