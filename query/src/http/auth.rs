//! Signing in by a provider: the way there, and the way back.
//!
//! Both are navigations of a browser and carry no credential. What binds the way back to the way there is a sealed
//! cookie of the browser that began, and the `state` in it; each is good once, and for ten minutes.

use std::net::SocketAddr;

use aws_lc_rs::digest;
use axum::Json;
use axum::extract::{ConnectInfo, Extension, Path, State};
use axum::response::{IntoResponse, Response};
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{Extent, Role};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Shared;
use super::params::Params;
use super::record::Note;
use crate::access::PENDING_FOR;
use crate::access::account::{Entered, Tried};
use crate::access::provider::{Denied, Pending, Provider, Reason, Returned, is_same};
use crate::cursor::Binding;
use crate::error::{Error, Result};

/// Longest place of our page to go back to, in bytes.
const RETURN_TO_BYTES_MAX: usize = 2 << 10;

fn binding() -> Binding {
    Binding::of_nobody("sign-in by a provider")
}

/// `GET /auth/providers`: names only.
pub(super) async fn providers(State(api): State<Shared>) -> Json<Value> {
    let one = |p: &Provider| json!({ "name": p.config.name, "display_name": p.config.display_name });
    Json(json!({ "providers": api.providers.iter().map(one).collect::<Vec<_>>() }))
}

/// `GET /auth/{provider}/login`: to the provider.
pub(super) async fn login(
    State(api): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let provider = api.providers.find(&name)?;
    let mut params = Params::of(&uri)?;
    let return_to = params.one("return_to")?.unwrap_or_else(|| "/".to_owned());
    params.finish()?;
    if !is_own_path(&return_to) {
        return Err(Error::invalid_hint(
            format!("return_to={return_to:?} is not a place of this page"),
            "return_to is a path that begins with one slash",
        ));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let redirect = api.providers.callback(provider, host)?;
    let now = api.clock.now();
    let nanos = i64::try_from(PENDING_FOR.as_nanos()).unwrap_or(i64::MAX);
    match provider.begin(redirect, return_to, now.saturating_add_nanos(nanos)).await {
        Ok((url, pending)) => {
            let sealed = api.cursors.seal(&binding(), &pending, now)?;
            Ok(see(url.as_str(), vec![api.access.cookie().set_pending(&sealed)?]))
        }
        Err(denied) => {
            tracing::warn!(provider = name, why = denied.why, "a sign-in cannot begin");
            Ok(see(&refused_page(denied.reason), Vec::new()))
        }
    }
}

/// `GET /auth/{provider}/callback`: from the provider.
pub(super) async fn callback(
    State(api): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(note): Extension<Note>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let provider = api.providers.find(&name)?;
    note.detail("provider", name.as_str());
    let mut params = Params::of(&uri)?;
    // What else a provider adds is its own affair.
    let returned = Returned {
        state: params.one("state")?,
        code: params.one("code")?,
        iss: params.one("iss")?,
        error: params.one("error")?,
    };
    let tried = api.access.begin_return(peer.ip())?;
    let _turn = api.providers.turn()?;
    let mut cookies = Vec::new();
    let denied = match pending(&api, &name, &headers, &returned).await? {
        Err(denied) => denied,
        Ok(pending) => {
            cookies.push(api.access.cookie().set_pending("")?);
            match entered(&api, &tried, &headers, provider, &pending, returned, &note).await? {
                Ok(Entered { caller, cookie, .. }) => {
                    note.by(caller.principal());
                    cookies.push(cookie);
                    return Ok(see(&pending.return_to, cookies));
                }
                Err(denied) => denied,
            }
        }
    };
    api.access.count_refused();
    note.refuse();
    note.detail("reason", denied.reason.as_str());
    note.detail("why", denied.why.as_str());
    tracing::info!(
        provider = name,
        reason = denied.reason.as_str(),
        why = denied.why,
        "a sign-in was refused"
    );
    Ok(see(&refused_page(denied.reason), cookies))
}

/// What this browser began with, if what it brings back belongs to it. It is used up by that.
async fn pending(
    api: &Shared,
    provider: &str,
    headers: &HeaderMap,
    returned: &Returned,
) -> Result<std::result::Result<Pending, Denied>> {
    let expired = |why: &str| Ok(Err(Denied::new(Reason::Expired, why)));
    let now = api.clock.now();
    let Some(cookie) = api.access.cookie().pending_of(headers)? else {
        return expired("this browser has not begun to sign in, or too long ago");
    };
    let pending: Pending = match api.cursors.open(&binding(), cookie.expose_secret(), now) {
        Ok(pending) => pending,
        Err(Error::Cursor) => return expired("what the browser holds is not what we gave it"),
        Err(error) => return Err(error),
    };
    if now.as_nanos() >= pending.expires {
        return expired("the sign-in began too long ago");
    }
    if pending.provider != provider {
        return expired("the sign-in began with another provider");
    }
    if !returned.state.as_deref().is_some_and(|state| is_same(state, &pending.state)) {
        return expired("the state is not the one of this browser");
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, pending.state.as_bytes()).as_ref());
    match api.store.catalog.spend(&hash, Timestamp::from_nanos(pending.expires), now).await? {
        true => Ok(Ok(pending)),
        false => expired("the state was used before"),
    }
}

