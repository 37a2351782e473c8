//! Senders whom only the platform knows.

use std::time::Duration;

use heliograph_egress::webhook::Keep;
use heliograph_egress::{Bounds, Guard, Target};
use heliograph_indexer::Config;
use heliograph_testbed::service::{Asked, Reply, Service as Fake};
use serde_json::json;

use crate::bench::{AGENT, Server, all_of, config};

fn platform(asked: &Asked) -> Reply {
    let authorization = asked.headers.get("authorization").unwrap();
    // `team-a:secret`
    if authorization == "Basic dGVhbS1hOnNlY3JldA==" { Reply::status(200) } else { Reply::status(401) }
}

fn asking(fake: &Fake) -> Config {
    let target = Target {
        url: fake.url().parse().unwrap(),
        bounds: Bounds {
            allow_http: false,
            ca_file: None,
            timeout: Duration::from_secs(20),
            body_bytes_max: 1 << 16,
            guard: Guard::public_and(&["127.0.0.1/32".parse().unwrap()]),
        },
    };
    let keep = Keep { allowed: Duration::from_secs(60), denied: Duration::from_secs(10), answers_max: 100 };
    Config { authorization_webhook: Some((target, keep)), ..config() }
}

#[tokio::test]
async fn a_writer_that_only_the_platform_knows_sends_for_its_tenant_only() {
    let fake = Fake::on("127.0.0.1", platform).await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), asking(&fake), |store| store).await;
    let record = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": "x" } }] }] }] });
    let post = || server.post("/v1/logs").json(&record);
    let check = async |what: &str, request: reqwest::RequestBuilder, status: u16, asked: usize| {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{what}");
        assert_eq!(fake.asked().len(), asked, "{what}");
    };
    let own = || post().basic_auth("team-a", Some("secret"));
    check("its own", own(), 200, 1).await;
    check("again", own(), 200, 0).await;
    check("named, too", own().header("x-heliograph-tenant", "team-a"), 200, 0).await;
    check("another's", own().header("x-heliograph-tenant", "team-b"), 403, 0).await;
    check("in another's name", post().basic_auth("team-b", Some("secret")), 401, 1).await;
    check("wrong", post().basic_auth("team-a", Some("wrong")), 401, 1).await;
    check("twice", own().basic_auth("team-a", Some("secret")), 401, 0).await;
    check("no tenant's name", post().basic_auth("Team", Some("secret")), 401, 0).await;
    check("one of ours", post().basic_auth("team-a", Some("hg_x_y")), 401, 0).await;
    check("one of ours", post().bearer_auth("hg_x_y"), 401, 0).await;
    check("the agents'", post().bearer_auth(AGENT), 400, 0).await;
    check(
        "bulk",
        server
            .post("/_bulk")
            .body("{\"index\":{}}\n{\"message\":\"y\"}\n")
            .basic_auth("team-a", Some("secret")),
        200,
        0,
    )
    .await;
    check("internal", server.post("/internal/v1/scan").basic_auth("team-a", Some("secret")), 401, 0).await;
    let (_, found) = server.scan(&all_of("team-a")).await;
    assert_eq!(found.len(), 4);

    // A reader, and whoever is another tenant's.
    fake.answer(|_| {
        Reply::Is(
            200,
            vec![("x-heliograph-tenant", "team-c".into()), ("x-heliograph-roles", "viewer".into())],
            String::new(),
        )
    });
    check("a reader", post().bearer_auth("reader"), 403, 1).await;
    check("another than it says", post().basic_auth("team-b", Some("lie")), 503, 1).await;
    fake.answer(|_| Reply::status(500));
    check("away", post().bearer_auth("other"), 503, 1).await;
    check("known all the same", own(), 200, 0).await;
    fake.answer(|_| {
        Reply::Is(
            200,
            vec![("x-heliograph-tenant", "team-c".into()), ("x-heliograph-roles", "writer".into())],
            String::new(),
        )
    });
    check("a writer by name", post().bearer_auth("other"), 200, 1).await;
    assert_eq!(server.scan(&all_of("team-c")).await.1.len(), 1);
    assert_eq!(server.scan(&all_of("team-b")).await.1.len(), 0);

    // Guesses end at the door.
    fake.answer(platform);
    for n in 0..7 {
        check("a guess", post().bearer_auth(n), 401, 1).await;
    }
    check("the tenth guess", post().bearer_auth("tenth"), 401, 1).await;
    check("one more", post().bearer_auth("one more"), 429, 0).await;
    server.stop().await;
}
