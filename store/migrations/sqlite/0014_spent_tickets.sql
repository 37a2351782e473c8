-- Tickets for a browser's upgrade that were used: each is good once, at whichever query node.
CREATE TABLE spent_tickets (
    nonce BLOB PRIMARY KEY CHECK (length(nonce) = 16),
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_tickets_by_end ON spent_tickets (until);
