//! Calls to services of all sorts: that lie about their address, never end, send us elsewhere, or say too much.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use futures::future::BoxFuture;
use heliograph_egress::guard::{Lookup, System};
use heliograph_egress::webhook::{Allowed, Keep, Question, Refusal, Webhook};
use heliograph_egress::{Bounds, Client, Error, Failure, Guard, Service, Target};
use heliograph_model::tenant::TenantId;
use heliograph_testbed::service::{Asked, Reply, Service as Fake};
use http::{HeaderValue, Method};

/// Answers with these, one after the other; the last one stays.
struct Stub {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Stub {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|all| all.iter().map(|a| a.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Lookup for Stub {
    fn lookup(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[at].clone();
        Box::pin(async move { Ok(answer) })
    }
}

fn target(url: &str, allowed: &[&str]) -> Target {
    let networks: Vec<_> = allowed.iter().map(|network| network.parse().unwrap()).collect();
    Target {
        url: url.parse().unwrap(),
        bounds: Bounds {
            allow_http: true,
            ca_file: None,
            timeout: Duration::from_secs(20),
            body_bytes_max: 1 << 16,
            guard: Guard::public_and(&networks),
        },
    }
}

async fn get(service: &Service) -> Result<u16, Failure> {
    let answer = service.send(service.request(Method::GET, service.url())?).await;
    answer.map(|answer| answer.status.as_u16())
}

#[tokio::test]
async fn a_name_that_stands_for_an_inner_address_is_not_called() {
    let inner = Fake::on("127.0.0.1", |_| Reply::status(200)).await;
    let url = format!("http://hooks.example.com:{}", inner.address.port());
    for found in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["10.0.0.1"],
        &["192.168.1.1"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["fe80::1"],
        &["64:ff9b::7f00:1"],
        &["0.0.0.0"],
        // One good one does not make up for it.
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
    ] {
        let service =
            Service::open_by("test", target(&url, &["10.9.0.0/16"]), Stub::new(&[found])).await.unwrap();
        assert_eq!(get(&service).await, Err(Failure::Address), "{found:?}");
    }
    assert_eq!(inner.asked().len(), 0);
    let listed =
        Service::open_by("test", target(&url, &["127.0.0.1/32"]), Stub::new(&[&["127.0.0.1"]])).await;
    assert_eq!(get(&listed.unwrap()).await, Ok(200));
    // By the machine's own means, too.
    let url = format!("http://localhost:{}", inner.address.port());
    let service = Service::open("test", target(&url, &[])).await.unwrap();
    assert_eq!(get(&service).await, Err(Failure::Address));
}

#[tokio::test]
async fn a_name_that_changes_after_the_check_leads_nowhere_else() {
    let (meant, inner) = (
        Fake::on("127.0.0.1", |_| Reply::Is(200, vec![("connection", "close".to_owned())], String::new()))
            .await,
        Fake::on("127.0.0.2", |_| Reply::status(200)).await,
    );
    // Whoever reaches the second one reaches it at the port of the first one.
    drop(inner);
    let inner = Fake::at(&format!("127.0.0.2:{}", meant.address.port()), |_| Reply::status(200)).await;
    let url = format!("http://hooks.example.com:{}", meant.address.port());
    let stub = Stub::new(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"], &["127.0.0.1", "127.0.0.2"]]);
    let lookup: Arc<dyn Lookup> = Arc::<Stub>::clone(&stub);
    let service = Service::open_by("test", target(&url, &["127.0.0.1/32"]), lookup).await.unwrap();
    assert_eq!(get(&service).await, Ok(200));
    assert_eq!(stub.asked(), 1, "checked and called by one answer");
    assert_eq!(get(&service).await, Err(Failure::Address));
    assert_eq!(get(&service).await, Ok(200));
    assert_eq!(get(&service).await, Err(Failure::Address));
    assert_eq!((meant.asked().len(), inner.asked().len()), (2, 0));
}

#[tokio::test]
async fn a_url_that_is_an_address_is_checked_before_the_start() {
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "127.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
        "0",
        "[::]",
    ] {
        let opened = Service::open("test", target(&format!("https://{host}/"), &[])).await;
        assert!(matches!(opened, Err(Error::Address(_))), "{host}");
    }
    let mut plain = target("http://hooks.example.com/", &[]);
    plain.bounds.allow_http = false;
    assert!(matches!(Service::open("test", plain).await, Err(Error::PlainText { .. })));
    let mut local = target("http://127.0.0.1:1/", &["127.0.0.0/8"]);
    local.bounds.allow_http = false;
    assert!(Service::open("test", local).await.is_ok());
    for url in ["file:///etc/passwd", "ftp://example.com", "unix:/run/x", "data:text/plain,x"] {
        assert!(matches!(Service::open("test", target(url, &[])).await, Err(Error::Url { .. })), "{url}");
    }
}

#[tokio::test]
async fn a_private_network_is_called_but_neither_the_link_nor_a_clouds_own() {
    let inner = Fake::on("127.0.0.1", |_| Reply::status(200)).await;
    let port = inner.address.port();
    let client = async |loopback, lookup: Arc<dyn Lookup>| {
        let guard = Guard::Private { loopback };
        Client::open_by("test", Bounds { guard, ..target("https://x", &[]).bounds }, lookup).await.unwrap()
    };
    let get = async |client: &Client, url: &str| {
        let answer = client.send(client.request(Method::GET, &url.parse().unwrap())?).await;
        answer.map(|answer| answer.status.as_u16())
    };
    let named = format!("http://idp.example.com:{port}/");
    for never in [
        &["169.254.169.254"][..],
        &["fd00:ec2::254"],
        &["100.100.100.200"],
        &["168.63.129.16"],
        &["fe80::1"],
        &["64:ff9b::a9fe:a9fe"],
        &["::ffff:a9fe:a9fe"],
        // One good one does not make up for it.
        &["127.0.0.1", "169.254.169.254"],
        &["169.254.169.254", "127.0.0.1"],
        &["10.0.0.1", "fd00:ec2::254"],
    ] {
        let stub = Stub::new(&[never]);
        let client = client(true, Arc::<Stub>::clone(&stub)).await;
        assert_eq!(get(&client, &named).await, Err(Failure::Address), "{never:?}");
        assert_eq!(stub.asked(), 1, "{never:?}");
    }
    assert_eq!(inner.asked().len(), 0);
    // This machine is called by a switch, and by its own name is no other.
    let local = format!("http://localhost:{port}/");
    for (loopback, expected) in [(false, Err(Failure::Address)), (true, Ok(200))] {
        let stubbed = client(loopback, Stub::new(&[&["127.0.0.1"]])).await;
        assert_eq!(get(&stubbed, &named).await, expected);
        assert_eq!(get(&client(loopback, Arc::new(System)).await, &local).await, expected);
    }
    let lying = client(true, Stub::new(&[&["10.0.0.1"]])).await;
    assert_eq!(get(&lying, &local).await, Err(Failure::Address));
    // Each call is looked at, not the first one only.
    for url in ["http://169.254.169.254/", "http://u:p@idp.example.com/", "ftp://idp.example.com/"] {
        assert_eq!(get(&lying, url).await, Err(Failure::Address), "{url}");
    }
}

#[tokio::test]
async fn answers_without_end_too_late_and_elsewhere_are_none() {
    let elsewhere = Fake::on("127.0.0.1", |_| Reply::status(200)).await;
    let fake = Fake::on("127.0.0.1", |_| Reply::Endless).await;
    let mut target = target(&fake.url(), &["127.0.0.0/8"]);
    let patient = Service::open("test", target.clone()).await.unwrap();
    assert_eq!(get(&patient).await, Err(Failure::TooLarge));
    let too_large = "x".repeat((1 << 16) + 1);
    fake.answer(move |_| Reply::Is(200, Vec::new(), too_large.clone()));
    assert_eq!(get(&patient).await, Err(Failure::TooLarge));
    fake.answer(|_| Reply::Is(200, Vec::new(), "x".repeat(1 << 16)));
    assert_eq!(get(&patient).await, Ok(200));
    for status in [301, 302, 303, 307, 308] {
        let to = vec![("location", elsewhere.url())];
        fake.answer(move |_| Reply::Is(status, to.clone(), String::new()));
        assert_eq!(get(&patient).await, Err(Failure::Redirect), "{status}");
    }
    assert_eq!(elsewhere.asked().len(), 0);
    fake.answer(|_| Reply::HangsUp);
    assert_eq!(get(&patient).await, Err(Failure::Unreachable));
    target.bounds.timeout = Duration::from_millis(100);
    let hasty = Service::open("test", target.clone()).await.unwrap();
    for reply in [Reply::Stalls, Reply::Late(Duration::from_secs(600), Box::new(Reply::status(200)))] {
        fake.answer(move |_| reply.clone());
        assert_eq!(get(&hasty).await, Err(Failure::Timeout));
    }
    drop(fake);
    assert_eq!(get(&patient).await, Err(Failure::Unreachable));
}

fn basic(user: &str, secret: &str) -> HeaderValue {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"));
    HeaderValue::from_str(&format!("Basic {encoded}")).unwrap()
}

fn question(tenant: Option<&str>, authorization: HeaderValue, from: &str) -> Question {
    Question {
        authorization,
        tenant: tenant.map(|name| TenantId::parse(name).unwrap()),
        method: Method::POST,
        uri: HeaderValue::from_static("/_bulk?x=1"),
        from: from.parse().unwrap(),
    }
}

/// As a platform would: a tenant's own secret is let in.
fn houston(asked: &Asked) -> Reply {
    let authorization = asked.headers.get("authorization").unwrap();
    let good = ["a", "b"].iter().any(|name| *authorization == basic(name, &format!("secret of {name}")));
    if good { Reply::status(200) } else { Reply::status(401) }
}

async fn webhook(fake: &Fake) -> Webhook {
    let service = Service::open("webhook", target(&fake.url(), &["127.0.0.0/8"])).await.unwrap();
    let keep = Keep { allowed: Duration::from_secs(60), denied: Duration::from_secs(10), answers_max: 100 };
    Webhook::new(service, keep).unwrap()
}

/// Lets time pass, but not while anything is asked: what waits for the network would be too late then.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_contract_of_auth_request() {
    let fake = Fake::on("127.0.0.1", houston).await;
    let webhook = webhook(&fake).await;
    let ask = async |tenant: Option<&str>, authorization: HeaderValue| {
        webhook.ask(&question(tenant, authorization, "192.0.2.1")).await
    };
    let a = || basic("a", "secret of a");
    let allowed = Allowed { tenant: TenantId::parse("a").unwrap(), roles: None };
    assert_eq!(ask(Some("a"), a()).await, Ok(allowed));
    let asked = fake.asked().pop().unwrap();
    let header = |name: &str| asked.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(asked.method, "GET");
    assert_eq!(header("authorization"), a().to_str().unwrap());
    assert_eq!((header("x-original-uri"), header("x-original-method")), ("/_bulk?x=1".into(), "POST".into()));
    assert_eq!(header("x-heliograph-tenant"), "a");
    assert_eq!(ask(Some("a"), basic("a", "secret of b")).await, Err(Refusal::Denied));
    fake.answer(|_| Reply::status(403));
    assert_eq!(ask(Some("b"), basic("b", "x")).await, Err(Refusal::Denied));

    // What an answer may say, and what is then made of it.
    let said = async |tenant: Option<&str>, headers: &[(&'static str, &str)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        fake.answer(move |_| Reply::Is(204, headers.clone(), String::new()));
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let fresh = format!("Bearer {}", COUNT.fetch_add(1, Ordering::SeqCst));
        ask(tenant, HeaderValue::from_str(&fresh).unwrap()).await
    };
    let (tenant, roles) = ("x-heliograph-tenant", "x-heliograph-roles");
    let is = |answer: Result<Allowed, Refusal>| {
        answer.map(|a| (a.tenant.to_string(), a.roles.unwrap_or_default()))
    };
    let named =
        |name: &str, roles: &[&str]| Ok((name.to_owned(), roles.iter().map(|r| (*r).to_owned()).collect()));
    assert_eq!(
        is(said(None, &[(tenant, "c"), (roles, "viewer, writer")]).await),
        named("c", &["viewer", "writer"])
    );
    assert_eq!(is(said(Some("a"), &[(tenant, "a")]).await), named("a", &[]));
    assert_eq!(is(said(Some("a"), &[(roles, "")]).await), named("a", &[]));
    for lie in [
        &[][..],
        &[(tenant, "*")],
        &[(tenant, "../b")],
        &[(tenant, "A")],
        &[(tenant, "a"), (tenant, "a")],
        &[(tenant, "a"), (roles, "viewer"), (roles, "operator")],
        &[(tenant, "")],
    ] {
        assert_eq!(said(None, lie).await, Err(Refusal::Malformed), "{lie:?}");
    }
    assert_eq!(
        said(Some("a"), &[(tenant, "b")]).await,
        Err(Refusal::Malformed),
        "another than the credential's"
    );
}

#[tokio::test]
async fn whatever_is_no_clear_answer_proves_nobody_and_is_not_kept() {
    let fake = Fake::on("127.0.0.1", houston).await;
    let webhook = webhook(&fake).await;
    let ask = async || webhook.ask(&question(Some("a"), basic("a", "secret of a"), "192.0.2.1")).await;
    for status in [100, 400, 402, 404, 407, 418, 429, 500, 502, 503, 599] {
        fake.answer(move |_| Reply::status(status));
        if status > 100 {
            assert_eq!(ask().await, Err(Refusal::Status(status)));
        }
    }
    fake.answer(|_| Reply::Is(302, vec![("location", "/".to_owned())], String::new()));
    assert_eq!(ask().await, Err(Refusal::Failed(Failure::Redirect)));
    fake.answer(|_| Reply::Endless);
    assert_eq!(ask().await, Err(Refusal::Failed(Failure::TooLarge)));
    fake.answer(|_| Reply::HangsUp);
    assert_eq!(ask().await, Err(Refusal::Failed(Failure::Unreachable)));
    fake.answer(houston);
    assert!(ask().await.is_ok(), "none of these was a wrong guess either");
}

#[tokio::test]
async fn answers_hold_for_their_time_by_tenant_and_credential() {
    let fake = Fake::on("127.0.0.1", houston).await;
    let webhook = webhook(&fake).await;
    let ask = async |tenant: Option<&str>, authorization: HeaderValue| {
        let is_allowed = webhook.ask(&question(tenant, authorization, "192.0.2.1")).await.is_ok();
        (is_allowed, fake.asked().len())
    };
    let (good, bad) = (|| basic("a", "secret of a"), || basic("a", "wrong"));
    assert_eq!(ask(Some("a"), good()).await, (true, 1));
    assert_eq!(ask(Some("a"), good()).await, (true, 0));
    assert!(webhook.known(&question(Some("a"), good(), "192.0.2.1")).is_some());
    // The same credential in another tenant's name is another question, and so is another credential in this one's.
    assert_eq!(ask(Some("b"), good()).await, (true, 1));
    assert_eq!(ask(Some("a"), bad()).await, (false, 1));
    assert_eq!(ask(Some("a"), bad()).await, (false, 0));
    assert!(webhook.known(&question(Some("a"), bad(), "192.0.2.1")).is_none());
    later(10).await;
    assert_eq!(ask(Some("a"), bad()).await, (false, 1));
    assert_eq!(ask(Some("a"), good()).await, (true, 0));
    fake.answer(|_| Reply::status(401));
    later(50).await;
    assert_eq!(ask(Some("a"), good()).await, (false, 1), "revoked");
}

#[tokio::test]
async fn guesses_are_throttled_by_address_and_memory_is_bounded() {
    let fake = Fake::on("127.0.0.1", houston).await;
    let webhook = webhook(&fake).await;
    let guess = async |n: usize, from: &str| {
        webhook.ask(&question(Some("a"), basic("a", &n.to_string()), from)).await
    };
    for n in 0..10 {
        assert_eq!(guess(n, "2001:db8::1").await, Err(Refusal::Denied));
    }
    let refused = guess(10, "2001:db8::2").await;
    assert!(matches!(refused, Err(Refusal::Throttled { .. })), "of the same network: {refused:?}");
    assert_eq!(guess(10, "2001:db9::1").await, Err(Refusal::Denied));
    assert_eq!(fake.asked().len(), 11);
    // Who is known is not held up by who guesses beside it, and who is proved is no guess.
    for n in 0..30 {
        let asked = question(Some("b"), basic("b", "secret of b"), &format!("203.0.113.{}", n % 2));
        webhook.ask(&asked).await.unwrap();
    }
    for n in 0..1_000 {
        let refused = guess(n, &format!("10.{}.{}.1", n / 250, n % 250)).await;
        assert_eq!(refused, Err(Refusal::Denied));
    }
    let shown = format!("{webhook:?} {:?}", question(Some("a"), basic("a", "geheim"), "::1"));
    assert!(!shown.contains("Basic") && !shown.contains("Z2VoZWlt"), "{shown}");
}
