//! The object store's figures, the same for a folder and for a distant store.

use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, exponential_buckets,
};

/// Handles of all figures; cheap to clone. They count from the start and are shown once registered.
#[derive(Clone, Debug)]
pub struct ObjectMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    sent: IntCounter,
    received: IntCounter,
    retries: IntCounterVec,
}

/// What is done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Get,
    Delete,
    List,
    Copy,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Copy => "copy",
        }
    }
}

/// A request that has begun. One that is dropped counts as given up.
pub(super) struct Running {
    metrics: ObjectMetrics,
    operation: Operation,
    since: Instant,
    outcome: &'static str,
}

impl Running {
    /// How it ended.
    pub(super) fn end<T>(mut self, result: &object_store::Result<T>) {
        self.outcome = match result {
            Ok(_) => "ok",
            Err(error) => outcome_of(error),
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let operation = self.operation.name();
        self.metrics.requests.with_label_values(&[operation, self.outcome]).inc();
        self.metrics.seconds.with_label_values(&[operation]).observe(self.since.elapsed().as_secs_f64());
    }
}

fn outcome_of(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => "missing",
        E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => "exists",
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => "denied",
        _ => "failed",
    }
}

impl ObjectMetrics {
    /// New figures, all zero.
    pub(super) fn new() -> prometheus::Result<Self> {
        let name = |what: &str| format!("heliograph_store_{what}");
        let requests = Opts::new(
            name("requests_total"),
            "Requests to the object store by outcome: ok, missing, exists, denied, failed, given_up.",
        );
        let seconds = HistogramOpts::new(
            name("request_seconds"),
            "Duration of requests to the object store, with their retries.",
        );
        let retries = Opts::new(
            name("retries_total"),
            "Requests on the wire that failed and were tried again, by reason.",
        );
        Ok(Self {
            requests: IntCounterVec::new(requests, &["operation", "outcome"])?,
            seconds: HistogramVec::new(
                seconds.buckets(exponential_buckets(0.001, 2.0, 16)?),
                &["operation"],
            )?,
            sent: IntCounter::new(name("sent_bytes_total"), "Bytes of objects sent to the object store.")?,
            received: IntCounter::new(
                name("received_bytes_total"),
                "Bytes of objects received from the object store.",
            )?,
            retries: IntCounterVec::new(retries, &["reason"])?,
        })
    }

    /// Shows them on this registry. Once only.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let all: [Box<dyn Collector>; 5] = [
            Box::new(self.requests.clone()),
            Box::new(self.seconds.clone()),
            Box::new(self.sent.clone()),
            Box::new(self.received.clone()),
            Box::new(self.retries.clone()),
        ];
        all.into_iter().try_for_each(|collector| registry.register(collector))
    }

    pub(super) fn begin(&self, operation: Operation) -> Running {
        Running { metrics: self.clone(), operation, since: Instant::now(), outcome: "given_up" }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    pub(super) fn retried(&self, reason: &str) {
        self.retries.with_label_values(&[reason]).inc();
    }
}
