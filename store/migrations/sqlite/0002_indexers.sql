-- Indexers that share this catalog: who writes for each, by which lease, and until when by this machine's clock.
CREATE TABLE indexers (
    id          BLOB PRIMARY KEY CHECK (length(id) = 16),
    epoch       INTEGER NOT NULL CHECK (epoch > 0),
    address     TEXT NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
