//! To whom batches go, whose turn it is, and with which credential.

use std::net::SocketAddr;

use super::indexer::serve_on;
use super::*;

#[tokio::test]
async fn an_indexer_that_is_away_is_passed_over() {
    let bench = Bench::new(&[("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")]);
    let shared = Shared::default();
    let address = serve(Arc::clone(&shared)).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    bench.drain(&[format!("http://{gone}"), format!("http://{address}")]).await;
    assert_eq!(shared.lock().kept.len(), 4);
}

#[tokio::test]
async fn a_live_tenant_does_not_wait_for_the_backlog_of_others() {
    let names: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    let backlog: Vec<_> = (0..60).flat_map(|_| names.iter().map(|n| (n.as_str(), "x"))).collect();
    let bench = Bench::new(&backlog);
    let shared = Shared::default();
    let urls = [format!("http://{}", serve(Arc::clone(&shared)).await)];
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(bench.shipper(&urls, "sesame").await.unwrap().run(CancellationToken::new(), stop.clone()));
    let kept = |shared: &Shared| shared.lock().kept.values().map(Vec::len).sum::<usize>();
    while kept(&shared) < 40 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(bench.spool.append(vec![batch("live", "now")]).unwrap());
    let before = kept(&shared);
    while !shared.lock().kept.contains_key("live") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Whoever is before it in the queue for requests goes first, and nobody else: two rounds with some slack.
    let meanwhile = kept(&shared) - before;
    assert!(meanwhile < 6 * REQUESTS_MAX, "{meanwhile} batches went first");
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn one_name_is_several_indexers_and_the_living_ones_take_over() {
    // As a headless Service: one name and port, several addresses, one of which does not answer.
    let shared = Shared::default();
    let first = serve(Arc::clone(&shared)).await;
    let port = first.port();
    serve_on(&format!("127.0.0.2:{port}"), Arc::clone(&shared)).await;
    let names: Vec<String> = (0..30).map(|n| format!("t{n}")).collect();
    let bench = Bench::new(&names.iter().map(|n| (n.as_str(), "x")).collect::<Vec<_>>());
    let config = config(bench.dir.path(), &[format!("http://indexer.test:{port}")], "sesame");
    let mut shipper = Arc::into_inner(bench.shipper_with(&config).await.unwrap()).unwrap();
    shipper.endpoints = shipper.endpoints.with_lookup(Box::new(|_, port| {
        let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
        let addresses = addresses.map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).to_vec();
        Box::pin(async move { Ok(addresses) })
    }));
    let drained = CancellationToken::new();
    drained.cancel();
    let run = Arc::new(shipper).run(drained, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
    let indexed = shared.lock();
    assert_eq!(indexed.kept.len(), 30);
    assert!(indexed.kept.values().all(|texts| texts == &["x"]));
    assert!(bench.metrics.batches.with_label_values(&["unreachable"]).get() > 0);
    assert!(indexed.hosts.iter().all(|host| *host == format!("indexer.test:{port}")), "{:?}", indexed.hosts);
}

#[tokio::test]
async fn an_indexer_that_drains_hands_its_tenants_to_another() {
    let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let bench = Bench::new(&names.iter().map(|n| (n.as_str(), "x")).collect::<Vec<_>>());
    let (draining, taking) = (Shared::default(), Shared::default());
    draining.lock().told = vec![Told::Answer(503); 1000].into();
    let urls = [
        format!("http://{}", serve(Arc::clone(&draining)).await),
        format!("http://{}", serve(Arc::clone(&taking)).await),
    ];
    bench.drain(&urls).await;
    assert_eq!(taking.lock().kept.len(), 12);
    assert!(draining.lock().kept.is_empty() && !draining.lock().seen.is_empty());
}

#[tokio::test]
async fn a_token_from_a_file_is_renewed() {
    let bench = Bench::new(&[("a", "one")]);
    let shared = Shared::default();
    let urls = [format!("http://{}", serve(Arc::clone(&shared)).await)];
    let file = bench.dir.path().join("token");
    std::fs::write(&file, "expired\n").unwrap();
    let config = Config { token: Token::File(file.clone()), ..config(bench.dir.path(), &urls, "") };
    let drained = CancellationToken::new();
    drained.cancel();
    let mut tasks = JoinSet::new();
    tasks.spawn(bench.shipper_with(&config).await.unwrap().run(drained, CancellationToken::new()));
    while shared.lock().denied < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(&file, "sesame\n").unwrap();
    tokio::time::timeout(Duration::from_secs(30), tasks.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(shared.lock().kept["a"], ["one"]);
}

#[tokio::test]
async fn a_refused_credential_waits_and_loses_nothing() {
    let bench = Bench::new(&[("a", "one")]);
    let shared = Shared::default();
    let urls = [format!("http://{}", serve(Arc::clone(&shared)).await)];
    let stop = CancellationToken::new();
    let shipper = bench.shipper(&urls, "wrong").await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(shipper.run(CancellationToken::new(), stop.clone()));
    while shared.lock().denied < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    assert_eq!(bench.spool.tenants(), [tenant("a")]);
    bench.drain(&urls).await;
}

#[tokio::test]
async fn bad_addresses_credentials_and_certificates_are_named() {
    let bench = Bench::new(&[]);
    let check = async |urls: &[&str], token: &str, expected: &str| {
        let urls: Vec<String> = urls.iter().map(|u| (*u).to_owned()).collect();
        let error = bench.shipper(&urls, token).await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hush"), "{error}");
    };
    check(&[], "x", "at least one is needed").await;
    check(&["127.0.0.1:7710"], "x", "invalid indexer \"127.0.0.1:7710\"").await;
    check(&["ftp://x"], "x", "invalid indexer \"ftp://x\"").await;
    check(&["http://x"], "hush\n", "invalid agent token").await;
    let file = bench.dir.path().join("no.pem");
    std::fs::write(&file, "no certificate").unwrap();
    for (tls, expected) in [
        (Tls { ca_file: Some(file.clone()), identity: None }, "invalid CA file"),
        (Tls { ca_file: None, identity: Some((file.clone(), file.clone())) }, "invalid client certificate"),
        (Tls { ca_file: Some("/nowhere.pem".into()), identity: None }, "cannot use /nowhere.pem"),
    ] {
        let config = Config { tls, ..config(bench.dir.path(), &["https://x".to_owned()], "x") };
        let error = bench.shipper_with(&config).await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
