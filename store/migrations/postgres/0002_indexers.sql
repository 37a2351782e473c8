-- Indexers that share this catalog: who writes for each, by which lease, and until when by this server's clock.
CREATE TABLE indexers (
    id          UUID PRIMARY KEY,
    epoch       BIGINT NOT NULL CHECK (epoch > 0),
    address     TEXT NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50);
