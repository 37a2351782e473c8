//! Which indexer a tenant's batches go to: by rendezvous hashing over those that answer. Each tenant has its own
//! order of indexers, and moves only when its first one is away or a new one suits it better.
//!
//! A URL with a host name stands for all addresses of the name (a headless Service): each is an indexer of its
//! own, and the name is looked up again now and then.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::blocking;
use super::certificates::Certificates;
use super::complaint::{Complaints, with_causes};
use crate::config::Tls;
use crate::error::{Error, Result};

/// How long an indexer that does not answer is passed over at first, where there are others, …
const AWAY_MIN: Duration = Duration::from_secs(1);
/// … and at most, when it has not answered many times.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// How often names are looked up: about as often as a cluster's DNS says something new.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How often while no indexer answers; and how often files are looked at, which takes a few microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a lookup may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks a host name up.
type Lookup = Box<
    dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync,
>;

/// All indexers that are known.
pub(super) struct Endpoints {
    bases: Vec<Base>,
    known: Mutex<Vec<Arc<Endpoint>>>,
    lookup: Lookup,
    certificates: Certificates,
    /// Rings when one answers that did not.
    came_back: Notify,
}

/// A URL of the configuration.
struct Base {
    url: String,
    /// Name and port, where the host is no address.
    name: Option<(String, u16)>,
}

/// One indexer.
pub(super) struct Endpoint {
    url: String,
    /// The address, where the URL has a name.
    address: Option<SocketAddr>,
    client: reqwest::Client,
    away: Mutex<Away>,
    complaints: Complaints,
}

#[derive(Default)]
struct Away {
    until: Option<Instant>,
    times: u32,
}

impl Endpoints {
    /// Checks URLs and certificates.
    pub(super) async fn new(urls: &[String], tls: Tls) -> Result<Self> {
        let bases = urls.iter().map(|url| Base::of(url)).collect::<Result<Vec<_>>>()?;
        if bases.is_empty() {
            let reason = "at least one is needed".to_owned();
            return Err(Error::Config { what: "indexers", value: "[]".to_owned(), reason });
        }
        Ok(Self {
            bases,
            known: Mutex::default(),
            lookup: Box::new(|name, port| {
                Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
            }),
            certificates: Certificates::open(tls).await?,
            came_back: Notify::new(),
        })
    }

    /// The same with another way to look names up.
    #[cfg(test)]
    pub(super) fn with_lookup(self, lookup: Lookup) -> Self {
        Self { lookup, ..self }
    }

    /// Knows what there is, and looks names up and at certificate files now and then; without end.
    pub(super) async fn keep_fresh(&self) {
        let has_names = self.bases.iter().any(|base| base.name.is_some());
        loop {
            let looked = Instant::now();
            self.refresh().await;
            // Sooner while none answers: they may have moved.
            while !has_names || looked.elapsed() < RESOLVE_EVERY {
                sleep(LOOK_EVERY).await;
                self.renew_certificates().await;
                if has_names && !self.some_answers() {
                    break;
                }
            }
        }
    }

