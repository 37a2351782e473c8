-- What a tenant keeps other than all do: age in nanoseconds, stored bytes. NULL: as all; 0: without end.
CREATE TABLE retention (
    tenant BIGINT PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    age    BIGINT,
    bytes  BIGINT
);

-- How far the clock of retention is, over all indexers; one row at most.
CREATE TABLE retention_clock (
    one  BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    time BIGINT NOT NULL
) WITH (fillfactor = 50);
