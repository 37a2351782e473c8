//! `[query.authorization_webhook]` and `[indexer.authorization_webhook]`: who is asked about credentials that are none of
//! ours.

use std::path::PathBuf;
use std::time::Duration;

use heliograph_egress::webhook::Keep;
use heliograph_egress::{Bounds, Guard, Target};
use reqwest::Url;

use super::Mistake;
use super::forwarding::Network;
use super::reader::Reader;
use super::values::{Count, Setting, Shown, Span};
use super::written::Written;

/// Longest wait for an answer: a person or a task waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
const ALLOWED: Duration = Duration::from_mins(1);
const DENIED: Duration = Duration::from_secs(10);
/// A few MiB.
const ANSWERS_MAX: usize = 10_000;
/// Nothing in the body counts.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The part that both sections have; none where nothing of it is set.
pub(super) fn read(r: &mut Reader<'_>) -> Option<(Target, Keep)> {
    let url: Option<ServiceUrl> = r.optional("url");
    let ca_file: Option<PathBuf> = r.optional("ca_file");
    let timeout: Option<Span> = r.optional("timeout");
    let allow_http: Option<bool> = r.optional("allow_http");
    let networks: Option<Vec<Network>> = r.optional("allow_addresses");
    let (allowed, denied): (Option<Span>, Option<Span>) =
        (r.optional("cache_allowed"), r.optional("cache_denied"));
    let answers_max: Option<Count> = r.optional("cache_answers_max");
    let Some(ServiceUrl(url)) = url else {
        let is_given = ca_file.is_some()
            || timeout.is_some()
            || allow_http.is_some()
            || networks.is_some()
            || allowed.is_some()
            || denied.is_some()
            || answers_max.is_some();
        if is_given {
            let path = r.path_of("url");
            r.mistake(Mistake::new(format!("{path}: is missing: where callers' credentials are checked")));
        }
        return None;
    };
    let networks: Vec<_> = networks.unwrap_or_default().into_iter().map(|network| network.0).collect();
    let target = Target {
        url,
        bounds: Bounds {
            allow_http: allow_http.unwrap_or(false),
            ca_file,
            timeout: timeout.map_or(TIMEOUT, |span| span.0),
            body_bytes_max: BODY_BYTES_MAX,
            guard: Guard::public_and(&networks),
        },
    };
    let keep = Keep {
        allowed: allowed.map_or(ALLOWED, |span| span.0),
        denied: denied.map_or(DENIED, |span| span.0),
        answers_max: answers_max.map_or(ANSWERS_MAX, |count| count.0),
    };
    if let Err(error) = target.check() {
        let path = r.path_of("url").trim_end_matches("url").to_owned();
        r.mistake(Mistake::new(format!("{path}{error}")));
    }
    Some((target, keep))
}

/// The whole URL of a service: path and query are its own.
struct ServiceUrl(Url);

impl Setting for ServiceUrl {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "a URL like \"https://auth.example.com/v1/check\"";
        let Written::Text(text) = written else {
            return Err(format!("expected {EXPECTED}, found {}", written.kind()));
        };
        // Not shown where it may hold a credential.
        let url = Url::parse(text).map_err(|e| format!("is not {EXPECTED}: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.fragment().is_some() {
            return Err(format!("is not {EXPECTED}"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a credential".to_owned());
        }
        Ok(Self(url))
    }
    fn show(&self) -> Shown {
        let mut url = self.0.clone();
        url.set_query(url.query().map(|_| "[redacted]"));
        Shown::Text(url.into())
    }
}

#[cfg(test)]
mod tests {
    use heliograph_store::catalog::Role;

    use super::super::tests::read;

    #[test]
    fn a_webhook_is_a_url_and_how_long_its_answers_hold() {
        let text = "[query.authorization_webhook]\nurl = \"https://houston.example.com/v1/elasticsearch?key=geheim\"\n\
                    roles = [\"viewer\", \"writer\"]\nallow_addresses = [\"10.0.0.0/8\"]\ncache_allowed = \"5m\"\n\
                    [indexer.authorization_webhook]\nurl = \"http://127.0.0.1:9/\"\nallow_addresses = [\"127.0.0.1\"]\n";
        let config = read(text, &[]).unwrap();
        let webhook = config.query.authorization_webhook.as_ref().unwrap();
        assert_eq!(webhook.target.url.path(), "/v1/elasticsearch");
        assert_eq!((webhook.keep.allowed.as_secs(), webhook.keep.denied.as_secs()), (300, 10));
        assert_eq!(webhook.roles, [Role::Viewer, Role::Writer].into());
        assert!(config.indexer.authorization_webhook.is_some());
        let shown = format!("{} {}", config.to_toml(), config.to_line());
        assert!(!shown.contains("geheim"), "{shown}");
        let config = read("[query.authorization_webhook]\nurl = \"https://example.com\"\n", &[]).unwrap();
        assert_eq!(config.query.authorization_webhook.unwrap().roles, [Role::Viewer].into());
        assert!(read("", &[]).unwrap().query.authorization_webhook.is_none());
    }

    #[test]
    fn a_webhook_that_may_not_be_called_is_refused() {
        let check = |lines: &str, expected: &str| {
            for section in ["query", "indexer"] {
                let text = format!("[{section}.authorization_webhook]\n{lines}\n");
                let error = read(&text, &[]).map(|config| config.to_toml()).unwrap_err();
                let expected = expected.replace("SECTION", section);
                assert!(error.contains(&expected) && !error.contains("geheim"), "{error}");
            }
        };
        check("timeout = \"1s\"", "SECTION.authorization_webhook.url: is missing");
        check(
            "url = \"http://hooks.example.com/\"",
            "SECTION.authorization_webhook.url: http://hooks.example.com/ is plain",
        );
        check("url = \"https://169.254.169.254/\"", "url: 169.254.169.254 is an address of our own network");
        check("url = \"https://[::ffff:127.0.0.1]/\"", "is an address of our own network");
        check("url = \"https://u:geheim@example.com/\"", "a URL must not hold a credential");
        check("url = \"ftp://example.com/\"", "is not a URL like");
        check("url = \"https://example.com\"\nallow_addresses = [\"x\"]", "expected an address or network");
    }
}