    async fn refresh(&self) {
        let mut wanted = vec![];
        for base in &self.bases {
            let Some((name, port)) = &base.name else {
                wanted.push((base.url.clone(), None));
                continue;
            };
            let found = timeout(RESOLVE_TIMEOUT, (self.lookup)(name.clone(), *port)).await;
            match found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(addresses) if !addresses.is_empty() => {
                    let addresses: BTreeSet<_> = addresses.into_iter().collect();
                    wanted.extend(addresses.into_iter().map(|address| (base.url.clone(), Some(address))));
                }
                found => {
                    // What was known of the name stays: DNS may be away while indexers are not.
                    let error = found.err().map(|e| e.to_string());
                    tracing::warn!(indexer = %base.url, error, "name has no address at present");
                    let known = self.known.lock();
                    let same = known.iter().filter(|e| e.url == base.url);
                    wanted.extend(same.map(|e| (e.url.clone(), e.address)));
                }
            }
        }
        self.know(wanted).await;
    }

    async fn know(&self, wanted: Vec<(String, Option<SocketAddr>)>) {
        let mut endpoints = vec![];
        for (url, address) in wanted {
            let known = self.known.lock().iter().find(|e| e.url == url && e.address == address).cloned();
            if let Some(endpoint) = known {
                endpoints.push(endpoint);
                continue;
            }
            match self.endpoint(url.clone(), address).await {
                Ok(endpoint) => {
                    tracing::info!(indexer = %url, address = address.map(tracing::field::display), "indexer found");
                    endpoints.push(endpoint);
                }
                Err(error) => tracing::error!(indexer = %url, %error, "indexer cannot be used"),
            }
        }
        *self.known.lock() = endpoints;
    }

    /// It answered: whoever waits for one that does need wait no longer.
    pub(super) fn is_here(&self, endpoint: &Endpoint) {
        if std::mem::take(&mut *endpoint.away.lock()).times > 0 {
            self.came_back.notify_waiters();
        }
    }

    /// Waits for a while, or until an indexer answers that did not.
    pub(super) async fn wait(&self, time: Duration) {
        // In vain or not, the next attempt is made.
        drop(timeout(time, self.came_back.notified()).await);
    }

    /// When the agent's own certificate expires, in seconds since 1970, if it has one.
    pub(super) fn certificate_expires(&self) -> Option<i64> {
        self.certificates.pem().expires()
    }

    /// Where the certificate files have changed, connections are made anew. Those in use end with their requests.
    pub(super) async fn renew_certificates(&self) {
        if !self.certificates.renew().await {
            return;
        }
        let mut endpoints = self.known.lock().clone();
        for endpoint in &mut endpoints {
            match self.endpoint(endpoint.url.clone(), endpoint.address).await {
                Ok(renewed) => *endpoint = renewed,
                Err(error) => {
                    tracing::error!(indexer = %endpoint.url, %error, "indexer keeps the last certificates");
                }
            }
        }
        *self.known.lock() = endpoints;
    }

    /// An indexer of which nothing is known yet.
    async fn endpoint(&self, url: String, address: Option<SocketAddr>) -> Result<Arc<Endpoint>> {
        let (pem, of) = (self.certificates.pem(), url.clone());
        let client = blocking(move || pem.client(&of, address)).await?;
        let (away, complaints) = (Mutex::default(), Complaints::default());
        Ok(Arc::new(Endpoint { url, address, client, away, complaints }))
    }

    fn some_answers(&self) -> bool {
        let now = Instant::now();
        self.known.lock().iter().any(|endpoint| endpoint.away_until(now).is_none())
    }

    /// The tenant's indexer: the first in its order that is not known to be away, else the one that was away
    /// for longest. None where none is known.
    pub(super) fn choose(&self, tenant: &TenantId) -> Option<Arc<Endpoint>> {
        let now = Instant::now();
        let known = self.known.lock();
        let best = known.iter().max_by_key(|endpoint| {
            let away = endpoint.away_until(now);
            (away.is_none(), std::cmp::Reverse(away), endpoint.score(tenant))
        });
        best.cloned()
    }

    /// Whether there is another indexer that may answer.
    pub(super) fn has_other(&self, than: &Endpoint) -> bool {
        let now = Instant::now();
        let known = self.known.lock();
        known.iter().any(|e| (&e.url, e.address) != (&than.url, than.address) && e.away_until(now).is_none())
    }
}

impl Base {
    fn of(url: &str) -> Result<Self> {
        let bad = |reason: String| Error::Config { what: "indexer", value: url.to_owned(), reason };
        let parsed = reqwest::Url::parse(url).map_err(|e| bad(e.to_string()))?;
        let host = parsed.host_str().filter(|_| matches!(parsed.scheme(), "http" | "https"));
        let Some((host, port)) = host.zip(parsed.port_or_known_default()) else {
            return Err(bad("give http://HOST:PORT or https://HOST:PORT".to_owned()));
        };
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        Ok(Self {
            url: format!("{}/v1/logs", url.trim_end_matches('/')),
            name: (!is_address).then(|| (host.to_owned(), port)),
        })
    }
}

impl Endpoint {
    /// A request to it.
    pub(super) fn post(&self) -> reqwest::RequestBuilder {
        self.client.post(&self.url)
    }

    /// It did not answer.
    pub(super) fn is_unreachable(&self, error: reqwest::Error) {
        let error = with_causes(&error.without_url());
        if self.complaints.is_due(&error, Instant::now()) {
            let address = self.address.map(tracing::field::display);
            tracing::warn!(indexer = %self.url, address, error, "indexer cannot be reached, sending again");
        }
        self.is_away(None);
    }

