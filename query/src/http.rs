//! The routes, and nothing else: which path is served by what, and what every request passes.

mod admin;
mod assets;
mod audit;
mod auth;
mod body;
mod counts;
mod erasures;
pub(crate) mod error;
mod export;
mod gate;
mod invitations;
mod lines;
mod openapi;
mod params;
mod record;
mod search;
mod session;
mod sessions;
mod tail;
mod ticket;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::audit::Action;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use crate::access::provider::Providers;
use crate::access::{Access, Refusals};
use crate::audit::Recorder;
use crate::cursor::Cursors;
use crate::error::Error;
use crate::exports::Exports;
use crate::metrics::Metrics;
use crate::search::Search;
use crate::shares::Places;
use crate::tail::Tails;
#[cfg(feature = "fuzz")]
pub(crate) use params::read as read_parameters;
pub(crate) use record::Origin;
use record::Rule;

/// What the routes stand on.
pub(crate) struct Api {
    pub(crate) access: Arc<Access>,
    pub(crate) providers: Arc<Providers>,
    pub(crate) search: Arc<Search>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) tails: Arc<Tails>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// Who exports.
    pub(crate) exports: Exports,
    /// Live tails at the same time.
    pub(crate) tail_turns: Places,
    /// Takes what goes to the audit log.
    pub(crate) audit: Recorder,
    /// Refusals that went there lately.
    pub(crate) refusals: Refusals,
    /// Ends streams.
    pub(crate) stop: CancellationToken,
}

type Shared = Arc<Api>;

/// One path of the API.
pub(crate) struct Route {
    /// As axum matches it.
    pub(crate) path: &'static str,
    /// What it takes, and what of that is recorded in the audit log; a test holds this against what it answers.
    pub(crate) methods: &'static [(&'static str, Rule)],
    handler: fn() -> MethodRouter<Shared>,
}

