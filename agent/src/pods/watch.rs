//! The watches: this node's pods, and namespaces where a rule needs their labels. Each goes on for ever, after
//! every kind of failure; what they learn is in `Pods` and `Tenancy`, and the reading thread is woken.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{Stream, StreamExt};
use heliograph_model::time::Clock;
use k8s_openapi::api::core::v1 as api;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::Pods;
use super::facts::uid_of;
use crate::discover::wake::Wake;
use crate::metrics::Metrics;
use crate::tenancy::{Namespace, Tenancy};

/// How long one watch request lasts, in seconds. It ends even if nothing happens, so that an API server that is
/// away is noticed.
pub(super) const WATCH_SECONDS: u32 = 60;

/// What all watches share.
#[derive(Clone)]
pub(super) struct Watcher {
    /// What is known of pods.
    pub pods: Arc<Pods>,
    /// What is known of namespaces.
    pub tenancy: Arc<Tenancy>,
    /// Where the reading thread sleeps.
    pub wake: Arc<Wake>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Its figures.
    pub metrics: Metrics,
    /// Watches of pods that have not read a whole list yet.
    pub unlisted: Arc<AtomicUsize>,
}

/// A list while it is read.
#[derive(Default)]
struct Listing {
    present: Option<BTreeSet<Box<str>>>,
    listed: bool,
}

impl Watcher {
    /// Watches pods of a node, in one namespace or all, until stopped.
    pub(super) async fn pods(
        self,
        client: kube::Client,
        node: String,
        namespace: Option<String>,
        stop: CancellationToken,
    ) {
        let api: Api<api::Pod> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let config =
            watcher::Config::default().timeout(WATCH_SECONDS).fields(&format!("spec.nodeName={node}"));
        let mut listing = Listing::default();
        let events = watcher::watcher(api, config).default_backoff();
        let take = |event| self.pod_event(event, namespace.as_deref(), &mut listing);
        stop.run_until_cancelled(self.follow("pods", events, take)).await;
    }

    /// Watches the labels of all namespaces, until stopped.
    pub(super) async fn namespaces(self, client: kube::Client, stop: CancellationToken) {
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let mut listing = Listing::default();
        let api = Api::<PartialObjectMeta<api::Namespace>>::all(client);
        let events = watcher::watcher(api, config).default_backoff();
        let take = |event| self.namespace_event(event, &mut listing);
        stop.run_until_cancelled(self.follow("namespaces", events, take)).await;
    }

    async fn follow<K>(
        &self,
        what: &'static str,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        mut take: impl FnMut(Event<K>) -> bool,
    ) {
        let mut events = std::pin::pin!(events);
        let mut away = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    take(Event::Init);
                }
                Ok(event) => {
                    if std::mem::take(&mut away) {
                        tracing::info!(what, "the API server answers again");
                    }
                    if take(event) {
                        self.wake.learned();
                    }
                }
                Err(error) => {
                    self.metrics.watch_restarts.with_label_values(&[what]).inc();
                    if !std::mem::replace(&mut away, true) {
                        warn(what, &error);
                    }
                }
            }
        }
    }

    /// Takes an event; says whether it was news.
    fn pod_event(&self, event: Event<api::Pod>, namespace: Option<&str>, listing: &mut Listing) -> bool {
        match event {
            Event::Init => {
                listing.present = Some(BTreeSet::new());
                false
            }
            Event::InitApply(pod) => {
                let uid = uid_of(&pod).map(Box::from);
                listing.present.iter_mut().for_each(|present| present.extend(uid.clone()));
                self.pods.apply(&pod)
            }
            Event::InitDone => {
                if let Some(present) = listing.present.take() {
                    self.pods.present(namespace, &present, self.clock.now());
                }
                if !std::mem::replace(&mut listing.listed, true)
                    && self.unlisted.fetch_sub(1, Ordering::AcqRel) == 1
                {
                    self.pods.listed();
                }
                true
            }
            Event::Apply(pod) => self.pods.apply(&pod),
            Event::Delete(pod) => {
                let news = self.pods.apply(&pod);
                if let Some(uid) = uid_of(&pod) {
                    self.pods.gone(uid, self.clock.now());
                }
                news
            }
        }
    }

    /// Takes an event; says whether it was news.
    fn namespace_event(
        &self,
        event: Event<PartialObjectMeta<api::Namespace>>,
        listing: &mut Listing,
    ) -> bool {
        let now = self.clock.now();
        match event {
            Event::Init => {
                listing.present = Some(BTreeSet::new());
                false
            }
            Event::InitApply(namespace) => {
                let name = namespace.name_any();
                listing.present.iter_mut().for_each(|p| p.extend([name.as_str().into()]));
                self.learn(&name, &namespace)
            }
            Event::InitDone => {
                if let Some(present) = listing.present.take() {
                    self.tenancy.present(&present, now);
                }
                false
            }
            Event::Apply(namespace) => self.learn(&namespace.name_any(), &namespace),
            Event::Delete(namespace) => {
                self.tenancy.gone(&namespace.name_any(), now);
                false
            }
        }
    }

    fn learn(&self, name: &str, namespace: &PartialObjectMeta<api::Namespace>) -> bool {
        let labels = namespace.labels().iter().map(|(k, v)| (k.as_str().into(), v.as_str().into()));
        self.tenancy.learn(name, Namespace { labels: labels.collect(), gone: None })
    }
}

fn warn(what: &'static str, error: &dyn Display) {
    tracing::warn!(what, %error, "the API server does not answer; lines go on without its labels");
}
