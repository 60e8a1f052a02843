-- name: insert_project
INSERT INTO projects (name, description, instructions, state, max_retries, lease, sweep_every, created, updated, id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq

-- name: save_project
UPDATE projects SET name = ?, description = ?, instructions = ?, state = ?, max_retries = ?, lease = ?, sweep_every = ?,
    created = ?, updated = ? WHERE id = ?

-- name: delete_project
DELETE FROM projects WHERE id = ?

-- name: delete_project_types
DELETE FROM types WHERE project = ?

-- name: delete_project_tallies
DELETE FROM tallies WHERE project = ?

-- name: delete_project_aliases
DELETE FROM aliases WHERE scope = ?

-- name: projects
SELECT seq, id, name, description, instructions, state, max_retries, lease, sweep_every, created, updated FROM projects
WHERE id IN (SELECT value FROM json_each(:refs)) OR name IN (SELECT value FROM json_each(:refs))

-- name: list_projects
SELECT seq, id, name, description, instructions, state, max_retries, lease, sweep_every, created, updated FROM projects
WHERE :state IS NULL OR state = :state ORDER BY seq DESC LIMIT :limit OFFSET :offset

-- name: insert_type
INSERT INTO types (project, name, template, variables, duplicates, max_retries, lease, created, updated, id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq

-- name: save_type
UPDATE types SET project = ?, name = ?, template = ?, variables = ?, duplicates = ?, max_retries = ?, lease = ?,
    created = ?, updated = ? WHERE id = ?

-- name: delete_type
DELETE FROM types WHERE id = ?

-- name: types
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE id IN (SELECT value FROM json_each(?))

-- name: types_named
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE project = :project
    AND (id IN (SELECT value FROM json_each(:refs)) OR name IN (SELECT value FROM json_each(:refs)))

-- name: list_types
SELECT seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated FROM types
WHERE project = ? ORDER BY seq DESC LIMIT ? OFFSET ?
