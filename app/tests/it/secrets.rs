//! Each secret of the configuration has a canary, and no canary comes out: by no answer, metric, log entry, output or
//! error of the program, however much it is told to log and whatever goes wrong.

use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use heliograph_testbed::idp::{CLIENT_ID, CLIENT_SECRET, Idp};
use heliograph_testbed::s3;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use uuid::Uuid;

use crate::command::{heliograph, run_with};
use crate::providers::{now, sign_in};
use crate::server::{PATIENCE, Place, Server};
use crate::tls::{certificates, client};

#[path = "../../src/config/tests/holding.rs"]
mod holding;
use holding::{Holds, SECRETS};

/// Secrets, by the setting that holds them.
#[derive(Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// A new one.
    fn of(&mut self, setting: &str) -> String {
        let secret = format!("canary{}", Uuid::new_v4().simple());
        self.watch(setting, &secret);
        secret
    }

    /// One that has a form of its own.
    fn watch(&mut self, setting: &str, secret: &str) {
        self.0.push((setting.to_owned(), secret.to_owned()));
    }

    /// The lines of a key of PEM.
    fn watch_key(&mut self, setting: &str, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert!(lines.len() > 1, "{}", file.display());
        lines.into_iter().for_each(|line| self.watch(setting, line));
    }

    /// A new one in a file.
    fn file(&mut self, setting: &str, folder: &Path, text: impl Fn(&str) -> String) -> PathBuf {
        let file = folder.join(setting);
        std::fs::write(&file, text(&self.of(setting))).unwrap();
        file
    }

    /// Fails where one stands in a text, as it is or as Basic authentication and others write it.
    #[track_caller]
    fn tells_none(&self, what: &str, text: &str) {
        for (setting, secret) in &self.0 {
            // A sequence in base64 begins at one of three places of what it stands for.
            let shifted = (0..3).filter_map(|n| secret.get(n..)).map(|rest| {
                let whole = rest.len() / 3 * 3;
                BASE64.encode(rest.get(..whole).unwrap_or_default().as_bytes())
            });
            let forms = shifted.chain([secret.clone(), HEXLOWER.encode(secret.as_bytes())]);
            for form in forms.filter(|form| form.len() >= 12) {
                if let Some(at) = text.find(&form) {
                    let line = text.lines().find(|line| line.contains(&form)).unwrap_or_default();
                    panic!("{what} tells {setting} at {at}: {line}");
                }
            }
        }
    }
}

/// Settings as variables.
#[derive(Default)]
struct Settings(Vec<(String, String)>);

impl Settings {
    fn set(&mut self, setting: &str, value: impl AsRef<str>) {
        let name = setting.replace("NAME", "ours").replace('.', "__").to_uppercase();
        self.0.push((format!("HELIOGRAPH_{name}"), value.as_ref().to_owned()));
    }

