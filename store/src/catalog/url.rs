//! Where a catalog is: a URL whose password nobody gets to see.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`; shown, it has neither
/// password nor parameters.
#[derive(Clone)]
pub struct Url(SecretString);

impl Url {
    /// The URL as it was written.
    pub(super) fn text(&self) -> &str {
        self.0.expose_secret()
    }

    /// The file, where the catalog is one.
    pub fn sqlite_path(&self) -> Option<&str> {
        let path = self.text().strip_prefix("sqlite:")?;
        Some(path.strip_prefix("//").unwrap_or(path))
    }

    /// What stands before the first colon; nothing where there is none.
    pub(super) fn scheme(&self) -> &str {
        self.text().split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl<T: Into<String>> From<T> for Url {
    fn from(text: T) -> Self {
        Self(SecretString::from(text.into()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sqlite_path().is_some() {
            return f.write_str(self.text());
        }
        let parsed = url::Url::parse(self.text()).ok();
        // Where a password is written wrongly, a part of it can come to lie in any part of the URL.
        let is_clear = |url: &url::Url| {
            !url.username().is_empty() || url.password().is_some() || !self.text().contains('@')
        };
        match parsed.filter(is_clear) {
            Some(url) => {
                let user = if url.username().is_empty() { "" } else { "@" };
                let host = url.host_str().unwrap_or_default();
                write!(f, "{}://{}{user}{host}", url.scheme(), url.username())?;
                url.port().map_or(Ok(()), |port| write!(f, ":{port}"))?;
                f.write_str(url.path())
            }
            None => write!(f, "{}:…", self.scheme()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, shown: &str) {
        assert_eq!(Url::from(written).to_string(), shown);
        assert_eq!(format!("{:?}", Some(Url::from(written))), format!("Some(\"{shown}\")"));
    }

    #[test]
    fn no_password_is_shown_however_it_is_written() {
        check("sqlite:/data/catalog.db", "sqlite:/data/catalog.db");
        check("postgres://me:hunter2@db:5433/logs?sslmode=disable", "postgres://me@db:5433/logs");
        check("postgresql://me@db/logs?password=hunter2", "postgresql://me@db/logs");
        check("postgres:///logs?host=/run/pg&password=hunter2", "postgres:///logs");
        check("postgres://me:hunt/er2@db/logs", "postgres:…");
        check("postgres://me:12?34@db/logs", "postgres:…");
        check("hunter2", ":…");
    }
}
