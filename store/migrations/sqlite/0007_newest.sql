-- The newest segments of all tenants are the end of this index, as in PostgreSQL: without it, all were sorted.
CREATE INDEX segments_by_end ON segments (last, id);