    fn file(&mut self, setting: &str, path: &Path) {
        self.set(setting, path.to_str().unwrap());
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// Everything that was answered.
#[derive(Default)]
struct Heard(String);

impl Heard {
    async fn ask(&mut self, request: RequestBuilder) {
        match request.send().await {
            Ok(answer) => {
                self.0.push_str(&format!("{:?} {:?}\n", answer.status(), answer.headers()));
                self.0.push_str(&answer.text().await.unwrap_or_default());
            }
            Err(error) => self.0.push_str(&format!("{error:?}")),
        }
        self.0.push('\n');
    }
}

const QUERY_ROUTES: [&str; 20] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/nothing",
    "/api/v1/search?q=x",
    "/api/v1/search?q=%22",
    "/api/v1/search?tenant=nobody",
    "/api/v1/export?format=csv",
    "/api/v1/session",
    "/api/v1/auth/providers",
    "/api/v1/auth/github/login",
    "/api/v1/auth/ours/callback?state=x&code=y",
    "/api/v1/auth/nobody/login",
    "/api/v1/openapi.json",
    "/api/v1/admin/tenants",
    "/api/v1/admin/users",
    "/api/v1/admin/tokens",
    "/api/v1/admin/audit",
    "/api/v1/admin/usage",
];

/// Asks each port as everybody and nobody: with right credentials, wrong ones, broken ones and other ports' ones.
async fn ask_everything(server: &Server, tls: &Client, canaries: &Canaries, heard: &mut Heard) {
    let password = secret_of(canaries, "bootstrap.admin_password");
    let bearers: Vec<_> = canaries.0.iter().map(|(_, secret)| Some(secret.clone())).collect();
    let others = [None, Some("hlg_no_token".to_owned()), Some("a.b.c".to_owned())];
    for bearer in others.into_iter().chain(bearers) {
        let with = |request: RequestBuilder| match &bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        for route in QUERY_ROUTES {
            heard.ask(with(server.api(Method::GET, route))).await;
        }
        let ports = [(server.base("indexer.listen"), tls), (server.base("agent.status_listen"), tls)];
        for (base, client) in ports {
            for route in ["/healthz", "/metrics", "/v1/logs", "/feed", "/_bulk", "/nothing"] {
                heard.ask(with(client.get(format!("{base}{route}")))).await;
                let broken = client.post(format!("{base}{route}")).header("x-heliograph-tenant", "team-a");
                heard.ask(with(broken.header("content-type", "application/json").body("{\"a\": "))).await;
            }
        }
    }
    for (user, password) in
        [("admin", &password), ("admin", &"wrong".to_owned()), (&password, &"x".to_owned())]
    {
        for route in QUERY_ROUTES {
            heard.ask(server.api(Method::GET, route).basic_auth(user, Some(password))).await;
        }
        let body = json!({ "user": user, "password": password });
        heard.ask(server.api(Method::POST, "/api/v1/session").json(&body)).await;
        let body = format!("{{\"user\": {user:?}, \"password\": {password:?}, \"more\": ");
        let broken = server.api(Method::POST, "/api/v1/session").header("content-type", "application/json");
        heard.ask(broken.body(body)).await;
        let indexer = tls.post(format!("{}/_bulk", server.base("indexer.listen")));
        heard.ask(indexer.basic_auth(user, Some(password)).body("{}")).await;
    }
}

fn secret_of(canaries: &Canaries, setting: &str) -> String {
    canaries.0.iter().find(|(of, _)| of == setting).unwrap().1.clone()
}

/// Whom callers are checked with.
fn set_providers(idp: &Idp, canaries: &mut Canaries, settings: &mut Settings) {
    canaries.watch("query.oidc.NAME.client_secret", CLIENT_SECRET);
    settings.set("query.oidc.NAME.client_secret", CLIENT_SECRET);
    settings.set("query.oidc.NAME.client_id", CLIENT_ID);
    settings.set("query.oidc.NAME.issuer", &idp.url);
    settings.set("query.oidc.NAME.allow_loopback", "true");
    let mappings = r#"[{ group = "readers", tenant = "team-a", role = "viewer" }]"#;
    settings.set("query.oidc.NAME.mappings", mappings);
    settings.set("query.public_urls", r#"["http://logs.test"]"#);
    // Nobody is there: what is said then tells nothing either.
    for (setting, value) in [
        ("query.github.client_id", "x"),
        ("query.github.allow_loopback", "true"),
        ("query.github.url", "http://127.0.0.1:1"),
        ("query.github.api_url", "http://127.0.0.1:1"),
        ("indexer.nodes", r#"[{ node = "*", all = true }]"#),
        ("indexer.token_review.api_url", "https://127.0.0.1:1"),
        ("indexer.token_review.audiences", r#"["heliograph"]"#),
        ("indexer.token_review.service_accounts", r#"["a/b"]"#),
    ] {
        settings.set(setting, value);
    }
    for role in ["query", "indexer"] {
        let setting = format!("{role}.authorization_webhook.url");
        settings.set(&setting, format!("http://127.0.0.1:1/?key={}", canaries.of(&setting)));
        settings.set(&format!("{role}.authorization_webhook.allow_addresses"), r#"["127.0.0.1"]"#);
    }
}

/// Files that the program reads by itself.
fn set_files(root: &Path, dir: &Path, store: &s3::Server, canaries: &mut Canaries, settings: &mut Settings) {
    let review = canaries.file("indexer.token_review.token_file", root, str::to_owned);
    settings.file("indexer.token_review.token_file", &review);
    canaries.watch("storage.credentials_file", s3::SECRET_KEY);
    let credentials = root.join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        s3::ACCESS_KEY,
        s3::SECRET_KEY
    );
    std::fs::write(&credentials, text).unwrap();
    settings.file("storage.credentials_file", &credentials);
    settings.set("storage.url", format!("s3://{}/it", s3::BUCKET));
    settings.set("storage.endpoint", format!("http://{}", store.address()));
    for (section, role) in [("indexer.tls", "indexer"), ("agent.tls", "agent"), ("tls", "query")] {
        settings.file(&format!("{section}.cert_file"), &dir.join(role).join("tls.crt"));
        settings.file(&format!("{section}.key_file"), &dir.join(role).join("tls.key"));
        canaries.watch_key(&format!("{section}.key_file"), &dir.join(role).join("tls.key"));
    }
    settings.file("tls.ca_file", &dir.join("ca.crt"));
    settings.file("indexer.token_review.ca_file", &dir.join("ca.crt"));
    let key = root.join("master.key");
    let master = Uuid::new_v4().simple().to_string() + &Uuid::new_v4().simple().to_string();
    std::fs::write(&key, &master).unwrap();
    canaries.watch("keys.master_key_file", &master);
    settings.file("keys.master_key_file", &key);
}

/// Those that a running program cannot have: they are among those of starts that fail.
const OF_FAILURES: [&str; 2] = ["catalog.password", "query.tls.key_file"];
/// Those of an agent that is a process of its own.
const OF_AGENTS: [&str; 2] = ["agent.kubernetes.kubeconfig", "agent.token_file"];

#[tokio::test]
async fn no_secret_of_the_configuration_is_ever_told() {
    let place = Place::new();
    let root = place.logs().parent().unwrap().to_owned();
    let (mut canaries, mut settings, mut heard) =
        (Canaries::default(), Settings::default(), Heard::default());
    settings.set("telemetry.log_filter", "trace");
    for (setting, _) in SECRETS.iter().filter(|(_, holds)| *holds == Holds::Itself) {
        // A catalog that is a file has none; a provider's is what the provider knows.
        if !["catalog.password", "query.oidc.NAME.client_secret"].contains(setting) {
            settings.set(setting, canaries.of(setting));
        }
    }
    let (idp, store) = (Idp::start(now).await, s3::Server::start(&root.join("s3")).await);
    let dir = certificates(&root, "30").await;
    set_providers(&idp, &mut canaries, &mut settings);
    set_files(&root, &dir, &store, &mut canaries, &mut settings);
    let is_set = |setting: &&str| canaries.0.iter().any(|(of, _)| of == setting);
    let needed = SECRETS.iter().filter(|(_, holds)| matches!(holds, Holds::Itself | Holds::InFileOfPart));
    let missing: Vec<_> = needed.map(|(setting, _)| *setting).filter(|setting| !is_set(setting)).collect();
    assert_eq!(missing, [OF_AGENTS[0], OF_AGENTS[1], OF_FAILURES[0], OF_FAILURES[1]], "have no canary");

    let server = place.up_alone(&[], &settings.pairs()).await;
    let data = place.data().display().to_string();
    let made =
        run_with(&["admin", "tenant", "create", "team-a", "--data-dir", &data], &settings.pairs()).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    canaries.tells_none("admin", &format!("{}\n{}", made.out, made.err));
    idp.state().visitor = json!({ "sub": "1", "preferred_username": "ann", "groups": ["readers"] });
    sign_in(&server, &idp).await;
    idp.state().discovery = json!({ "token_endpoint": "http://127.0.0.1:1/" });
    ask_everything(&server, &client(&dir, Some("query")), &canaries, &mut heard).await;

    assert!(heard.0.contains("heliograph_build_info"), "metrics are among what was heard");
    assert!(server.said().contains("\"TRACE\""), "all is logged");
    canaries.tells_none("an answer", &heard.0);
    canaries.tells_none("the log", &server.said());
    canaries.tells_none("the output", &server.told());
    for command in ["check", "show"] {
        let said = run_with(&["config", command], &settings.pairs()).await;
        assert_eq!(said.code, Some(0), "{}", said.err);
        canaries.tells_none("config", &format!("{}\n{}", said.out, said.err));
    }
    let token = canaries.of("HELIOGRAPH_TOKEN");
    let url = server.base("query.listen");
    for command in ["search", "tail", "export"] {
        let said = run_with(&[command, "x"], &[("HELIOGRAPH_URL", &url), ("HELIOGRAPH_TOKEN", &token)]).await;
        said.failed(1, &["error: "]);
        canaries.tells_none(command, &format!("{}\n{}", said.out, said.err));
    }
    an_agent_whose_token_is_refused(&place, &server, &dir, &mut canaries).await;
    canaries.tells_none("the log", &server.said());
    server.stop().await;
}

/// A role of its own, with the secrets that only it has.
async fn an_agent_whose_token_is_refused(
    place: &Place,
    server: &Server,
    dir: &Path,
    canaries: &mut Canaries,
) {
    let root = place.logs().parent().unwrap().to_owned();
    std::fs::write(place.logs().join("a.log"), "a line\n").unwrap();
    let mut settings = Settings::default();
    settings.set("telemetry.log_filter", "trace");
    settings.file("agent.token_file", &canaries.file("agent.token_file", &root, str::to_owned));
    let kubeconfig = canaries.file("agent.kubernetes.kubeconfig", &root, |secret| {
        let cluster = json!({ "name": "c", "cluster": { "server": "https://127.0.0.1:1" } });
        let user = json!({ "name": "u", "user": { "token": secret } });
        let context = json!({ "name": "x", "context": { "cluster": "c", "user": "u" } });
        let all =
            json!({ "clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x" });
        all.to_string()
    });
    settings.file("agent.kubernetes.kubeconfig", &kubeconfig);
    settings.set("agent.kubernetes.rights", "cluster");
    settings.set("agent.node", "n1");
    settings.set("agent.status_listen", "127.0.0.1:0");
    settings.file("agent.data_dir", &root.join("agent"));
    settings.set("agent.indexers", format!("[{:?}]", server.base("indexer.listen")));
    settings.file("tls.ca_file", &dir.join("ca.crt"));
    let glob = format!("{}/*.log", place.logs().display());
    settings.set("agent.inputs", format!("[{{ kind = \"files\", glob = {glob:?}, tenant = \"team-a\" }}]"));
    let mut command = heliograph();
    command.arg("agent").envs(settings.pairs());
    let agent = Server::spawn(command, "agent.status_listen");
    let refused = async {
        while !agent.said().contains("401") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, refused).await.is_ok(), "{}", agent.said());
    canaries.tells_none("the agent's log", &agent.said());
    agent.kill().await;
}

/// All that is said until it ends, or waits for what may still come.
async fn until_it_fails(mut server: Server) -> String {
    let told = |server: &Server| format!("{}\n{}", server.told(), server.said());
    let failing = async {
        while !server.has_ended() && !server.said().contains("the catalog is not ready") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, failing).await.is_ok(), "it does not fail: {}", told(&server));
    // What it said last may still be on its way to us.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    told(&server)
}

/// What is right for any role, but for the setting in question.
fn usual(root: &Path, role: &str, setting: &str, canaries: &mut Canaries) -> Settings {
    let mut settings = Settings::default();
    for (key, value) in [
        ("telemetry.log_filter", "trace".to_owned()),
        ("catalog.url", format!("sqlite:{}", root.join("catalog").display())),
        ("storage.url", format!("file:{}", root.join("objects").display())),
        ("keys.master_key_file", root.join("master.key").display().to_string()),
        ("agent.data_dir", root.join("agent").display().to_string()),
        ("agent.indexers", "[\"http://127.0.0.1:1\"]".to_owned()),
        ("agent.status_listen", "127.0.0.1:0".to_owned()),
        ("query.listen", "127.0.0.1:0".to_owned()),
        ("indexer.listen", "127.0.0.1:0".to_owned()),
        ("auth.cluster_token", canaries.of("auth.cluster_token")),
        ("bootstrap.admin_password", canaries.of("bootstrap.admin_password")),
    ] {
        settings.set(key, value);
    }
    if role == "agent" && setting != "agent.token_file" {
        settings.set("auth.agent_token", canaries.of("auth.agent_token"));
    }
    settings
}

#[tokio::test]
async fn no_start_that_fails_tells_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let dir = certificates(root, "30").await;
    let certificate = dir.join("query/tls.crt").display().to_string();
    let mut shown = 0;
    let mut check = async |setting: &str,
                           role: &str,
                           more: &[(&str, &str)],
                           as_written: fn(&str) -> String| {
        let mut canaries = Canaries::default();
        let mut settings = usual(root, role, setting, &mut canaries);
        let holds = SECRETS.iter().find(|(path, _)| *path == setting);
        match holds.unwrap().1 {
            Holds::InFile | Holds::InFileOfPart => {
                settings.file(setting, &canaries.file(setting, root, as_written));
            }
            Holds::Itself | Holds::InUrl => settings.set(setting, as_written(&canaries.of(setting))),
        }
        more.iter().for_each(|(key, value)| settings.set(key, value));
        let mut command = heliograph();
        command.arg(role).envs(settings.pairs());
        let told = until_it_fails(Server::spawn(command, "nobody.listens")).await;
        assert!(told.contains("error: ") || told.contains("the catalog is not ready"), "{setting}: {told}");
        canaries.tells_none(setting, &told);
        shown += 1;
    };
    let plain: fn(&str) -> String = str::to_owned;
    let pem: fn(&str) -> String =
        |secret| format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
    let dead = [("catalog.url", "postgres://me@127.0.0.1:1/logs?sslmode=disable")];
    for role in ["query", "indexer"] {
        check("catalog.url", role, &[], |s| format!("postgres://me:{s}@127.0.0.1:1/logs?sslmode=disable"))
            .await;
        check("catalog.url", role, &[], |s| format!("postgres://me:a/{s}@127.0.0.1:1/logs")).await;
        check("catalog.url", role, &[], |s| format!("postgres://me:{s}@127.0.0.1:1/logs?sslmode={s}")).await;
        check("catalog.password", role, &dead, plain).await;
        check("catalog.password_file", role, &dead, plain).await;
        check("keys.master_key_file", role, &[], plain).await;
        check("keys.master_key_file", role, &[], |s| format!("{s}\n{s}\n")).await;
        let s3 = [("storage.url", "s3://my-logs"), ("storage.endpoint", "http://127.0.0.1:1")];
        check("storage.credentials_file", role, &s3, plain).await;
        check("storage.credentials_file", role, &s3, |s| format!("[default]\naws_secret_access_key = {s}\n"))
            .await;
        check("storage.credentials_file", role, &[("storage.url", "gs://my-logs")], plain).await;
        let google: fn(&str) -> String =
            |s| json!({ "type": "service_account", "private_key": s }).to_string();
        check("storage.credentials_file", role, &[("storage.url", "gs://my-logs")], google).await;
        for key in [plain, pem] {
            let chain = [(format!("{role}.tls.cert_file"), certificate.as_str())];
            let chain: Vec<_> = chain.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            check(&format!("{role}.tls.key_file"), role, &chain, key).await;
        }
        check("telemetry.metrics_token", role, &[("telemetry.metrics_token_file", "/no/such/file")], plain)
            .await;
    }
    for key in [plain, pem] {
        check("tls.key_file", "agent", &[("tls.cert_file", &certificate)], key).await;
    }
    check("agent.token_file", "agent", &[], |secret| format!("{secret}\n{secret}\u{1}")).await;
    let kubernetes = [("agent.kubernetes.rights", "cluster"), ("agent.node", "n")];
    check("agent.kubernetes.kubeconfig", "agent", &kubernetes, |s| format!("users: [{{token: {s}\n")).await;
    assert!(shown > 30, "{shown}");
}
