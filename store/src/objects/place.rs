//! Where objects lie: `storage.url` and the settings beside it, checked before anything is opened.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use object_store::path::Path;
use secrecy::SecretString;

use crate::error::{Error, Result};

/// What a storage URL looks like, for errors.
const GIVE: &str = "give file:PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";

/// The variables by which clouds hand credentials to a process, as far as we take them. All else about the place
/// is ours to say: no variable of the environment can turn transport security off or name another endpoint.
pub(super) const VARIABLES: [&str; 21] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
];

/// Whether a variable of the environment belongs into [`Config::environment`].
pub fn is_credential_variable(name: &str) -> bool {
    VARIABLES.contains(&name)
}

/// `[storage]`: where objects lie, and how they are reached.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `file:PATH`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`.
    pub url: String,
    /// `s3:` only: the server, as `https://HOST:PORT`; unset, Amazon's of the region.
    pub endpoint: Option<String>,
    /// `s3:` only; unset, `AWS_REGION`, then `us-east-1`.
    pub region: Option<String>,
    /// `s3:` only: whether the bucket stands in the path of requests, not in the host's name. Unset, it does where
    /// an endpoint is given, as most servers but Amazon's want it.
    pub path_style: Option<bool>,
    /// Plain text to another machine.
    pub allow_http: bool,
    /// `s3:` and `gs:` only: a file with the credentials; read again as it changes where it is S3's.
    pub credentials_file: Option<PathBuf>,
    /// Variables of [`is_credential_variable`], as the process was given them.
    pub environment: BTreeMap<String, SecretString>,
    /// How long a distant server is waited for.
    pub patience: Patience,
}

/// How long one request to a distant server may take before it is taken as lost and sent anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the answer to one that reads or writes an object begins; a second per MiB that is sent is added.
    pub answer: Duration,
    /// Until the answer to any other begins (listing, deleting, putting parts together), and the longest pause
    /// within an answer.
    pub pause: Duration,
    /// After so long, a request that failed is not tried again.
    pub retries: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(5),
            pause: Duration::from_secs(15),
            retries: Duration::from_secs(20),
        }
    }
}

/// A checked place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket of a distant store, and what all names in it begin with.
    Bucket {
        /// Whose interface it speaks.
        kind: Kind,
        /// Also Azure's container.
        bucket: String,
        /// Empty for none.
        prefix: Path,
    },
}

/// Whose interface a distant store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Amazon's, and that of many servers.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Config {
    /// Of a URL that needs no further settings.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Whether it is a folder of this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.place(), Ok(Place::Folder(_)))
    }

    /// Checks what can be checked without going there: [`Error::Config`] names the setting, what is wrong with it
    /// and what would be right.
    pub fn check(&self) -> Result<()> {
        let place = self.place()?;
        let kind = match &place {
            Place::Folder(_) => None,
            Place::Bucket { kind, .. } => Some(*kind),
        };
        if kind != Some(Kind::S3) {
            only_s3("storage.endpoint", self.endpoint.is_some())?;
            only_s3("storage.region", self.region.is_some())?;
            only_s3("storage.path_style", self.path_style.is_some())?;
            only_s3("storage.allow_http", self.allow_http)?;
        }
        if self.credentials_file.is_some() && !matches!(kind, Some(Kind::S3 | Kind::Google)) {
            return Err(bad(
                "storage.credentials_file",
                "is for s3: and gs: only: leave it out, and give az: its credentials by AZURE_… variables",
            ));
        }
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint, self.allow_http)?;
        }
        if kind == Some(Kind::S3) && self.credentials_file.is_none() {
            self.check_key_pair()?;
        }
        if kind == Some(Kind::Azure) && !self.environment.contains_key("AZURE_STORAGE_ACCOUNT_NAME") {
            return Err(bad(
                "storage.url",
                "az://… needs the account's name: set the variable AZURE_STORAGE_ACCOUNT_NAME",
            ));
        }
        Ok(())
    }

    fn check_key_pair(&self) -> Result<()> {
        let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
        let has = |name| self.environment.contains_key(name);
        match (has(id), has(secret)) {
            (true, false) => {
                Err(bad("storage.url", &format!("{id} is set without {secret}: set both or none")))
            }
            (false, true) => {
                Err(bad("storage.url", &format!("{secret} is set without {id}: set both or none")))
            }
            _ => Ok(()),
        }
    }

    /// What the URL says.
    pub(super) fn place(&self) -> Result<Place> {
        let (scheme, rest) = self.url.split_once(':').unwrap_or((&self.url, ""));
        let kind = match scheme {
            "file" => return folder(&self.url, rest),
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" => Kind::Azure,
            // Only the scheme is shown: a URL may hold a password.
            _ => {
                let reason = format!("\"{scheme}:…\" is not a storage that this program has: {GIVE}");
                return Err(bad("storage.url", &reason));
            }
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(bad("storage.url", &format!("\"{scheme}:\" is not followed by //BUCKET: {GIVE}")));
        };
        if rest.contains(['@', '?', '#']) {
            // Not shown: it may hold a credential.
            return Err(bad(
                "storage.url",
                "holds one of @ ? #: give the bucket and a prefix only; credentials come from the environment or \
                 from storage.credentials_file",
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
            return Err(bad(
                "storage.url",
                &format!(
                    "{bucket:?} is not the name of a bucket: give 3 to 63 of the characters a-z 0-9 - . _, as in \
                     {scheme}://my-logs/production"
                ),
            ));
        }
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|e| {
            bad("storage.url", &format!("{prefix:?} is not a prefix: {e}: give names with / between them"))
        })?;
        Ok(Place::Bucket { kind, bucket: bucket.to_owned(), prefix })
    }
}

