//! The way to the API server.

use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use tower::util::MapResponseLayer;

use super::Pods;
use super::watch::WATCH_SECONDS;
use crate::config::ApiAccess;
use crate::error::{Error, Result};

/// How long a connection may take: an API server is near, or away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may say nothing: longer than a watch lasts on which nothing happens.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 30);

/// What is wrong with a kubeconfig. A reader of YAML shows the text around, which may be a token.
fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => {
            let place = error.location().map(|place| format!(", line {}", place.line())).unwrap_or_default();
            format!("not the YAML of a kubeconfig{place}")
        }
        other => other.to_string(),
    }
}

/// A client that notes on `pods` whenever the API server answers. Connects to nothing yet.
pub(super) async fn client(access: &ApiAccess, pods: Arc<Pods>) -> Result<kube::Client> {
    let mut config = match access {
        ApiAccess::InCluster => kube::Config::incluster().map_err(|e| Error::Config {
            what: "API server access",
            value: "in-cluster".to_owned(),
            reason: format!("{e}; mount a service account token, or give a kubeconfig"),
        })?,
        ApiAccess::Kubeconfig(path) => {
            let bad = |e: KubeconfigError| Error::Config {
                what: "kubeconfig",
                value: path.display().to_string(),
                reason: reason(&e),
            };
            let file = path.clone();
            let read = tokio::task::spawn_blocking(move || Kubeconfig::read_from(file)).await;
            let kubeconfig = read
                .map_err(|e| Error::Unavailable { what: "read the kubeconfig", reason: e.to_string() })?
                .map_err(bad)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(bad)?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(ANSWER_TIMEOUT);
    config.reset_reader_on_write = true;
    let builder = ClientBuilder::try_from(config)
        .map_err(|e| Error::Unavailable { what: "make an API server client", reason: e.to_string() })?;
    let noted = MapResponseLayer::new(move |response: http::Response<_>| {
        if response.status().is_success() {
            pods.note_contact();
        }
        response
    });
    Ok(builder.with_layer(&noted).build())
}
