-- People whom an identity provider vouches for, what its groups give them, invitations, and sessions that end unused.
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1));

-- Sessions that were there before end as they would have.
ALTER TABLE sessions ADD COLUMN idle_end INTEGER NOT NULL DEFAULT 9223372036854775807;

-- Whom a provider names by issuer and subject. `admin`: by its groups, at the last sign-in.
CREATE TABLE identities (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    user    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email   TEXT,
    invited INTEGER NOT NULL CHECK (invited IN (0, 1)),
    admin   INTEGER NOT NULL CHECK (admin IN (0, 1)),
    created INTEGER NOT NULL,
    UNIQUE (issuer, subject)
) STRICT;
CREATE INDEX identities_of_users ON identities (user);

-- Roles by the provider's groups, as of the last sign-in. Those of `grants` are given by hand.
CREATE TABLE mapped_grants (
    identity  INTEGER NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    tenant    INTEGER REFERENCES tenants (id) ON DELETE CASCADE,
    workspace TEXT,
    role      TEXT NOT NULL,
    CHECK ((tenant IS NULL) <> (workspace IS NULL))
) STRICT;
CREATE INDEX mapped_grants_of_identities ON mapped_grants (identity);
CREATE INDEX mapped_grants_by_tenant ON mapped_grants (tenant);

-- Invitations that are open. `secret_hash`: SHA-256 of what the link holds.
CREATE TABLE invitations (
    id          TEXT PRIMARY KEY,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    email       TEXT,
    user_name   TEXT NOT NULL,
    invited_by  TEXT NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_by_email ON invitations (email) WHERE email IS NOT NULL;

CREATE TABLE invitation_grants (
    invitation TEXT NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    tenant     INTEGER REFERENCES tenants (id) ON DELETE CASCADE,
    workspace  TEXT,
    role       TEXT NOT NULL,
    CHECK ((tenant IS NULL) <> (workspace IS NULL))
) STRICT;
CREATE INDEX invitation_grants_of_invitations ON invitation_grants (invitation);
CREATE INDEX invitation_grants_by_tenant ON invitation_grants (tenant);

-- Values that are good for one use, and were used; forgotten when they would not be good any more anyway.
CREATE TABLE spent (
    hash  BLOB PRIMARY KEY CHECK (length(hash) = 32),
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_by_end ON spent (until);
