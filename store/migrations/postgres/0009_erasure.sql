-- Requests to remove records. Kept for ever: done, they are the receipt, and then hold no query any more.
CREATE TABLE erasures (
    id            UUID PRIMARY KEY,
    tenant        TEXT COLLATE "C" NOT NULL,
    uid           UUID NOT NULL,
    query         TEXT,
    filter        TEXT,
    query_hash    BYTEA NOT NULL CHECK (length(query_hash) = 32),
    range_start   BIGINT NOT NULL,
    range_end     BIGINT NOT NULL,
    through       BIGINT NOT NULL,
    written_ahead BIGINT NOT NULL,
    requested_by  TEXT NOT NULL,
    requested     BIGINT NOT NULL,
    trouble       TEXT,
    done          BIGINT
);
CREATE INDEX erasures_pending ON erasures (id) WHERE done IS NULL;

-- Objects that an erasure took away. `successor`: the segment that has the records that stay.
CREATE TABLE erased_objects (
    erasure   UUID NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    object    UUID NOT NULL,
    what      TEXT NOT NULL,
    bytes     BIGINT NOT NULL,
    removed   BIGINT NOT NULL,
    successor UUID,
    PRIMARY KEY (erasure, object)
);
