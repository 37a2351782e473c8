-- How often a segment's records were rewritten at most.
ALTER TABLE segments ADD COLUMN merges BIGINT NOT NULL DEFAULT 0;

-- Segments that are no longer searched; their objects stay a while for those who began earlier.
CREATE TABLE retired_segments (
    id     UUID PRIMARY KEY,
    tenant BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bytes  BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL
);
CREATE INDEX retired_segments_by_tenant ON retired_segments (tenant);

-- Objects that were given up before anybody published them. Kept for ever, lest a writer comes back to one.
CREATE TABLE discarded_segments (
    id UUID PRIMARY KEY,
    at BIGINT NOT NULL
);
