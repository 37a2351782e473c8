//! A cluster whose parts trust one another by certificates of `admin tls init`, from the file to the browser; and what
//! is refused without.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode, header};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::command::{heliograph, run, run_with};
use crate::server::{PASSWORD, PATIENCE, Place, Server};

pub(crate) fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The folder of certificates, made anew or renewed.
pub(crate) async fn certificates(root: &Path, days: &str) -> PathBuf {
    let dir = root.join("tls");
    let to = dir.to_str().unwrap();
    // Nobody but these tests asks an agent by this name.
    run(&["admin", "tls", "init", "--dir", to, "--days", days, "--name", "agent=127.0.0.1"]).await.fine();
    dir
}

/// A client that trusts the authority, and proves itself as this role, if one is given.
pub(crate) fn client(dir: &Path, role: Option<&str>) -> Client {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let authority = reqwest::Certificate::from_pem(read("ca.crt").as_bytes()).unwrap();
    let builder = Client::builder().no_proxy().tls_certs_only([authority]);
    let builder = match role {
        Some(role) => {
            let pem = format!("{}{}", read(&format!("{role}/tls.crt")), read(&format!("{role}/tls.key")));
            builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
        }
        None => builder,
    };
    builder.build().unwrap()
}

/// The settings of a port, or with `more` of a client.
pub(crate) fn section(name: &str, dir: &Path, role: &str, authority: Option<&str>) -> String {
    let file = |file: &str| dir.join(role).join(file).display().to_string();
    let authority = authority.map(|key| format!("{key} = {:?}\n", file("ca.crt"))).unwrap_or_default();
    format!("[{name}]\ncert_file = {:?}\nkey_file = {:?}\n{authority}", file("tls.crt"), file("tls.key"))
}

/// The three roles.
struct Cluster {
    place: Place,
    dir: PathBuf,
    config: PathBuf,
    indexer: Server,
    query: Server,
    agent: Server,
}

