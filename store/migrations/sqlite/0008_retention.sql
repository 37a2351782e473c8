-- What a tenant keeps other than all do: age in nanoseconds, stored bytes. NULL: as all; 0: without end.
CREATE TABLE retention (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    age    INTEGER,
    bytes  INTEGER
) STRICT;

-- How far the clock of retention is, over all indexers; one row at most.
CREATE TABLE retention_clock (
    one  INTEGER NOT NULL DEFAULT 1 UNIQUE CHECK (one = 1),
    time INTEGER NOT NULL
) STRICT;
