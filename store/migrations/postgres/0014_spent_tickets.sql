-- Tickets for a browser's upgrade that were used: each is good once, at whichever query node.
CREATE TABLE spent_tickets (
    nonce UUID PRIMARY KEY,
    until BIGINT NOT NULL
);
CREATE INDEX spent_tickets_by_end ON spent_tickets (until);