    /// It failed at a batch.
    pub(super) fn has_failed(&self) {
        if self.complaints.is_due("500", Instant::now()) {
            let address = self.address.map(tracing::field::display);
            tracing::warn!(indexer = %self.url, address, "indexer failed at a batch, sending again");
        }
    }

    /// What answers is no indexer, or not today's: another one is better for so long.
    pub(super) fn is_odd(&self, status: u16, wait: Option<Duration>) {
        if self.complaints.is_due(&status.to_string(), Instant::now()) {
            let address = self.address.map(tracing::field::display);
            tracing::warn!(indexer = %self.url, address, status, "answer is none of an indexer's, sending again: does the address lead to one?");
        }
        self.is_away(wait);
    }

    /// It cannot take batches at present, perhaps for so long. The time gets longer each time, and differs
    /// between agents.
    pub(super) fn is_away(&self, wait: Option<Duration>) {
        let mut away = self.away.lock();
        let usual = AWAY_MIN.saturating_mul(1 << away.times.min(8));
        let wait = wait.unwrap_or(usual).clamp(AWAY_MIN, AWAY_MAX);
        let jitter = Uuid::new_v4().as_bytes()[0];
        away.until = Some(Instant::now() + wait + wait.mul_f64(f64::from(jitter) / 512.0));
        away.times = away.times.saturating_add(1);
    }

    fn away_until(&self, now: Instant) -> Option<Instant> {
        self.away.lock().until.filter(|until| now < *until)
    }

    /// How well it suits a tenant.
    fn score(&self, tenant: &TenantId) -> u64 {
        let address = self.address.map(|a| a.to_string()).unwrap_or_default();
        let bytes = [self.url.as_bytes(), address.as_bytes(), tenant.as_str().as_bytes()].join(&0);
        xxh3_64(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_all_its_addresses_and_is_looked_up_again() {
        let answers = Arc::new(Mutex::new(vec!["10.0.0.1:7710", "10.0.0.2:7710", "10.0.0.1:7710"]));
        let shown = Arc::clone(&answers);
        let endpoints = Endpoints::new(&["http://indexer.heliograph:7710".to_owned()], Tls::default())
            .await
            .unwrap()
            .with_lookup(Box::new(move |name, port| {
                assert_eq!((name.as_str(), port), ("indexer.heliograph", 7710));
                let found = answers.lock().iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>();
                Box::pin(async move {
                    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
                })
            }));
        let check = async |expected: &[&str]| {
            endpoints.refresh().await;
            let known = endpoints.known.lock();
            let found: Vec<_> = known.iter().map(|e| e.address.unwrap().to_string()).collect();
            assert_eq!(found, expected);
        };
        assert!(endpoints.choose(&TenantId::parse("a").unwrap()).is_none());
        check(&["10.0.0.1:7710", "10.0.0.2:7710"]).await;
        let kept = Arc::clone(endpoints.known.lock().first().unwrap());
        *shown.lock() = vec![];
        check(&["10.0.0.1:7710", "10.0.0.2:7710"]).await;
        *shown.lock() = vec!["10.0.0.3:7710", "10.0.0.1:7710"];
        check(&["10.0.0.1:7710", "10.0.0.3:7710"]).await;
        assert!(Arc::ptr_eq(&kept, endpoints.known.lock().first().unwrap()));
    }

    #[tokio::test]
    async fn tenants_spread_and_only_those_of_a_lost_indexer_move() {
        let urls: Vec<String> = (1..=3).map(|n| format!("http://10.0.0.{n}:7710")).collect();
        let endpoints = Endpoints::new(&urls, Tls::default()).await.unwrap();
        endpoints.refresh().await;
        let tenants: Vec<_> = (0..60).map(|n| TenantId::parse(&format!("t{n}")).unwrap()).collect();
        let choices = || tenants.iter().map(|t| endpoints.choose(t).unwrap().url.clone()).collect::<Vec<_>>();
        let before = choices();
        let lost = endpoints.known.lock().first().unwrap().clone();
        lost.is_away(None);
        let after = choices();
        for (before, after) in before.iter().zip(&after) {
            assert_ne!(*after, lost.url);
            assert!(before == after || *before == lost.url);
        }
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), 2);
        let waiting = endpoints.wait(Duration::from_secs(3600));
        let back = async { endpoints.is_here(&lost) };
        tokio::join!(waiting, back);
        assert_eq!(choices(), before);
    }
}
