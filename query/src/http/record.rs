//! What of each call is recorded in the audit log. A method of a route without a rule is not answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use heliograph_model::tenant::TenantId;
use heliograph_store::audit::{Action, Actor, Details, Outcome, Subject};
use http::{Method, StatusCode, Uri, header};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{Api, ROUTES, Shared, openapi};
use crate::access::{Caller, Forged, Identity, Principal};
use crate::audit::{Happened, Slot};
use crate::error::{Error, Result};

/// Parameters that are recorded. Others are refused, or are ours and say nothing; what somebody sends by mistake may be a
/// secret.
const PARAMETERS: [&str; 18] = [
    "q", "start", "end", "limit", "order", "explain", "interval", "by", "field", "id", "before", "after",
    "format", "since", "last", "user", "action", "actor",
];

/// What is recorded of a method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Whose records are read: the tenants that the caller names, or all that it may read.
    Records(Action),
    /// A list of the administration: of the tenants that the caller names or operates, or of the platform.
    List(Action),
    /// A change: it is on disk before the answer. The handler notes what it is about.
    Change(Action),
    /// A sign-in, accepted or refused.
    SignIn,
    /// Nothing: the caller is told about itself alone.
    Nothing,
}

/// Who called, from where, and about what: what each row of a call has in common.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) actor: Actor,
    pub(crate) from: IpAddr,
    pub(crate) subjects: Arc<[Subject]>,
}

/// What a handler adds to what is recorded. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Note(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    actor: Option<Actor>,
    subjects: Vec<Subject>,
    details: Map<String, Value>,
    is_refused: bool,
}

impl Note {
    /// It was refused, though the answer is no error: a browser is led to where it is told.
    pub(super) fn refuse(&self) {
        self.0.lock().is_refused = true;
    }

    /// Who it turned out to be.
    pub(super) fn by(&self, principal: &Principal) {
        self.0.lock().actor = Some(actor(principal));
    }

    /// A tenant that it is about.
    pub(super) fn about(&self, subject: Subject) {
        self.0.lock().subjects.push(subject);
    }

    /// A detail; no secret.
    pub(super) fn detail(&self, name: &str, value: impl Into<Value>) {
        self.0.lock().details.insert(name.to_owned(), value.into());
    }
}

fn actor(principal: &Principal) -> Actor {
    match principal {
        Principal::User(name) => Actor::User(name.clone()),
        Principal::Token(id) => Actor::Token(id.clone()),
        Principal::Forwarded(name) => Actor::Forwarded(name.clone()),
        Principal::Platform(tenant) => Actor::Platform(tenant.clone()),
    }
}

/// A call under way. Also one that is given up half-way is recorded: its caller may have learnt something.
struct Pending {
    api: Shared,
    slot: Option<Slot>,
    rule: Rule,
    origin: Origin,
    note: Note,
    details: Map<String, Value>,
}

