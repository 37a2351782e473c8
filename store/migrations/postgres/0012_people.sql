-- People whom an identity provider vouches for, what its groups give them, invitations, and sessions that end unused.
ALTER TABLE users ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;

-- Sessions that were there before end as they would have.
ALTER TABLE sessions ADD COLUMN idle_end BIGINT NOT NULL DEFAULT 9223372036854775807;

-- Whom a provider names by issuer and subject. `admin`: by its groups, at the last sign-in.
CREATE TABLE identities (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email   TEXT COLLATE "C",
    invited BOOLEAN NOT NULL,
    admin   BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);
CREATE INDEX identities_of_users ON identities (user_id);

-- Roles by the provider's groups, as of the last sign-in. Those of `grants` are given by hand.
CREATE TABLE mapped_grants (
    identity  BIGINT NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    tenant    BIGINT REFERENCES tenants (id) ON DELETE CASCADE,
    workspace TEXT COLLATE "C",
    role      TEXT COLLATE "C" NOT NULL,
    CHECK ((tenant IS NULL) <> (workspace IS NULL))
);
CREATE INDEX mapped_grants_of_identities ON mapped_grants (identity);
CREATE INDEX mapped_grants_by_tenant ON mapped_grants (tenant);

-- Invitations that are open. `secret_hash`: SHA-256 of what the link holds.
CREATE TABLE invitations (
    id          TEXT COLLATE "C" PRIMARY KEY,
    secret_hash BYTEA NOT NULL CHECK (length(secret_hash) = 32),
    email       TEXT COLLATE "C",
    user_name   TEXT COLLATE "C" NOT NULL,
    invited_by  TEXT NOT NULL,
    created     BIGINT NOT NULL,
    expires     BIGINT NOT NULL
);
CREATE INDEX invitations_by_email ON invitations (email) WHERE email IS NOT NULL;

CREATE TABLE invitation_grants (
    invitation TEXT COLLATE "C" NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    tenant     BIGINT REFERENCES tenants (id) ON DELETE CASCADE,
    workspace  TEXT COLLATE "C",
    role       TEXT COLLATE "C" NOT NULL,
    CHECK ((tenant IS NULL) <> (workspace IS NULL))
);
CREATE INDEX invitation_grants_of_invitations ON invitation_grants (invitation);
CREATE INDEX invitation_grants_by_tenant ON invitation_grants (tenant);

-- Values that are good for one use, and were used; forgotten when they would not be good any more anyway.
CREATE TABLE spent (
    hash  BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    until BIGINT NOT NULL
);
CREATE INDEX spent_by_end ON spent (until);