fn folder(url: &str, rest: &str) -> Result<Place> {
    match rest.strip_prefix("//").unwrap_or(rest) {
        "" => Err(bad("storage.url", &format!("{url:?} names no folder: give file:PATH"))),
        path => Ok(Place::Folder(path.into())),
    }
}

fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<()> {
    const GIVE: &str = "give the server alone, as in \"https://s3.example.org:9000\"";
    let setting = "storage.endpoint";
    if endpoint.contains(['@', '?', '#']) {
        // Not shown: it may hold a credential.
        return Err(bad(
            setting,
            "holds one of @ ? #, and must not hold a credential: give the server alone",
        ));
    }
    let uri: Uri =
        endpoint.parse().map_err(|_| bad(setting, &format!("{endpoint:?} is not a URL: {GIVE}")))?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(bad(setting, &format!("{endpoint:?} is not a URL: {GIVE}")));
    };
    if !matches!(scheme, "http" | "https") || !matches!(uri.path(), "" | "/") {
        return Err(bad(setting, &format!("{endpoint:?} is more or other than a server: {GIVE}")));
    }
    if scheme == "http" && !allow_http && !is_loopback(host) {
        return Err(bad(
            setting,
            &format!(
                "{endpoint:?} is plain text to another machine: give https://…, or set storage.allow_http = true"
            ),
        ));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn only_s3(setting: &'static str, is_set: bool) -> Result<()> {
    if is_set {
        Err(bad(setting, "is for s3: only: leave it out, or give storage.url = \"s3://…\""))
    } else {
        Ok(())
    }
}

pub(super) fn bad(setting: &'static str, reason: &str) -> Error {
    Error::Config { setting, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wrong(config: &Config, expected: &str) {
        assert_eq!(config.check().unwrap_err().to_string(), expected);
    }

    fn s3() -> Config {
        Config::at("s3://my-logs/production")
    }

    #[test]
    fn a_url_names_a_bucket_and_a_prefix() {
        let place = |url: &str| Config::at(url).place().unwrap();
        let bucket = |kind, prefix: &str| Place::Bucket {
            kind,
            bucket: "my-logs".to_owned(),
            prefix: Path::parse(prefix).unwrap(),
        };
        assert_eq!(place("s3://my-logs"), bucket(Kind::S3, ""));
        assert_eq!(place("s3://my-logs/"), bucket(Kind::S3, ""));
        assert_eq!(place("gs://my-logs/a/b/"), bucket(Kind::Google, "a/b"));
        assert_eq!(place("az://my-logs/a"), bucket(Kind::Azure, "a"));
        assert_eq!(place("file:///var/lib/x"), Place::Folder("/var/lib/x".into()));
        assert!(Config::at("file:x").is_local() && !s3().is_local());
    }

    #[test]
    fn what_is_no_storage_is_refused_with_what_would_be_right() {
        let other = format!("is not a storage that this program has: {GIVE}");
        wrong(&Config::at("/var/lib/heliograph"), &format!("storage.url: \"/var/lib/heliograph:…\" {other}"));
        wrong(&Config::at("http://user:secret@host"), &format!("storage.url: \"http:…\" {other}"));
        wrong(&Config::at("file:"), "storage.url: \"file:\" names no folder: give file:PATH");
        wrong(&Config::at("file://"), "storage.url: \"file://\" names no folder: give file:PATH");
        let followed = format!("storage.url: \"s3:\" is not followed by //BUCKET: {GIVE}");
        wrong(&Config::at("s3:my-logs"), &followed);
        wrong(
            &Config::at("s3://My_Logs/x"),
            "storage.url: \"My_Logs\" is not the name of a bucket: give 3 to 63 of the characters a-z 0-9 - . _, \
             as in s3://my-logs/production",
        );
        let told = Config::at("s3://my-logs/a//b").check().unwrap_err().to_string();
        assert!(told.starts_with("storage.url: \"a//b\" is not a prefix: "), "{told}");
    }

    #[test]
    fn a_credential_in_a_url_is_refused_and_not_shown() {
        for url in ["s3://key:secret@bucket", "gs://bucket?token=secret", "az://bucket/x#secret"] {
            let told = Config::at(url).check().unwrap_err().to_string();
            assert!(
                told.starts_with("storage.url: holds one of @ ? #") && !told.contains("secret"),
                "{told}"
            );
        }
        let config = Config { endpoint: Some("https://key:secret@host".to_owned()), ..s3() };
        wrong(
            &config,
            "storage.endpoint: holds one of @ ? #, and must not hold a credential: give the server alone",
        );
    }

    #[test]
    fn plain_text_goes_to_this_machine_only_unless_it_is_said() {
        let to = |endpoint: &str| Config { endpoint: Some(endpoint.to_owned()), ..s3() };
        for fine in ["https://minio:9000", "http://127.0.0.1:9000/", "http://[::1]:9000", "http://localhost"]
        {
            to(fine).check().unwrap();
        }
        wrong(
            &to("http://minio:9000"),
            "storage.endpoint: \"http://minio:9000\" is plain text to another machine: give https://…, or set \
             storage.allow_http = true",
        );
        Config { allow_http: true, ..to("http://minio:9000") }.check().unwrap();
        let server = "give the server alone, as in \"https://s3.example.org:9000\"";
        wrong(&to("minio:9000"), &format!("storage.endpoint: \"minio:9000\" is not a URL: {server}"));
        wrong(
            &to("https://minio/bucket"),
            &format!("storage.endpoint: \"https://minio/bucket\" is more or other than a server: {server}"),
        );
    }

    #[test]
    fn settings_of_s3_elsewhere_are_refused() {
        let file = Config::at("file:x");
        let only = "is for s3: only: leave it out, or give storage.url = \"s3://…\"";
        wrong(
            &Config { endpoint: Some("https://h".to_owned()), ..file.clone() },
            &format!("storage.endpoint: {only}"),
        );
        wrong(&Config { region: Some("r".to_owned()), ..file.clone() }, &format!("storage.region: {only}"));
        wrong(&Config { path_style: Some(true), ..file.clone() }, &format!("storage.path_style: {only}"));
        wrong(&Config { allow_http: true, ..file.clone() }, &format!("storage.allow_http: {only}"));
        let told = Config { credentials_file: Some("x".into()), ..file }.check().unwrap_err().to_string();
        assert!(told.starts_with("storage.credentials_file: is for s3: and gs: only"), "{told}");
    }

    #[test]
    fn half_a_key_pair_and_a_missing_account_are_named() {
        let with = |name: &str| Config {
            environment: [(name.to_owned(), SecretString::from("s3cr3t"))].into(),
            ..s3()
        };
        wrong(
            &with("AWS_ACCESS_KEY_ID"),
            "storage.url: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: set both or none",
        );
        wrong(
            &with("AWS_SECRET_ACCESS_KEY"),
            "storage.url: AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID: set both or none",
        );
        assert!(!format!("{:?}", with("AWS_SECRET_ACCESS_KEY")).contains("s3cr3t"));
        wrong(
            &Config::at("az://my-logs"),
            "storage.url: az://… needs the account's name: set the variable AZURE_STORAGE_ACCOUNT_NAME",
        );
    }
}
