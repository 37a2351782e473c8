-- What a tenant may use other than all may, in bytes. NULL: as all; 0: without bound.
CREATE TABLE tenant_limits (
    tenant            INTEGER PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    ingest_per_second INTEGER,
    ingest_burst      INTEGER,
    hot               INTEGER,
    stored            INTEGER
) STRICT;

-- What a tenant has stored is a sum over this index alone.
CREATE INDEX segments_by_size ON segments (tenant, bytes, raw_bytes, records);
