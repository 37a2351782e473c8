//! Serves the agent's status port, the only one that is the program's own: few routes, few callers.

use std::time::Duration;

use axum::Router;
use heliograph_serve::{Bounds, Port};
use tokio_util::sync::CancellationToken;

/// Probes and a scraper or two.
const CONNECTIONS_MAX: usize = 64;

/// Serves until told to stop; requests under way are cut off, as probes and scrapes come again.
pub(crate) async fn serve(port: Port, router: Router, stop: CancellationToken) {
    let bounds = Bounds { connections_max: CONNECTIONS_MAX, drain_max: Duration::ZERO, connections: None };
    heliograph_serve::serve(port, router, bounds, stop).await;
}
