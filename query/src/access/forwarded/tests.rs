//! Who is believed about whom, and all that a stranger may write into headers.

use std::time::Duration;

use heliograph_model::tenant::Workspace;
use heliograph_store::catalog::{Extent, Role};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::access::tests::sign_in;
use crate::config::{Gives, Mapping};
use crate::stage::{PASSWORD, Stage, tenant};

const USER: &str = "x-remote-user";
const GROUPS: &str = "x-remote-groups";
const EMAIL: &str = "x-remote-email";

fn config(networks: &[&str], certificates: &[&str]) -> ForwardAuth {
    let rule = |group: &str, gives: Gives| Mapping { group: group.to_owned(), gives };
    ForwardAuth {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        certificates: certificates.iter().map(|name| (*name).to_owned()).collect(),
        user_header: HeaderName::from_static(USER),
        email_header: Some(HeaderName::from_static(EMAIL)),
        groups_header: Some(HeaderName::from_static(GROUPS)),
        groups: vec![
            rule("readers", Gives::Role(Extent::Tenant(tenant("a")), Role::Viewer)),
            rule("all", Gives::Role(Extent::Workspace(Workspace::parse("w").unwrap()), Role::Viewer)),
            rule("root", Gives::Admin),
        ],
        recheck_after: Duration::from_secs(600),
    }
}

async fn stage(networks: &[&str]) -> Stage {
    Stage::with(|it| it.forward_auth = Some(config(networks, &[]))).await
}

