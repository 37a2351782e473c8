//! Which settings hold a secret, or name a file that does: with [`OTHERS`], all that there are. Tests of the
//! configuration and of the whole program take it from here, so that no new secret goes without its canary.

/// In what way a setting holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It is the secret.
    Itself,
    /// It names a file whose text is the secret, read with the configuration.
    InFile,
    /// It names a file that holds the secret, read by the part that needs it.
    InFileOfPart,
    /// It is a URL or a list of URLs in which somebody may write one, wrongly or (`?key=`) rightly.
    InUrl,
}

/// Path and way. A list's items are `[0]`, a section whose name is the operator's own is `NAME`.
pub(crate) const SECRETS: &[(&str, Holds)] = &[
    ("agent.indexers", Holds::InUrl),
    ("agent.kubernetes.kubeconfig", Holds::InFileOfPart),
    ("agent.tls.key_file", Holds::InFileOfPart),
    ("agent.token_file", Holds::InFileOfPart),
    ("auth.agent_token", Holds::Itself),
    ("auth.agent_token_file", Holds::InFile),
    ("auth.cluster_token", Holds::Itself),
    ("auth.cluster_token_file", Holds::InFile),
    ("bootstrap.admin_password", Holds::Itself),
    ("bootstrap.admin_password_file", Holds::InFile),
    ("catalog.password", Holds::Itself),
    ("catalog.password_file", Holds::InFile),
    ("catalog.url", Holds::InUrl),
    ("indexer.advertise", Holds::InUrl),
    ("indexer.authorization_webhook.url", Holds::InUrl),
    ("indexer.tls.key_file", Holds::InFileOfPart),
    ("indexer.token_review.api_url", Holds::InUrl),
    ("indexer.token_review.token_file", Holds::InFileOfPart),
    ("keys.master_key_file", Holds::InFileOfPart),
    ("query.authorization_webhook.url", Holds::InUrl),
    ("query.github.api_url", Holds::InUrl),
    ("query.github.client_secret", Holds::Itself),
    ("query.github.client_secret_file", Holds::InFile),
    ("query.github.url", Holds::InUrl),
    ("query.oidc.NAME.client_secret", Holds::Itself),
    ("query.oidc.NAME.client_secret_file", Holds::InFile),
    ("query.oidc.NAME.issuer", Holds::InUrl),
    ("query.public_urls", Holds::InUrl),
    ("query.tls.key_file", Holds::InFileOfPart),
    ("storage.credentials_file", Holds::InFileOfPart),
    ("storage.endpoint", Holds::InUrl),
    ("storage.url", Holds::InUrl),
    ("telemetry.metrics_token", Holds::Itself),
    ("telemetry.metrics_token_file", Holds::InFile),
    ("tls.key_file", Holds::InFileOfPart),
];
