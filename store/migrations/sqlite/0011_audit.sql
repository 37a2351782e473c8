-- What was done and asked: one row for an event and a tenant that it is about, each with the hash of the one before it.
-- Kept also when the tenant is gone.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    tenant     TEXT,
    tenant_uid BLOB,
    source     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    details    TEXT NOT NULL,
    hash       BLOB NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (at, seq);
CREATE INDEX audit_of_tenants ON audit (tenant_uid, at, seq) WHERE tenant_uid IS NOT NULL;

-- Both ends of the chain, with a code over them that only the master key makes. One row.
CREATE TABLE audit_head (
    one         INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    anchor      INTEGER NOT NULL,
    anchor_hash BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    broken      INTEGER NOT NULL,
    mac         BLOB NOT NULL
) STRICT;
INSERT INTO audit_head (anchor, anchor_hash, seq, hash, broken, mac) VALUES (0, zeroblob(32), 0, zeroblob(32), 0, x'');
