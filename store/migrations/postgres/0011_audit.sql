-- What was done and asked: one row for an event and a tenant that it is about, each with the hash of the one before it.
-- Kept also when the tenant is gone.
CREATE TABLE audit (
    seq        BIGINT PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    tenant     TEXT COLLATE "C",
    tenant_uid BYTEA,
    source     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    details    TEXT NOT NULL,
    hash       BYTEA NOT NULL
);
CREATE INDEX audit_by_time ON audit (at, seq);
CREATE INDEX audit_of_tenants ON audit (tenant_uid, at, seq) WHERE tenant_uid IS NOT NULL;

-- Both ends of the chain, with a code over them that only the master key makes. One row.
CREATE TABLE audit_head (
    one         BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    anchor      BIGINT NOT NULL,
    anchor_hash BYTEA NOT NULL,
    seq         BIGINT NOT NULL,
    hash        BYTEA NOT NULL,
    broken      BIGINT NOT NULL,
    mac         BYTEA NOT NULL
) WITH (fillfactor = 50);
INSERT INTO audit_head (anchor, anchor_hash, seq, hash, broken, mac)
VALUES (0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'), 0, '');
