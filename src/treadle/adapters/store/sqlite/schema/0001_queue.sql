-- The queue: projects, types, tasks, counters, names, facts, small documents. Instants are microseconds UTC.

CREATE TABLE projects (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    instructions TEXT,
    state TEXT NOT NULL,
    max_retries INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    sweep_every INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;

CREATE TABLE types (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    template TEXT,
    variables TEXT NOT NULL,
    duplicates TEXT NOT NULL,
    max_retries INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (project, name)
) STRICT;

-- `waiting` is 1 while `not_before` lies ahead. `digest` finds tasks with equal variables; it stands in an index only once
-- somebody has looked for twins of its type (`sought`), as an index in random order costs every insert a page of its own.
CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    type TEXT,
    kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    name TEXT,
    face TEXT NOT NULL,
    submitter TEXT NOT NULL,
    description TEXT NOT NULL,
    instructions TEXT,
    variables TEXT NOT NULL,
    digest INTEGER NOT NULL,
    sought INTEGER NOT NULL DEFAULT 0,
    batch TEXT,
    priority INTEGER NOT NULL,
    not_before INTEGER,
    waiting INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    on_lost TEXT NOT NULL,
    state TEXT NOT NULL,
    retries INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    holder TEXT,
    displaced TEXT,
    lease_until INTEGER,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    assigned INTEGER,
    finished INTEGER,
    result TEXT,
    attempts TEXT
) STRICT;

CREATE INDEX task_claimable ON tasks (project, queue, priority DESC, seq) WHERE state = 'queued' AND waiting = 0;
CREATE INDEX task_waiting ON tasks (project, not_before) WHERE state = 'queued' AND waiting = 1;
CREATE INDEX task_leased ON tasks (project, lease_until) WHERE state = 'running';
CREATE INDEX task_held ON tasks (project, worker) WHERE state = 'running';
CREATE INDEX task_finished ON tasks (project, finished, state, assigned) WHERE finished IS NOT NULL;
CREATE INDEX task_created ON tasks (project, seq);
CREATE INDEX task_listed ON tasks (project, state, seq);
CREATE INDEX task_typed ON tasks (type, seq) WHERE sought = 0;
CREATE INDEX task_twin ON tasks (type, digest) WHERE sought = 1;
CREATE INDEX task_batch ON tasks (project, batch, seq) WHERE batch IS NOT NULL;

CREATE TABLE tallies (
    project TEXT NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (project, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    face TEXT NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (face, name, scope)
) STRICT, WITHOUT ROWID;

CREATE INDEX alias_scope ON aliases (scope);

-- `seq` is handed out by the only writer and never again: the newest fact is never pruned.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    project TEXT,
    at INTEGER NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE documents (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    grp TEXT NOT NULL,
    expires INTEGER,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_group ON documents (collection, grp, key);
CREATE INDEX document_expiry ON documents (expires) WHERE expires IS NOT NULL;