/// Every route of the API. A route that is not here does not exist, and every one here is behind [`gate`] and
/// [`record`].
pub(crate) const ROUTES: &[Route] = &[
    Route {
        path: "/api/v1/openapi.json",
        methods: &[("GET", Rule::Nothing)],
        handler: || get(openapi::show),
    },
    Route {
        path: "/api/v1/session",
        methods: &[
            ("GET", Rule::Nothing),
            ("POST", Rule::SignIn),
            ("DELETE", Rule::Change(Action::SessionEnd)),
        ],
        handler: || get(session::who).post(session::sign_in).delete(session::sign_out),
    },
    Route {
        path: "/api/v1/sessions",
        methods: &[("GET", Rule::Nothing), ("DELETE", Rule::Change(Action::SessionEnd))],
        handler: || get(sessions::list).delete(sessions::end_others),
    },
    Route {
        path: "/api/v1/sessions/{session}",
        methods: &[("DELETE", Rule::Change(Action::SessionEnd))],
        handler: || delete(sessions::end_one),
    },
    Route {
        path: "/api/v1/auth/providers",
        methods: &[("GET", Rule::Nothing)],
        handler: || get(auth::providers),
    },
    Route {
        path: "/api/v1/auth/{provider}/login",
        methods: &[("GET", Rule::Nothing)],
        handler: || get(auth::login),
    },
    Route {
        path: "/api/v1/auth/{provider}/callback",
        methods: &[("GET", Rule::SignIn)],
        handler: || get(auth::callback),
    },
    Route {
        path: "/api/v1/invitations/accept",
        methods: &[("POST", Rule::Change(Action::InvitationAccept))],
        handler: || post(invitations::accept),
    },
    Route {
        path: "/api/v1/search",
        methods: &[("GET", Rule::Records(Action::Search))],
        handler: || get(search::search),
    },
    Route {
        path: "/api/v1/histogram",
        methods: &[("GET", Rule::Records(Action::Histogram))],
        handler: || get(counts::histogram),
    },
    Route {
        path: "/api/v1/values",
        methods: &[("GET", Rule::Records(Action::Values))],
        handler: || get(counts::values),
    },
    Route {
        path: "/api/v1/fields",
        methods: &[("GET", Rule::Records(Action::Fields))],
        handler: || get(counts::fields),
    },
    Route {
        path: "/api/v1/context",
        methods: &[("GET", Rule::Records(Action::Context))],
        handler: || get(search::context),
    },
    Route {
        path: "/api/v1/export",
        methods: &[("GET", Rule::Records(Action::Export))],
        handler: || get(export::export).layer(CompressionLayer::new().gzip(true).zstd(true)),
    },
    Route {
        path: "/api/v1/tail",
        methods: &[("GET", Rule::Records(Action::Tail))],
        handler: || get(tail::tail),
    },
    Route {
        path: "/api/v1/tail/ticket",
        // What it is good for is recorded when it is used.
        methods: &[("POST", Rule::Nothing)],
        handler: || post(ticket::give),
    },
    Route {
        path: "/api/v1/admin/tenants",
        methods: &[("GET", Rule::List(Action::AdminRead)), ("POST", Rule::Change(Action::TenantCreate))],
        handler: || get(admin::tenants).post(admin::create_tenant),
    },
    Route {
        path: "/api/v1/admin/users",
        methods: &[("GET", Rule::List(Action::AdminRead)), ("POST", Rule::Change(Action::UserCreate))],
        handler: || get(admin::users).post(admin::create_user),
    },
    Route {
        path: "/api/v1/admin/users/{name}/password",
        methods: &[("PUT", Rule::Change(Action::UserPassword))],
        handler: || put(admin::set_password),
    },
    Route {
        path: "/api/v1/admin/users/{name}/disable",
        methods: &[("POST", Rule::Change(Action::UserDisable))],
        handler: || post(sessions::disable),
    },
    Route {
        path: "/api/v1/admin/users/{name}/enable",
        methods: &[("POST", Rule::Change(Action::UserEnable))],
        handler: || post(sessions::enable),
    },
    Route {
        path: "/api/v1/admin/users/{name}/sessions",
        methods: &[("DELETE", Rule::Change(Action::SessionEnd))],
        handler: || delete(sessions::end_all),
    },
    Route {
        path: "/api/v1/admin/invitations",
        methods: &[("GET", Rule::List(Action::AdminRead)), ("POST", Rule::Change(Action::InvitationCreate))],
        handler: || get(invitations::list).post(invitations::create),
    },
    Route {
        path: "/api/v1/admin/invitations/{invitation}",
        methods: &[("DELETE", Rule::Change(Action::InvitationRevoke))],
        handler: || delete(invitations::revoke),
    },
    Route {
        path: "/api/v1/admin/grants",
        methods: &[
            ("GET", Rule::List(Action::AdminRead)),
            ("POST", Rule::Change(Action::GrantGive)),
            ("DELETE", Rule::Change(Action::GrantTake)),
        ],
        handler: || get(admin::grants).post(admin::grant).delete(admin::revoke_grant),
    },
    Route {
        path: "/api/v1/admin/tokens",
        methods: &[("GET", Rule::List(Action::AdminRead)), ("POST", Rule::Change(Action::TokenCreate))],
        handler: || get(admin::tokens).post(admin::create_token),
    },
    Route {
        path: "/api/v1/admin/tokens/{id}",
        methods: &[("DELETE", Rule::Change(Action::TokenRevoke))],
        handler: || delete(admin::revoke_token),
    },
    Route {
        path: "/api/v1/admin/erasures",
        methods: &[("GET", Rule::List(Action::AdminRead)), ("POST", Rule::Change(Action::ErasureRequest))],
        handler: || get(erasures::list).post(erasures::ask),
    },
    Route {
        path: "/api/v1/admin/erasures/{erasure}",
        methods: &[("GET", Rule::List(Action::AdminRead))],
        handler: || get(erasures::show),
    },
    Route {
        path: "/api/v1/admin/audit",
        methods: &[("GET", Rule::List(Action::AuditRead))],
        handler: || get(audit::list),
    },
    Route {
        path: "/api/v1/admin/audit/export",
        methods: &[("GET", Rule::List(Action::AuditRead))],
        handler: || get(audit::export),
    },
    Route {
        path: "/api/v1/admin/usage",
        methods: &[("GET", Rule::List(Action::AdminRead))],
        handler: || get(usage::usage),
    },
];

/// The whole service: the API behind its gate, the open status routes, and the page.
pub(crate) fn router(api: Shared, status: Router) -> Router {
    let unknown = || async { Error::NotFound { what: "route" } };
    let mut routes = Router::new();
    for route in ROUTES {
        let handler = (route.handler)().fallback(|| async { Error::Method });
        routes = routes.route(route.path, handler);
    }
    let guarded = routes
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*rest}", any(unknown))
        .layer(from_fn_with_state(Arc::clone(&api), ticket::require))
        .layer(from_fn_with_state(Arc::clone(&api), record::record))
        .layer(from_fn_with_state(Arc::clone(&api), gate::prove))
        .layer(from_fn_with_state(Arc::clone(&api), gate::admit))
        .layer(from_fn(gate::private));
    let page = any(assets::serve).layer(CompressionLayer::new().gzip(true).zstd(true));
    guarded
        .merge(Router::new().route("/", page.clone()).route("/{*path}", page))
        .layer(from_fn_with_state(Arc::clone(&api), gate::finish))
        .with_state(api)
        .merge(status)
        .layer(from_fn(gate::harden))
}

#[cfg(test)]
mod tests;
