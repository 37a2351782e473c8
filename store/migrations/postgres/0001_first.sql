-- Times are nanoseconds since 1970-01-01T00:00:00Z. Names are compared byte by byte, whatever the locale of the
-- database. docs/formats.md tells the rest.

CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value UUID NOT NULL
);

CREATE TABLE tenants (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL UNIQUE,
    workspace   TEXT COLLATE "C" NOT NULL,
    uid         UUID NOT NULL UNIQUE,
    wrapped_key BYTEA NOT NULL,
    created     BIGINT NOT NULL
);

CREATE TABLE users (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    admin         BOOLEAN NOT NULL,
    created       BIGINT NOT NULL
);

-- A role over one tenant, or over a workspace: exactly one of the two is set.
CREATE TABLE grants (
    user_id   BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant    BIGINT REFERENCES tenants (id) ON DELETE CASCADE,
    workspace TEXT COLLATE "C",
    role      TEXT COLLATE "C" NOT NULL,
    CHECK ((tenant IS NULL) <> (workspace IS NULL))
);
CREATE UNIQUE INDEX grants_over_tenants ON grants (user_id, tenant, role) WHERE tenant IS NOT NULL;
CREATE UNIQUE INDEX grants_over_workspaces ON grants (user_id, workspace, role) WHERE workspace IS NOT NULL;
CREATE INDEX grants_by_tenant ON grants (tenant);

CREATE TABLE sessions (
    id_hash BYTEA PRIMARY KEY CHECK (length(id_hash) = 32),
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (expires);

-- `roles` are names with spaces between them.
CREATE TABLE tokens (
    id          TEXT COLLATE "C" PRIMARY KEY,
    secret_hash BYTEA NOT NULL CHECK (length(secret_hash) = 32),
    tenant      BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    roles       TEXT NOT NULL,
    created     BIGINT NOT NULL,
    expires     BIGINT,
    revoked     BIGINT
);
CREATE INDEX tokens_by_tenant ON tokens (tenant, created);

-- Write-ahead objects that are still needed. The sequence behind `id` gives no ordinal twice, not even after the
-- transaction that drew it was taken back.
CREATE TABLE commits (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    indexer UUID NOT NULL,
    object  UUID NOT NULL UNIQUE,
    bytes   BIGINT NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX commits_by_indexer ON commits (indexer, id);

-- The last batch on record of each producer of a tenant. Rows change all the time and stay where they are: room
-- is left beside them, so that no index has to follow.
CREATE TABLE producers (
    tenant   BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    producer TEXT COLLATE "C" NOT NULL,
    epoch    BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (tenant, producer)
) WITH (fillfactor = 70);

-- Up to which commit a tenant's records of an indexer are in segments.
CREATE TABLE seal_marks (
    indexer UUID NOT NULL,
    tenant  BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    through BIGINT NOT NULL,
    PRIMARY KEY (indexer, tenant)
) WITH (fillfactor = 70);
CREATE INDEX seal_marks_by_tenant ON seal_marks (tenant);

CREATE TABLE segments (
    id              UUID PRIMARY KEY,
    tenant          BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bytes           BIGINT NOT NULL,
    index_offset    BIGINT NOT NULL,
    records         BIGINT NOT NULL,
    raw_bytes       BIGINT NOT NULL,
    first           BIGINT NOT NULL,
    last            BIGINT NOT NULL,
    indexer         UUID NOT NULL,
    commits_after   BIGINT NOT NULL,
    commits_through BIGINT NOT NULL,
    created         BIGINT NOT NULL
);
CREATE INDEX segments_by_time ON segments (tenant, last, first);
CREATE INDEX segments_by_end ON segments (last DESC, id DESC);
