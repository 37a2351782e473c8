//! Distant stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;

use super::attempts::Connector;
use super::credentials::CredentialsFile;
use super::metrics::ObjectMetrics;
use super::place::{Config, Kind, bad};
use crate::error::Result;

/// Longest time for a connection to stand.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Attempts beside the first.
const RETRIES_MAX: usize = 6;

/// Opens a bucket. Nothing is asked of it yet.
pub(super) fn open(
    config: &Config,
    kind: Kind,
    bucket: &str,
    prefix: Path,
    metrics: &ObjectMetrics,
) -> Result<Arc<dyn ObjectStore>> {
    let store = match kind {
        Kind::S3 => s3(config, bucket, metrics)?,
        Kind::Google => google(config, bucket, metrics)?,
        Kind::Azure => azure(config, bucket, metrics)?,
    };
    Ok(if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) })
}

fn s3(config: &Config, bucket: &str, metrics: &ObjectMetrics) -> Result<Arc<dyn ObjectStore>> {
    let path_style = config.path_style.unwrap_or(config.endpoint.is_some());
    let mut builder = AmazonS3Builder::new();
    for (key, value) in variables::<AmazonS3ConfigKey>(config, "AWS_") {
        // The file is what was said here.
        let is_key = matches!(
            key,
            AmazonS3ConfigKey::AccessKeyId | AmazonS3ConfigKey::SecretAccessKey | AmazonS3ConfigKey::Token
        );
        if !(is_key && config.credentials_file.is_some()) {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(client(config).with_allow_http(true))
        .with_retry(retries(config))
        .with_http_connector(Connector::new(config.patience, metrics.clone()));
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(server(endpoint, bucket, path_style));
    }
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some(file) = &config.credentials_file {
        builder = builder.with_credentials(Arc::new(CredentialsFile::open(file)?));
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(|e| bad("storage.url", &e.to_string()))
}

/// The server's address as the library wants it: with the bucket before its name where it does not go into the
/// path.
fn server(endpoint: &str, bucket: &str, path_style: bool) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.split_once("://") {
        Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
        _ => endpoint.to_owned(),
    }
}

fn google(config: &Config, bucket: &str, metrics: &ObjectMetrics) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in variables::<GoogleConfigKey>(config, "GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client(config))
        .with_retry(retries(config))
        .with_http_connector(Connector::new(config.patience, metrics.clone()));
    if let Some(file) = &config.credentials_file {
        builder = builder.with_service_account_path(file.display().to_string());
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(|e| bad("storage.url", &e.to_string()))
}

fn azure(config: &Config, container: &str, metrics: &ObjectMetrics) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in variables::<AzureConfigKey>(config, "AZURE_") {
        builder = builder.with_config(key, value);
    }
    builder = builder
        .with_container_name(container)
        .with_client_options(client(config))
        .with_retry(retries(config))
        .with_http_connector(Connector::new(config.patience, metrics.clone()));
    builder.build().map(|store| Arc::new(store) as _).map_err(|e| bad("storage.url", &e.to_string()))
}

/// The variables of one cloud, as its builder names them.
fn variables<K: std::str::FromStr>(config: &Config, prefix: &str) -> Vec<(K, String)> {
    let ours = config.environment.iter().filter(|(name, _)| name.starts_with(prefix));
    ours.filter_map(|(name, value)| {
        Some((name.to_lowercase().parse().ok()?, value.expose_secret().to_owned()))
    })
    .collect()
}

/// How long a request may take as a whole is said in `attempts`: by what it is, and not the same for all.
fn client(config: &Config) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_MAX)
        .with_read_timeout(config.patience.pause)
}

fn retries(config: &Config) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(50),
        max_backoff: Duration::from_secs(3),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: config.patience.retries }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_goes_into_the_path_or_before_the_host() {
        assert_eq!(server("https://minio:9000/", "logs", true), "https://minio:9000");
        assert_eq!(server("https://minio:9000/", "logs", false), "https://logs.minio:9000");
    }

    #[test]
    fn every_variable_that_is_taken_is_known_to_its_cloud() {
        let names = super::super::place::VARIABLES;
        let environment = names.map(|name| (name.to_owned(), "x".into())).into();
        let config = Config { environment, ..Config::at("s3://logs") };
        let known = variables::<AmazonS3ConfigKey>(&config, "AWS_").len()
            + variables::<GoogleConfigKey>(&config, "GOOGLE_").len()
            + variables::<AzureConfigKey>(&config, "AZURE_").len();
        assert_eq!(known, names.len());
    }

    #[test]
    fn clouds_open_without_going_there_and_show_no_secret() {
        let environment: std::collections::BTreeMap<_, _> = [
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "s3cr3t"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "czNjcjN0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
        for url in ["s3://logs/a", "gs://logs", "az://logs/b"] {
            let config = Config { environment: environment.clone(), ..Config::at(url) };
            let (store, _) = super::super::open(&config).unwrap();
            let shown = format!("{store:?} {store} {config:?}");
            assert!(!shown.contains("s3cr3t") && !shown.contains("czNjcjN0"), "{shown}");
        }
    }
}
