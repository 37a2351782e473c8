-- What a tenant keeps other than all do: age in nanoseconds, stored bytes. NULL: as all; 0: without end.
CREATE TABLE retention (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    age    INTEGER,
    bytes  INTEGER
) STRICT;