impl Pending {
    fn happened(&mut self, status: Option<StatusCode>) -> Happened {
        let noted = std::mem::take(&mut *self.note.0.lock());
        let outcome = match status {
            Some(_) if noted.is_refused => Outcome::Refused,
            Some(status) if status.as_u16() < 400 => Outcome::Done,
            Some(
                StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::TOO_MANY_REQUESTS,
            ) => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let mut details = std::mem::take(&mut self.details);
        details.extend(noted.details);
        match status.map(|status| status.as_u16()) {
            Some(status) if outcome != Outcome::Done && !noted.is_refused => {
                details.insert("status".to_owned(), status.into());
            }
            Some(_) => {}
            None => {
                details.insert("given_up".to_owned(), true.into());
            }
        }
        let action = match self.rule {
            Rule::Records(action) | Rule::List(action) | Rule::Change(action) => action,
            Rule::SignIn if outcome == Outcome::Done => Action::SessionCreate,
            Rule::SignIn | Rule::Nothing => Action::SessionRefused,
        };
        let subjects = match noted.subjects.is_empty() {
            true => Arc::clone(&self.origin.subjects),
            false => noted.subjects.into(),
        };
        Happened {
            at: self.api.clock.now(),
            actor: noted.actor.unwrap_or_else(|| self.origin.actor.clone()),
            action,
            subjects,
            from: self.origin.from,
            outcome,
            details: Details::new(details),
        }
    }

    async fn finish(mut self, response: Response) -> Response {
        let Some(slot) = self.slot.take() else { return response };
        let happened = self.happened(Some(response.status()));
        let is_refusal = happened.action == Action::SessionRefused
            || (happened.actor == Actor::Nobody && happened.outcome != Outcome::Done);
        if is_refusal && !self.api.may_record_refusal(self.origin.from) {
            slot.leave();
            return response;
        }
        let is_change = matches!(self.rule, Rule::Change(_) | Rule::SignIn);
        if !is_change || happened.outcome != Outcome::Done {
            slot.record(happened);
            return response;
        }
        match slot.write(happened).await {
            Ok(()) => response,
            Err(error) => error.into_response(),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.record(self.happened(None));
        }
    }
}

/// Lets a call through when there is room to record it, and records it.
pub(super) async fn record(State(api): State<Shared>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let Some(route) = matched.and_then(|path| ROUTES.iter().find(|route| route.path == path.as_str())) else {
        // No route of ours: there is nothing behind it.
        return next.run(request).await;
    };
    // What GET answers, HEAD asks for, too.
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let Some((_, rule)) = route.methods.iter().find(|(name, _)| *name == method.as_str()) else {
        return Error::Method.into_response();
    };
    if let Err(error) = openapi::refuse_query(method, route.path, request.uri()) {
        return error.into_response();
    }
    if *rule == Rule::Nothing {
        return next.run(request).await;
    }
    let (origin, mut details) = match called(&request, *rule) {
        Ok(called) => called,
        Err(error) => return error.into_response(),
    };
    if matches!(rule, Rule::List(_)) {
        details.insert("path".to_owned(), request.uri().path().into());
    }
    let slot = match rule {
        Rule::Change(_) | Rule::SignIn => api.audit.slot_of_change().await,
        _ => api.audit.slot().await,
    };
    let slot = match slot {
        Ok(slot) => Some(slot),
        Err(error) => return error.into_response(),
    };
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    request.extensions_mut().insert(origin.clone());
    let pending = Pending { api, slot, rule: *rule, origin, note, details };
    let response = next.run(request).await;
    pending.finish(response).await
}

/// Who called, from where, about whom, and what of the question is recorded.
fn called(request: &Request, rule: Rule) -> Result<(Origin, Map<String, Value>)> {
    let from = peer(request)?;
    let caller = request.extensions().get::<Caller>();
    let (named, mut details) = parameters(request.uri());
    let subjects = match (rule, caller) {
        (Rule::Records(_), Some(caller)) => viewed(caller, &named),
        (Rule::List(_), Some(caller)) => operated(caller, &named),
        _ => Vec::new(),
    };
    let subjects = if subjects.is_empty() {
        // Names stand only where no tenant's operator reads them.
        if !named.is_empty() {
            details.insert("tenant".to_owned(), named.into());
        }
        vec![Subject::Platform]
    } else {
        subjects
    };
    let actor = caller.map_or(Actor::Nobody, |caller| actor(caller.principal()));
    Ok((Origin { actor, from, subjects: subjects.into() }, details))
}

fn peer(request: &Request) -> Result<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| peer.ip()).ok_or_else(|| Error::server("the connection", "no peer address"))
}

/// The tenants that are named, and what else of the question is recorded.
fn parameters(uri: &Uri) -> (Vec<String>, Map<String, Value>) {
    let Ok(Query(given)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Default::default();
    };
    let (mut named, mut values) = (Vec::new(), BTreeMap::new());
    for (name, value) in given {
        if name == "tenant" {
            named.push(value);
        } else if PARAMETERS.contains(&name.as_str()) {
            values.insert(name, Value::from(value));
        }
    }
    (named, values.into_iter().collect())
}

/// The tenants whose records the caller reads; none if it may not.
fn viewed(caller: &Caller, named: &[String]) -> Vec<Subject> {
    let scope = caller.scope(named);
    scope.iter().flat_map(|scope| scope.tenants()).map(|name| caller.subject(name)).collect()
}

/// The tenants that the caller operates of those named; without names all of an operator, none of an administrator.
fn operated(caller: &Caller, named: &[String]) -> Vec<Subject> {
    let operated: Result<Vec<TenantId>> = match named {
        [] if caller.is_admin() => return Vec::new(),
        [] => Ok(caller.tenants().keys().filter(|name| caller.operates(name)).cloned().collect()),
        named => named.iter().map(|name| caller.operated(name)).collect(),
    };
    operated.iter().flatten().map(|name| caller.subject(name)).collect()
}

/// What of a request is a try to be somebody; a call without any is none.
pub(super) fn tried(api: &Shared, request: &Request) -> Option<&'static str> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        Some("authorization")
    } else if api.access.has_cookie(request.headers()) {
        Some("cookie")
    } else if request.extensions().get::<Forged>().is_some()
        || request.extensions().get::<Identity>().is_some()
    {
        Some("forwarded")
    } else {
        None
    }
}

/// Records a credential that proved nothing.
pub(super) async fn refused(api: &Shared, by: Option<&'static str>, from: IpAddr, path: &str) {
    let Some(by) = by.filter(|_| api.may_record_refusal(from)) else { return };
    // Where there is no room it is refused all the same.
    let Ok(slot) = api.audit.slot().await else { return };
    let details = [("path", path), ("by", by)].map(|(name, value)| (name.to_owned(), Value::from(value)));
    slot.record(Happened {
        at: api.clock.now(),
        actor: Actor::Nobody,
        action: Action::SessionRefused,
        subjects: Arc::new([Subject::Platform]),
        from,
        outcome: Outcome::Refused,
        details: Details::new(details.into_iter().collect()),
    });
}

impl Api {
    /// Whether a refusal is recorded by itself: ten a minute of one address, so that nobody without a credential fills
    /// the log. All are counted.
    fn may_record_refusal(&self, from: IpAddr) -> bool {
        let may = self.refusals.may(from, self.clock.now());
        if !may {
            self.metrics.audit_refusals_left_out.inc();
        }
        may
    }
}
