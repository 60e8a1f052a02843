-- Projects and types are read under a shared lock of the catalogue and changed under the exclusive one, so their rows
-- need no locks of their own.

-- name: catalogue
SELECT catalogue FROM treadle

-- name: catalogue_is
-- Divides by zero, and so ends the transaction, where it is not.
SELECT 1 / (catalogue = $1)::integer FROM treadle

-- name: catalogue_changed
UPDATE treadle SET catalogue = catalogue + 1

-- name: insert_project
INSERT INTO projects (name, description, instructions, state, max_retries, lease, sweep_every, created, updated, id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING seq

-- name: save_project
UPDATE projects SET name = $1, description = $2, instructions = $3, state = $4, max_retries = $5, lease = $6,
    sweep_every = $7, created = $8, updated = $9 WHERE id = $10

-- name: delete_project
DELETE FROM projects WHERE id = $1

-- name: delete_project_types
DELETE FROM types WHERE project = $1

-- name: delete_project_tallies
DELETE FROM tallies WHERE project = $1

-- name: delete_project_aliases
DELETE FROM aliases WHERE scope = $1

-- name: projects
SELECT seq, id, name, description, instructions, state, max_retries, lease, sweep_every, created, updated FROM projects
WHERE id = ANY ($1::text[])
UNION ALL
SELECT seq, id, name, description, instructions, state, max_retries, lease, sweep_every, created, updated FROM projects
WHERE name = ANY ($1::text[]) AND id <> ALL ($1::text[])

-- name: list_projects
SELECT seq, id, name, description, instructions, state, max_retries, lease, sweep_every, created, updated FROM projects
WHERE $1::text IS NULL OR state = $1 ORDER BY seq DESC LIMIT $2 OFFSET $3

-- name: insert_type
INSERT INTO types (project, name, template, variables, duplicates, max_retries, lease, created, updated, id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING seq

-- name: save_type
UPDATE types SET project = $1, name = $2, template = $3, variables = $4, duplicates = $5, max_retries = $6, lease = $7,
    created = $8, updated = $9 WHERE id = $10

-- name: delete_type
DELETE FROM types WHERE id = $1

-- name: types
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE id = ANY ($1::text[])

-- name: types_named
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE project = $1 AND id = ANY ($2::text[])
UNION ALL
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE project = $1 AND name = ANY ($2::text[]) AND id <> ALL ($2::text[])

-- name: list_types
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE project = $1 ORDER BY seq DESC LIMIT $2 OFFSET $3
