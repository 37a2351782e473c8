-- Requests to remove records. Kept for ever: done, they are the receipt, and then hold no query any more.
CREATE TABLE erasures (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant        TEXT NOT NULL,
    uid           BLOB NOT NULL CHECK (length(uid) = 16),
    query         TEXT,
    filter        TEXT,
    query_hash    BLOB NOT NULL CHECK (length(query_hash) = 32),
    range_start   INTEGER NOT NULL,
    range_end     INTEGER NOT NULL,
    through       INTEGER NOT NULL,
    written_ahead INTEGER NOT NULL,
    requested_by  TEXT NOT NULL,
    requested     INTEGER NOT NULL,
    trouble       TEXT,
    done          INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_pending ON erasures (id) WHERE done IS NULL;

-- Objects that an erasure took away. `successor`: the segment that has the records that stay.
CREATE TABLE erased_objects (
    erasure   BLOB NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    object    BLOB NOT NULL CHECK (length(object) = 16),
    what      TEXT NOT NULL,
    bytes     INTEGER NOT NULL,
    removed   INTEGER NOT NULL,
    successor BLOB,
    PRIMARY KEY (erasure, object)
) STRICT, WITHOUT ROWID;
