-- An erasure is of the records that its query means, or of a whole tenant: then the tenant's key is gone, and its row,
-- with an empty key, stays until its objects are gone, too. What is left for ever is the row here.
ALTER TABLE erasures ADD COLUMN kind TEXT NOT NULL DEFAULT 'records' CHECK (kind IN ('records', 'tenant'));
CREATE INDEX erasures_of_tenants ON erasures (tenant) WHERE kind = 'tenant';