async fn entered(
    api: &Shared,
    tried: &Tried,
    headers: &HeaderMap,
    provider: &Provider,
    pending: &Pending,
    returned: Returned,
    note: &Note,
) -> Result<std::result::Result<Entered, Denied>> {
    let profile = match provider.finish(pending, returned).await {
        Ok(profile) => profile,
        Err(denied) => return Ok(Err(denied)),
    };
    note.detail("issuer", profile.issuer.as_str());
    note.detail("subject", profile.subject.as_str());
    let entered = api.access.enter(headers, tried, provider, &profile).await?;
    if let Ok(entered) = &entered {
        note.detail("account_made", entered.is_new);
        if let Some(invitation) = &entered.invitation {
            note.detail("invitation", invitation.as_str());
        }
        if let Some(mapped) = &entered.mapped {
            note.detail("admin_by_groups", mapped.admin);
            note.detail("roles_by_groups", mapped.grants.iter().map(role_text).collect::<Vec<_>>());
        }
    }
    Ok(entered)
}

/// A role as the audit log tells it.
fn role_text((extent, role): &(Extent, Role)) -> String {
    match extent {
        Extent::Tenant(name) => format!("{} of tenant {name}", role.as_str()),
        Extent::Workspace(name) => format!("{} of workspace {name}", role.as_str()),
    }
}

/// The sign-in page, which tells why.
fn refused_page(reason: Reason) -> String {
    format!("/?sign_in={}", reason.as_str())
}

fn see(place: &str, cookies: Vec<HeaderValue>) -> Response {
    let Ok(place) = HeaderValue::from_str(place) else {
        return Error::server("a redirect", "not an address").into_response();
    };
    let cookies = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie));
    let headers: Vec<_> = std::iter::once((header::LOCATION, place))
        .chain([(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))])
        .chain(cookies)
        .collect();
    let mut response = StatusCode::SEE_OTHER.into_response();
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}

/// Whether a place is one of our own page: a path with one slash at its head, as browsers read it.
fn is_own_path(place: &str) -> bool {
    let is_plain = place.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let base = url::Url::parse("https://h.invalid").ok();
    let joined = base.and_then(|base| base.join(place).ok());
    let stays = joined.is_some_and(|url| url.origin().ascii_serialization() == "https://h.invalid");
    let is_path = place.starts_with('/') && !place.starts_with("//");
    is_plain && stays && is_path && place.len() <= RETURN_TO_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_open_redirect_is_refused() {
        for own in ["/", "/?q=a%20b&tenant=x", "/#line", "/a/b?return_to=//evil.com"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in [
            "",
            "//evil.com",
            "///evil.com",
            "/\\evil.com",
            "\\\\evil.com",
            "/\t/evil.com",
            "/\n/evil.com",
            "\t//evil.com",
            "https://evil.com",
            "https:evil.com",
            "javascript:alert(1)",
            "evil.com",
            "?x",
            "/ä",
            "/a b",
            "/%0d%0a\r\nset-cookie: a=b",
        ] {
            assert!(!is_own_path(foreign), "{foreign:?}");
        }
        assert!(!is_own_path(&format!("/{}", "x".repeat(RETURN_TO_BYTES_MAX))));
    }

    proptest! {
        #[test]
        fn no_place_leads_away(place in "[/\\\\a-z.:@?#%\t\n ]{0,12}") {
            let base = url::Url::parse("https://logs.example.com").unwrap();
            if is_own_path(&place) {
                let joined = base.join(&place).unwrap();
                prop_assert_eq!(joined.host_str(), Some("logs.example.com"));
            }
        }
    }
}
