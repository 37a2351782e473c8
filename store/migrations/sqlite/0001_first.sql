-- Times are nanoseconds since 1970-01-01T00:00:00Z; uuids are their 16 bytes. docs/formats.md tells the rest.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL UNIQUE,
    workspace   TEXT NOT NULL,
    uid         BLOB NOT NULL UNIQUE CHECK (length(uid) = 16),
    wrapped_key BLOB NOT NULL,
    created     INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    admin         INTEGER NOT NULL CHECK (admin IN (0, 1)),
    created       INTEGER NOT NULL
) STRICT;

-- A role over one tenant, or over a workspace: exactly one of the two is set.
CREATE TABLE grants (
    user      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant    INTEGER REFERENCES tenants (id) ON DELETE CASCADE,
    workspace TEXT,
    role      TEXT NOT NULL,
    CHECK ((tenant IS NULL) <> (workspace IS NULL))
) STRICT;
CREATE UNIQUE INDEX grants_over_tenants ON grants (user, tenant, role) WHERE tenant IS NOT NULL;
CREATE UNIQUE INDEX grants_over_workspaces ON grants (user, workspace, role) WHERE workspace IS NOT NULL;
CREATE INDEX grants_by_tenant ON grants (tenant);

CREATE TABLE sessions (
    id_hash BLOB PRIMARY KEY CHECK (length(id_hash) = 32),
    user    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);
CREATE INDEX sessions_by_end ON sessions (expires);

-- `roles` are names with spaces between them.
CREATE TABLE tokens (
    id          TEXT PRIMARY KEY,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    tenant      INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    roles       TEXT NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER,
    revoked     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_tenant ON tokens (tenant, created);

-- Write-ahead objects that are still needed. AUTOINCREMENT: an ordinal is never given twice, not even after
-- the row of the highest one has gone.
CREATE TABLE commits (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    indexer BLOB NOT NULL CHECK (length(indexer) = 16),
    object  BLOB NOT NULL UNIQUE CHECK (length(object) = 16),
    bytes   INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX commits_by_indexer ON commits (indexer, id);

-- The last batch on record of each producer of a tenant.
CREATE TABLE producers (
    tenant   INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    producer TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (tenant, producer)
) STRICT, WITHOUT ROWID;

-- Up to which commit a tenant's records of an indexer are in segments.
CREATE TABLE seal_marks (
    indexer BLOB NOT NULL CHECK (length(indexer) = 16),
    tenant  INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    through INTEGER NOT NULL,
    PRIMARY KEY (indexer, tenant)
) STRICT, WITHOUT ROWID;

CREATE TABLE segments (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant          INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bytes           INTEGER NOT NULL,
    index_offset    INTEGER NOT NULL,
    records         INTEGER NOT NULL,
    raw_bytes       INTEGER NOT NULL,
    first           INTEGER NOT NULL,
    last            INTEGER NOT NULL,
    indexer         BLOB NOT NULL CHECK (length(indexer) = 16),
    commits_after   INTEGER NOT NULL,
    commits_through INTEGER NOT NULL,
    created         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_by_time ON segments (tenant, last, first);
