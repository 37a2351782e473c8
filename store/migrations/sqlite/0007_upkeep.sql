-- How often a segment's records were rewritten at most.
ALTER TABLE segments ADD COLUMN merges INTEGER NOT NULL DEFAULT 0;

-- Segments that are no longer searched; their objects stay a while for those who began earlier.
CREATE TABLE retired_segments (
    id     BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bytes  INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Objects that were given up before anybody published them. Kept for ever, lest a writer comes back to one.
CREATE TABLE discarded_segments (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest segments of all tenants are the end of this index, as in PostgreSQL: without it, all were sorted.
CREATE INDEX segments_by_end ON segments (last, id);