/// The status of an answer, and its body.
async fn ask(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = stage.client.get(format!("{}/api/v1/{path}", stage.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

fn refusals(stage: &Stage, reason: &str) -> f64 {
    let families = stage.registry.gather();
    let family = families.iter().find(|f| f.name() == "heliograph_query_credentials_refused_total").unwrap();
    let is_it = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|label| label.value() == reason);
    family.get_metric().iter().find(is_it).map_or(0.0, |metric| metric.get_counter().get_value())
}

/// The refused credentials in the audit log, once there are so many: by whom, and where from.
async fn refused_from(stage: &Stage, count: usize) -> Vec<(String, String)> {
    loop {
        let rows = stage.store.catalog.audit_rows(0, 1_000).await.unwrap();
        let rows = rows.into_iter().filter(|row| row.action == "session.refused");
        let rows: Vec<_> = rows.map(|row| (row.actor, row.source)).collect();
        if rows.len() >= count {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_listed_proxy_says_counts_and_groups_give_rights() {
    let stage = stage(&["127.0.0.0/8"]).await;
    let (status, who) =
        ask(&stage, "session", &[(USER, "ann"), (GROUPS, "readers, other"), (EMAIL, "a@x")]).await;
    let viewer = |name: &str| json!({ "name": name, "workspace": "w", "roles": ["viewer"] });
    let expected = json!({ "user": "ann", "admin": false, "tenants": [viewer("a")], "email": "a@x" });
    assert_eq!((status, who), (200, expected));
    let (_, who) = ask(&stage, "session", &[(USER, "ann"), (GROUPS, "all")]).await;
    assert_eq!(who["tenants"], json!([viewer("a"), viewer("b")]));
    // A name that a user of ours has, too, gives nothing of what that one may do.
    let (_, who) = ask(&stage, "session", &[(USER, "root")]).await;
    assert_eq!(who, json!({ "user": "root", "admin": false, "tenants": [] }));
    assert_eq!(ask(&stage, "search?tenant=a", &[(USER, "root")]).await.0, 403);
    assert_eq!(ask(&stage, "admin/users", &[(USER, "x"), (GROUPS, "all,Root")]).await.0, 403);
    assert_eq!(ask(&stage, "admin/users", &[(USER, "x"), (GROUPS, "all,root")]).await.0, 200);
    // Nobody is signed in.
    assert_eq!(ask(&stage, "session", &[]).await.0, 401);
    assert_eq!(ask(&stage, "session", &[(USER, " ")]).await.0, 401);
    assert_eq!(ask(&stage, "session", &[(GROUPS, "root")]).await.0, 401);
}

#[tokio::test]
async fn headers_of_who_is_no_listed_proxy_are_as_if_not_there() {
    let stage = stage(&["10.0.0.0/8", "::1/128"]).await;
    let forged: &[&[(&str, &str)]] = &[
        &[(USER, "root"), (GROUPS, "root")],
        &[(USER, "root"), (GROUPS, "root"), ("x-forwarded-for", "10.0.0.1")],
        &[(USER, "root"), (GROUPS, "root"), ("forwarded", "for=10.0.0.1;by=10.0.0.1")],
        &[(USER, "root"), (GROUPS, "root"), ("x-real-ip", "10.0.0.1"), ("x-forwarded-host", "localhost")],
        &[("x_remote_user", "root"), ("x_remote_groups", "root")],
        &[("X-REMOTE-USER", "root"), ("X-Remote-Groups", "root")],
        &[("x-forwarded-user", "root"), ("remote-user", "root"), ("x-auth-request-user", "root")],
        &[("x-scope-orgid", "a"), ("x-tenant", "a"), ("x-heliograph-tenant", "a")],
        &[("x-original-url", "/api/v1/session"), ("x-rewrite-url", "/healthz"), ("x-original-method", "GET")],
    ];
    for headers in forged {
        for path in ["search", "admin/users", "session"] {
            let (status, body) = ask(&stage, path, headers).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (401, &json!("unauthenticated")),
                "{headers:?} {path}"
            );
        }
    }
    assert_eq!(refusals(&stage, "untrusted_proxy"), 15.0);
    // Beside a credential of one's own they change nothing.
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let bearer = format!("Bearer {token}");
    let (status, who) =
        ask(&stage, "session", &[("authorization", &bearer), (USER, "root"), (GROUPS, "root")]).await;
    assert_eq!((status, &who["admin"]), (200, &json!(false)));
    assert_eq!(who["tenants"][0]["name"], "a");
    // X-Original-URL does not lead past the gate either.
    let (status, _) =
        ask(&stage, "admin/users", &[("authorization", &bearer), ("x-original-url", "/")]).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn without_forward_auth_nobody_is_believed() {
    let stage = Stage::new().await;
    for headers in
        [[(USER, "root"), (GROUPS, "root")], [("x-forwarded-user", "root"), ("x-forwarded-for", "::1")]]
    {
        assert_eq!(ask(&stage, "session", &headers).await.0, 401);
    }
}

#[tokio::test]
async fn doubled_mixed_and_malformed_words_of_a_proxy_are_refused() {
    let stage = stage(&["127.0.0.1/32"]).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let cookie = sign_in(&stage, "ann").await;
    let bearer = format!("Bearer {token}");
    let long = "x".repeat(257);
    let many = (0..501).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let wrong: &[&[(&str, &str)]] = &[
        &[(USER, "ann"), (USER, "root")],
        &[(USER, "ann"), (USER, "ann")],
        &[(USER, "root, ann")],
        &[(USER, "ann;x"), (GROUPS, "root")],
        &[(USER, "ann root")],
        &[(USER, "forwarded:ann")],
        &[(USER, &long)],
        &[(USER, "ann\u{85}")],
        &[(USER, "ann"), (GROUPS, "readers"), (GROUPS, "root")],
        &[(USER, "ann"), (GROUPS, &many)],
        &[(USER, "ann"), (GROUPS, &long)],
        &[(USER, "ann"), (EMAIL, "a@x"), (EMAIL, "b@x")],
        // Whoever else is proved, and whoever is not.
        &[(USER, "ann"), ("cookie", &cookie)],
        &[(USER, "ann"), ("cookie", "heliograph=x")],
        &[(USER, "a"), ("authorization", &bearer)],
        &[(USER, "a"), ("authorization", "Bearer x")],
    ];
    for headers in wrong {
        let (status, body) = ask(&stage, "session", headers).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid")), "{headers:?}: {body}");
    }
    assert_eq!(refusals(&stage, "malformed"), 12.0);
    assert_eq!(refusals(&stage, "ambiguous"), 4.0);
    // Names that are almost the header's say nothing, beside it either.
    let (status, who) =
        ask(&stage, "session", &[(USER, "ann"), ("x_remote_user", "root"), ("x_remote_groups", "root")])
            .await;
    assert_eq!((status, who["user"].as_str(), &who["tenants"]), (200, Some("ann"), &json!([])));
    // A proxy's other calls are people's and machines' as ever.
    assert_eq!(ask(&stage, "session", &[("cookie", &cookie)]).await.0, 200);
    assert_eq!(ask(&stage, "session", &[("authorization", &bearer)]).await.0, 200);
}

/// As bytes: header names and values that no client library sends.
#[tokio::test]
async fn odd_bytes_name_nobody() {
    let stage = stage(&["127.0.0.1/32"]).await;
    for (head, expected) in [
        ("x-remote-user: root\0", "400"),
        ("x-remote-user : root", "400"),
        (" x-remote-user: root", "400"),
        ("x-remote-user: ann\r\n x-remote-groups: root", "400"),
        ("x-remote-user:\r\nx-remote-groups: root", "401"),
        ("x-other: 1\nx-remote-user: root", "200"),
        ("connection: x-remote-user\r\nx-remote-user: ann", "200"),
    ] {
        let mut stream = TcpStream::connect(stage.addr).await.unwrap();
        let said = format!("GET /api/v1/session HTTP/1.1\r\nhost: x\r\n{head}\r\nconnection: close\r\n\r\n");
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        let got = String::from_utf8(got).unwrap();
        assert!(got.starts_with(&format!("HTTP/1.1 {expected}")), "{head:?}: {got}");
        assert!(!got.contains("\"admin\":true"), "{head:?}: {got}");
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_use_what_a_proxy_vouches_for() {
    let stage = stage(&["127.0.0.1/32"]).await;
    let post = async |origin: Option<&str>, more: &[(&str, &str)]| {
        let body = json!({ "name": "new" });
        let mut request = stage.client.post(format!("{}/api/v1/admin/tenants", stage.url)).json(&body);
        request = request.header(USER, "x").header(GROUPS, "root");
        for (name, value) in origin.map(|origin| ("origin", origin)).iter().chain(more) {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status()
    };
    for origin in
        [None, Some("null"), Some("https://evil.example"), Some("https://logs.example.com.evil.com")]
    {
        assert_eq!(post(origin, &[]).await, StatusCode::FORBIDDEN, "{origin:?}");
    }
    let cross = [("sec-fetch-site", "cross-site")];
    assert_eq!(post(Some("https://logs.example.com"), &cross).await, StatusCode::FORBIDDEN);
    // What a proxy may say about hosts does not make a page ours.
    let host = [("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example;proto=https")];
    assert_eq!(post(Some("https://evil.example"), &host).await, StatusCode::FORBIDDEN);
    assert_eq!(refusals(&stage, "origin"), 6.0);
    assert_eq!(post(Some("https://logs.example.com"), &[]).await, StatusCode::CREATED);

    let tail = async |origin: Option<&str>| {
        let upgrade = [(USER, "x"), (GROUPS, "readers"), ("upgrade", "websocket")];
        let (status, body) =
            ask(&stage, "tail", &[&upgrade[..], origin.map(|o| ("origin", o)).as_slice()].concat()).await;
        (status, body["error"]["code"].clone())
    };
    assert_eq!(tail(None).await, (403, json!("forbidden")));
    assert_eq!(tail(Some("https://evil.example")).await, (403, json!("forbidden")));
    assert_eq!(tail(Some("https://logs.example.com")).await, (403, json!("ticket")), "it needs one");

    let sign_in = async |origin: &str| {
        let body = json!({ "user": "ann", "password": PASSWORD });
        let request = stage.client.post(format!("{}/api/v1/session", stage.url)).json(&body);
        request.header(USER, "x").header("origin", origin).send().await.unwrap().status()
    };
    assert_eq!(sign_in("https://evil.example").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn guesses_are_counted_by_the_address_that_a_proxy_was_called_from() {
    let stage = stage(&["127.0.0.1/32", "10.0.0.0/8"]).await;
    let guess = async |from: &str| {
        let body = json!({ "user": format!("nobody {from}"), "password": "wrong" });
        let request = stage.client.post(format!("{}/api/v1/session", stage.url)).json(&body);
        request.header("x-forwarded-for", from).send().await.unwrap().status().as_u16()
    };
    for n in 0..10 {
        // What the client itself puts in front changes nothing, nor does a proxy in between.
        let hops = [format!("{n}.1.1.1, 203.0.113.7"), format!("nonsense, {n}, 203.0.113.7:5000, 10.1.2.3")];
        assert_eq!(guess(&hops[n % 2]).await, 401);
    }
    assert_eq!(guess("198.51.100.1, 203.0.113.7").await, 429);
    assert_eq!(guess("203.0.113.7, 198.51.100.1").await, 401, "another address");
    let rows = refused_from(&stage, 11).await;
    let of = |from: &str| rows.iter().filter(|(_, at)| at == from).count();
    assert_eq!((of("203.0.113.7"), of("198.51.100.1")), (10, 1), "{rows:?}");
    assert!(rows.iter().all(|(actor, _)| actor == "nobody"));
}

#[tokio::test]
async fn a_tail_by_a_proxys_word_ends_when_that_is_old() {
    let stage = stage(&["127.0.0.1/32"]).await;
    let access = Access::new(
        &crate::Config { forward_auth: Some(config(&["127.0.0.1/32"], &[])), ..stage.config.clone() },
        Arc::clone(&stage.store.catalog),
        Arc::new(stage.clock.clone()),
        crate::metrics::Metrics::new(&prometheus::Registry::new()).unwrap(),
        None,
    )
    .unwrap();
    let identity = Identity {
        user: "ann".to_owned(),
        email: None,
        groups: ["readers".to_owned()].into_iter().collect(),
    };
    let caller = access.of_forwarded(&identity).await.unwrap();
    stage.clock.advance(Duration::from_secs(599));
    let again = access.again(&caller).await.unwrap();
    assert_eq!(again.scope(&[]).unwrap().tenants(), [tenant("a")]);
    // Asked again, it is not taken for longer.
    stage.clock.advance(Duration::from_secs(1));
    assert!(matches!(access.again(&again).await, Err(Error::Unauthenticated)));
    assert_eq!(caller.principal().name(), "forwarded:ann");
    let shown = format!("{caller:?}");
    assert!(!shown.contains("readers"), "{shown}");
}

#[tokio::test]
async fn a_tail_through_a_proxy_runs_and_ends_when_its_word_is_old() {
    use futures::StreamExt;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    let stage = stage(&["127.0.0.1/32"]).await;
    let mut request = format!("ws://{}/api/v1/tail?tenant=a", stage.addr).into_client_request().unwrap();
    let by_proxy = [(USER, "ann"), (GROUPS, "readers"), ("origin", "https://logs.example.com")];
    let asked = stage.client.post(format!("{}/api/v1/tail/ticket", stage.url)).json(&json!({}));
    let asked = by_proxy.iter().fold(asked, |request, (name, value)| request.header(*name, *value));
    let given: Value = asked.send().await.unwrap().json().await.unwrap();
    let protocols = format!("heliograph.v1, ticket.{}", given["ticket"].as_str().unwrap());
    stage.canaries().allow("readers", "a");
    for (name, value) in by_proxy.into_iter().chain([("sec-websocket-protocol", protocols.as_str())]) {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    stage.indexer.commit(&tenant("a"), &[crate::stage::record(1, 1, 1, "seen")]).await;
    let mut seen = false;
    let code = loop {
        match tokio::time::timeout(Duration::from_secs(30), socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) if text.as_str().contains("\"seen\"") => {
                seen = true;
                stage.clock.advance(Duration::from_secs(600));
            }
            Some(Ok(Message::Close(Some(frame)))) => break frame.code,
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((seen, code), (true, CloseCode::Policy));
}

fn parts(peer: &str, certificate: Option<(&str, &[&str])>, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 5)));
    if let Some((subject, names)) = certificate {
        let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        parts.extensions.insert(PeerCertificate { subject: subject.to_owned(), dns_names });
    }
    parts
}

#[test]
fn a_proxy_is_told_by_all_that_is_configured_of_it() {
    let check = |config: ForwardAuth, peer: &str, certificate: Option<(&str, &[&str])>, expected: bool| {
        let mut parts = parts(peer, certificate, &[(USER, "ann"), ("x-forwarded-for", "203.0.113.7")]);
        Proxies::new(config).admit(&mut parts).unwrap();
        assert_eq!(parts.extensions.get::<Identity>().is_some(), expected, "{peer} {certificate:?}");
        assert_eq!(parts.extensions.get::<Forged>().is_some(), !expected);
        assert!(!parts.headers.contains_key(USER));
        let ConnectInfo(client) = parts.extensions.get::<ConnectInfo<SocketAddr>>().unwrap();
        assert_eq!(client.ip().to_string(), if expected { "203.0.113.7" } else { peer });
    };
    let networks = &["10.0.0.0/8", "fd00::/8"][..];
    for (peer, expected) in [
        ("10.255.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("fd12::1", true),
        ("11.0.0.1", false),
        ("127.0.0.1", false),
        ("fe80::1", false),
    ] {
        check(config(networks, &[]), peer, None, expected);
        check(config(networks, &["ingress"]), peer, None, false);
        check(config(networks, &["ingress"]), peer, Some(("agent", &["node-1"])), false);
        check(config(networks, &["ingress"]), peer, Some(("ingress", &[])), expected);
        check(config(networks, &["ingress"]), peer, Some(("", &["x", "ingress"])), expected);
    }
    check(config(&[], &["ingress"]), "192.0.2.1", Some(("ingress", &[])), true);
    check(config(&[], &["ingress"]), "192.0.2.1", Some(("ingress.evil", &["xingress", "INGRESS"])), false);
    check(config(&[], &["ingress"]), "192.0.2.1", None, false);
    check(config(&[], &[]), "192.0.2.1", Some(("", &[])), false);
}

#[test]
fn the_clients_address_is_the_last_that_is_no_proxy() {
    let proxies = Proxies::new(config(&["10.0.0.0/8"], &[]));
    let check = |hops: &[&str], expected: &str| {
        let headers: Vec<_> = hops.iter().map(|hop| ("x-forwarded-for", *hop)).collect();
        let mut parts = parts("10.0.0.9", None, &headers);
        proxies.admit(&mut parts).unwrap();
        let ConnectInfo(client) = parts.extensions.get::<ConnectInfo<SocketAddr>>().unwrap();
        assert_eq!(client.ip().to_string(), expected, "{hops:?}");
    };
    check(&[], "10.0.0.9");
    check(&["203.0.113.7"], "203.0.113.7");
    check(&["1.1.1.1", "203.0.113.7"], "203.0.113.7");
    check(&["1.1.1.1, 203.0.113.7", "10.0.0.1, 10.0.0.2"], "203.0.113.7");
    check(&["[2001:db8::1]:443, 10.0.0.1"], "2001:db8::1");
    check(&["[2001:db8::1]"], "2001:db8::1");
    check(&["203.0.113.7:99"], "203.0.113.7");
    check(&["10.0.0.1,10.0.0.2"], "10.0.0.1");
    for malformed in ["unknown", "_hidden", "203.0.113.7,", "1.2.3", "203.0.113.7 10.0.0.1", "\u{fc}"] {
        check(&[malformed], "10.0.0.9");
    }
}