impl Cluster {
    async fn start() -> Self {
        let place = Place::new();
        let root = place.logs().parent().unwrap().to_owned();
        let dir = certificates(&root, "30").await;
        let config = place.write_shared_config(
            &[
                "[telemetry]\nmetrics_open = true\n[indexer]\nlisten = \"127.0.0.1:0\"\n",
                &section("indexer.tls", &dir, "indexer", Some("client_ca_file")),
                &section("query.tls", &dir, "query", None),
                &section("agent.tls", &dir, "agent", None),
            ]
            .concat(),
        );
        let start = async |role: &'static str, setting: &'static str, variables: &[(&str, &str)]| {
            let files = ["ca.crt", "tls.crt", "tls.key"].map(|name| dir.join(role).join(name));
            let mut command = heliograph();
            command.arg(role).arg("--config").arg(&config).envs(variables.iter().copied());
            command.env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD);
            for (name, file) in ["CA_FILE", "CERT_FILE", "KEY_FILE"].into_iter().zip(&files) {
                command.env(format!("HELIOGRAPH_TLS__{name}"), file);
            }
            let mut server = Server::spawn_for(client(&dir, Some("query")), command, setting);
            server.wait_until_ready().await;
            server
        };
        let indexer = start("indexer", "indexer.listen", &[]).await;
        let query = start("query", "query.listen", &[]).await;
        let inputs =
            format!("[{{kind = \"files\", glob = \"{}/*.log\", tenant = \"t\"}}]", place.logs().display());
        let url = indexer.base("indexer.listen");
        assert!(url.starts_with("https://"), "{url}");
        let indexers = format!("[{:?}]", url.replace("127.0.0.1", "localhost"));
        let data = root.join("agent").display().to_string();
        let variables = [
            ("HELIOGRAPH_AGENT__INPUTS", inputs.as_str()),
            ("HELIOGRAPH_AGENT__INDEXERS", &indexers),
            ("HELIOGRAPH_AGENT__DATA_DIR", &data),
        ];
        let agent = start("agent", "agent.status_listen", &variables).await;
        Self { place, dir, config, indexer, query, agent }
    }

    fn write(&self, line: &str) {
        append(&self.place.logs().join("app.log"), &format!("{line}\n"));
    }

    /// A reader's token; the agent's first batch makes the tenant.
    async fn token(&self) -> String {
        let config = self.config.to_str().unwrap();
        loop {
            let words = ["admin", "token", "create", "--tenant", "t", "--role", "viewer", "--config", config];
            let said = run(&words).await;
            if said.code == Some(0) {
                return said.out.trim().to_owned();
            }
            said.failed(1, &["there is no tenant"]);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn ports(&self) -> [(&'static str, String); 3] {
        [
            ("indexer", self.indexer.base("indexer.listen")),
            ("query", self.query.base("query.listen")),
            ("agent", self.agent.base("agent.status_listen")),
        ]
    }

    /// When the certificate expires that each port serves with, and that which agent and query node show to indexers.
    async fn expiries(&self) -> Vec<i64> {
        let client = client(&self.dir, Some("agent"));
        let mut out = Vec::new();
        for (role, url) in self.ports() {
            let text = client.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
            let mut names = vec![format!("heliograph_tls_certificate_expires_seconds{{role=\"{role}\"}} ")];
            if role != "indexer" {
                let own = "tls_certificate_expires_seconds{file=\"tls.cert_file\"}";
                names.push(format!("heliograph_{role}_{own} "));
            }
            for name in names {
                let value = text.lines().find_map(|line| line.strip_prefix(&name));
                out.push(value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap());
            }
        }
        out
    }
}

/// Opens connections that say nothing.
async fn fall_silent(url: &str) -> Vec<TcpStream> {
    let address = url.strip_prefix("https://").unwrap();
    let mut streams = Vec::new();
    for said in [&b""[..], &[22, 3, 1], b"", &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn lines_searches_and_tails_go_over_tls_and_certificates_are_renewed_meanwhile() {
    let cluster = Cluster::start().await;
    let mut silent = Vec::new();
    for (_, url) in cluster.ports() {
        silent.extend(fall_silent(&url).await);
    }
    cluster.write("0");
    let token = cluster.token().await;
    cluster.query.wait_for(&token, "", 1).await;

    let (url, authority) = (cluster.query.base("query.listen"), cluster.dir.join("ca.crt"));
    let environment = [
        ("HELIOGRAPH_URL", url.as_str()),
        ("HELIOGRAPH_TOKEN", &token),
        ("HELIOGRAPH_CA_FILE", authority.to_str().unwrap()),
    ];
    let found = run_with(&["search", "--json"], &environment).await.fine();
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["message"], "0");
    run_with(&["search"], &environment[..2]).await.failed(1, &["cannot reach https://", "certificate"]);

    let mut tail = heliograph()
        .args(["tail", "--since", "1h", "--json"])
        .envs(environment)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, shown.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(next().await, "0");

    let before = cluster.expiries().await;
    certificates(cluster.dir.parent().unwrap(), "60").await;
    let deadline = Instant::now() + PATIENCE;
    let mut lines = 1;
    // The tail goes on over its connection, and whatever connects anew meets the new certificates.
    while cluster.expiries().await.iter().zip(&before).any(|(now, then)| now <= then) {
        assert!(Instant::now() < deadline, "not renewed");
        cluster.write(&lines.to_string());
        assert_eq!(next().await, lines.to_string());
        lines += 1;
    }
    cluster.write(&lines.to_string());
    assert_eq!(next().await, lines.to_string());
    let messages: Vec<_> = cluster.query.export(&token).await.iter().map(|r| r["message"].clone()).collect();
    assert_eq!(messages, (0..=lines).map(|n| n.to_string()).collect::<Vec<_>>());
    tail.kill().await.unwrap();
    drop(silent);

    for (role, server) in [("agent", cluster.agent), ("indexer", cluster.indexer), ("query", cluster.query)] {
        let said = server.said();
        assert!(said.contains("certificates read anew") && !said.contains("\"WARN\""), "{said}");
        let key = std::fs::read_to_string(cluster.dir.join(role).join("tls.key")).unwrap();
        assert!(!said.contains("PRIVATE") && !said.contains(key.lines().nth(1).unwrap()), "{said}");
        server.stop().await;
    }
}

#[tokio::test]
async fn who_proves_nothing_gets_nothing_and_browsers_are_kept_on_tls() {
    let cluster = Cluster::start().await;
    let stranger = client(&cluster.dir, None);
    let [(_, indexer), (_, query), (_, agent)] = cluster.ports();
    for (path, method) in [("/v1/logs", Method::POST), ("/readyz", Method::GET)] {
        let refused = stranger.request(method, format!("{indexer}{path}")).send().await.unwrap_err();
        assert!(format!("{refused:?}").contains("CertificateRequired"), "{refused:?}");
    }
    for url in [&query, &agent] {
        let answer = stranger.get(format!("{url}/readyz")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(stranger.get(url.replace("https", "http")).send().await.is_err(), "plain text at {url}");
    }

    let body = serde_json::json!({"user": "admin", "password": PASSWORD});
    let answer = stranger.post(format!("{query}/api/v1/session")).json(&body).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, reqwest::Version::HTTP_2));
    assert_eq!(answer.headers()[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000");
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-heliograph=") && cookie.contains("; Secure"), "cookie");
    let cookie = cookie.split(';').next().unwrap();
    // A page of this host may, one of another or over plain text may not: also over HTTP/2, which has no Host header.
    for (origin, expected) in [
        (query.replace("https", "http"), StatusCode::FORBIDDEN),
        ("https://evil.example".to_owned(), StatusCode::FORBIDDEN),
        (query.clone(), StatusCode::NO_CONTENT),
    ] {
        let request = stranger.delete(format!("{query}/api/v1/session"));
        let answer =
            request.header(header::COOKIE, cookie).header(header::ORIGIN, &origin).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{origin}");
    }
    for server in [cluster.agent, cluster.indexer, cluster.query] {
        server.stop().await;
    }
}

#[tokio::test]
async fn one_process_speaks_tls_to_itself_as_well() {
    let place = Place::new();
    let dir = certificates(place.logs().parent().unwrap(), "30").await;
    let config = dir.join("heliograph.toml");
    let sections = [
        section("indexer.tls", &dir, "indexer", Some("client_ca_file")),
        section("query.tls", &dir, "query", None),
        section("tls", &dir, "query", Some("ca_file")),
    ];
    std::fs::write(&config, sections.concat()).unwrap();
    let glob = place.logs().join("*.log");
    let mut command = heliograph();
    command
        .arg("up")
        .arg("--logs")
        .arg(&glob)
        .arg("--data-dir")
        .arg(place.data())
        .arg("--config")
        .arg(&config);
    for listen in ["QUERY__LISTEN", "INDEXER__LISTEN", "AGENT__STATUS_LISTEN"] {
        command.env(format!("HELIOGRAPH_{listen}"), "127.0.0.1:0");
    }
    let mut server = Server::spawn_for(client(&dir, None), command, "query.listen");
    server.wait_until_ready().await;
    append(&place.logs().join("app.log"), "one\n");
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "one", 1).await;
    let page = format!("{}/", server.base("query.listen"));
    assert!(page.starts_with("https://") && server.said().contains(&page), "{}", server.said());
    server.stop().await;
}

#[tokio::test]
async fn plain_text_to_others_and_files_that_are_none_end_the_start() {
    let place = Place::new();
    let why = ["is not loopback", "query.tls.cert_file", "query.allow_plain_text = true"];
    let data = place.data();
    let up = ["up", "--data-dir", data.to_str().unwrap(), "--listen", "0.0.0.0:0"];
    run(&up).await.failed(2, &[&["query.listen: 0.0.0.0:0"][..], &why].concat());
    let config = place.write_shared_config("");
    let start = ["query", "--config", config.to_str().unwrap()];
    run_with(&start, &[("HELIOGRAPH_QUERY__LISTEN", "0.0.0.0:0")]).await.failed(2, &why);

    let nothing = data.join("nothing").display().to_string();
    let files = [
        ("HELIOGRAPH_QUERY__TLS__CERT_FILE", nothing.as_str()),
        ("HELIOGRAPH_QUERY__TLS__KEY_FILE", &nothing),
    ];
    run_with(&start, &files).await.failed(2, &["query.tls.cert_file: ", &nothing]);
    run_with(&start, &[("HELIOGRAPH_TLS__CA_FILE", &nothing)])
        .await
        .failed(2, &["[tls] failed: ca_file: ", &nothing]);
}
