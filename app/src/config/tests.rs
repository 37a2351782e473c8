//! Texts in, configuration or mistakes out.

mod holding;
mod secrets;

use std::time::Duration;

use heliograph_agent::{ApiAccess, Input, NamespaceSelection, Otherwise, Rights, WhenFull};
use heliograph_serve::{ClientCertificates, Clients};
use secrecy::ExposeSecret;

use super::Config;

pub(super) fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heliograph.toml");
    std::fs::write(&file, text).unwrap();
    let variables = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::read(Some(&file), variables)
        .map_err(|e| e.to_string().replace(&file.display().to_string(), "FILE"))
}

#[track_caller]
pub(super) fn refuses(text: &str, expected: &str) {
    assert_eq!(read(text, &[]).map(|c| c.to_toml()).unwrap_err(), expected);
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = Config::read(None, []).unwrap();
    assert_eq!(config.query.listener.address.to_string(), "127.0.0.1:7700");
    assert_eq!(config.indexer.listener.address.to_string(), "127.0.0.1:7710");
    assert_eq!(config.agent.listener.address.to_string(), "127.0.0.1:7730");
    assert!(config.auth.agent_token.is_none() && !config.telemetry.metrics_open);
    assert!(config.places.cache.is_none());
}

#[test]
fn a_cache_is_a_folder_and_its_size() {
    let cache = |text: &str| read(text, &[]).unwrap().places.cache.map(|c| (c.folder, c.bytes_max));
    assert_eq!(cache("[storage]\ncache_dir = \"/c\"\n"), Some(("/c".into(), 10 << 30)));
    let sized = "[storage]\ncache_dir = \"/c\"\ncache_bytes = \"3 MiB\"\n";
    assert_eq!(cache(sized), Some(("/c".into(), 3 << 20)));
    assert_eq!(cache("[storage]\ncache_bytes = \"3 MiB\"\n"), None);
}

#[test]
fn a_catalog_on_a_server_has_its_password_apart() {
    let url = "[catalog]\nurl = \"postgres://me:hunter2@db:5432/logs?sslmode=verify-full\"\n";
    let config = read(url, &[]).unwrap();
    assert!(config.to_toml().contains("url = \"postgres://me@db:5432/logs\""), "{}", config.to_toml());
    assert!(!format!("{:?} {}", config.places, config.to_toml()).contains("hunter2"));

    let config = read("", &[("HELIOGRAPH_CATALOG__PASSWORD", "hunter2")]).unwrap();
    assert_eq!(config.places.catalog_password.as_ref().unwrap().expose_secret(), "hunter2");
    assert!(!format!("{:?} {}", config.places, config.to_toml()).contains("hunter2"));
    let both = "[catalog]\npassword = \"x\"\npassword_file = \"/y\"\n";
    refuses(both, "invalid configuration: catalog.password and catalog.password_file are both set: give one");
}

#[test]
fn a_storage_is_a_url_and_what_is_needed_to_reach_it() {
    let text = "[storage]\nurl = \"s3://my-logs/a\"\nendpoint = \"https://minio:9000\"\nregion = \"here\"\n\
                path_style = false\n";
    let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s3cr3t"), ("AWS_ENDPOINT", "x")];
    let config = read(text, &keys).unwrap();
    let storage = config.places.storage.as_ref().unwrap();
    assert_eq!((storage.region.as_deref(), storage.path_style), (Some("here"), Some(false)));
    assert_eq!(
        storage.environment.keys().collect::<Vec<_>>(),
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    );
    let shown = format!("{} {} {config:?}", config.to_toml(), config.to_line());
    assert!(shown.contains("s3://my-logs/a") && !shown.contains("s3cr3t"), "{shown}");
    assert!(read("", &keys).unwrap().places.storage.is_none(), "credentials alone are no storage");
}

#[test]
fn a_storage_that_cannot_be_is_refused_before_anything_starts() {
    refuses(
        "[storage]\nurl = \"s3://my-logs\"\nendpoint = \"http://minio:9000\"\n",
        "invalid configuration: storage.endpoint: \"http://minio:9000\" is plain text to another machine: give \
         https://…, or set storage.allow_http = true",
    );
    refuses(
        "[storage]\nregion = \"here\"\n",
        "invalid configuration: storage.url: is not set, but other keys of storage.… say how it is reached: set it, \
         as in \"s3://my-logs/production\", or leave them out",
    );
    refuses(
        "[storage]\nurl = \"s3://my-logs\"\nallow_http = \"yes\"\n",
        "invalid configuration: FILE:3: storage.allow_http: expected true or false, found \"yes\"",
    );
}

#[test]
fn a_full_spool_waits_and_then_drops_unless_told_otherwise() {
    let check = |text: &str, expected: WhenFull| {
        assert_eq!(read(text, &[]).unwrap().agent.spool_when_full, expected, "{text}");
    };
    check("", WhenFull::DropOldest { patience: Duration::from_secs(30) });
    check("[agent]\nspool_full_wait = \"5m\"\n", WhenFull::DropOldest { patience: Duration::from_mins(5) });
    check("[agent]\nspool_when_full = \"wait\"\n", WhenFull::Wait);
    refuses(
        "[agent]\nspool_when_full = \"drop\"\n",
        "invalid configuration: FILE:2: agent.spool_when_full: expected \"wait\" or \"drop_oldest\", found \"drop\"",
    );
}

#[test]
fn a_certificate_needs_its_key() {
    let config = read("[tls]\ncert_file = \"/c.pem\"\nkey_file = \"/k.pem\"\n", &[]).unwrap();
    assert_eq!(config.tls.identity, Some(("/c.pem".into(), "/k.pem".into())));
    refuses(
        "[tls]\ncert_file = \"/c.pem\"\n",
        "invalid configuration: tls.cert_file and tls.key_file belong together: give both or none",
    );
}

#[test]
fn plain_text_stays_on_this_machine_unless_allowed() {
    let refused = |setting: &str, address: &str, role: &str| {
        format!(
            "{setting}: {address} is not loopback, and others could read what is said there: set {role}.tls.cert_file \
             and {role}.tls.key_file (`heliograph admin tls init` makes both), or {role}.allow_plain_text = true where \
             something else encrypts"
        )
    };
    let all = "[agent]\nstatus_listen = \"[::]:1\"\n[indexer]\nlisten = \"10.0.0.1:2\"\n[query]\nlisten = \"0.0.0.0:3\"\n";
    refuses(
        all,
        &format!(
            "invalid configuration: 3 mistakes\n  {}\n  {}\n  {}",
            refused("agent.status_listen", "[::]:1", "agent"),
            refused("indexer.listen", "10.0.0.1:2", "indexer"),
            refused("query.listen", "0.0.0.0:3", "query"),
        ),
    );
    let tls = "tls.cert_file = \"/c\"\ntls.key_file = \"/k\"\n";
    for more in [tls, "allow_plain_text = true\n"] {
        let text = all.replace("\"\n", &format!("\"\n{more}"));
        let shown = read(&text, &[]).unwrap().to_toml();
        assert_eq!(read(&shown, &[]).unwrap().to_toml(), shown);
    }
    for local in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        read(&format!("[query]\nlisten = {local:?}\n"), &[]).unwrap();
    }
}

#[test]
fn a_port_is_told_its_certificate_and_who_needs_one() {
    let tls = "[query]\ntls = { cert_file = \"/c\", key_file = \"/k\"";
    let read_tls = |more: &str| read(&format!("{tls}{more} }}\n"), &[]).unwrap().query.listener.tls.unwrap();
    assert_eq!(read_tls("").clients, None);
    let authority = ", client_ca_file = \"/a\"";
    for (more, expected) in [
        ("", ClientCertificates::Required),
        (", client_certificates = \"required\"", ClientCertificates::Required),
        (", client_certificates = \"except_status\"", ClientCertificates::ExceptStatus),
        (", client_certificates = \"optional\"", ClientCertificates::Optional),
    ] {
        let clients = |crl_file| Some(Clients { ca_file: "/a".into(), crl_file, needed: expected });
        assert_eq!(read_tls(&format!("{authority}{more}")).clients, clients(None));
        let lists = ", client_crl_file = \"/r\"";
        assert_eq!(read_tls(&format!("{authority}{more}{lists}")).clients, clients(Some("/r".into())));
    }
    let wrong = |keys: &str, expected: &str| {
        refuses(&format!("[query.tls]\n{keys}\n"), &format!("invalid configuration: {expected}"));
    };
    wrong(
        "cert_file = \"/c\"",
        "query.tls.cert_file and query.tls.key_file belong together: give both or none",
    );
    wrong(
        "client_ca_file = \"/a\"",
        "query.tls.client_ca_file needs query.tls.cert_file and query.tls.key_file",
    );
    wrong("client_crl_file = \"/r\"", "query.tls.client_crl_file needs query.tls.client_ca_file");
    wrong(
        "client_certificates = \"optional\"",
        "query.tls.client_certificates needs query.tls.client_ca_file",
    );
    wrong(
        "cert_file = \"/c\"\nkey_file = \"/k\"\nclient_ca_file = \"/a\"\nclient_certificates = \"yes\"",
        "FILE:5: query.tls.client_certificates: expected \"required\", \"except_status\" or \"optional\", found \"yes\"",
    );
}

#[test]
fn over_tls_cookies_are_secure() {
    let secure = |text: &str| read(text, &[]).unwrap().query.secure_cookies;
    assert!(!secure(""));
    assert!(secure("[query]\ntls = { cert_file = \"/c\", key_file = \"/k\" }\n"));
    assert!(secure("[query]\nsecure_cookies = true\n"), "behind a proxy");
}

#[test]
fn an_unknown_key_names_the_nearest() {
    refuses(
        "[query]\nlisten = \"127.0.0.1:1\"\nlisen = 3\n",
        "invalid configuration: FILE:3: unknown key `query.lisen`: did you mean `listen`?",
    );
    refuses("[qurey]\n", "invalid configuration: FILE:1: unknown section `qurey`: did you mean `query`?");
}

#[test]
fn all_mistakes_are_reported_together() {
    refuses(
        "[indexer]\nlisten = 7710\nlinger = \"soon\"\nhot_bytes_max = \"-1\"\n[[agent.inputs]]\nkind = \"file\"\n",
        concat!(
            "invalid configuration: 4 mistakes",
            "\n  agent.inputs[0].kind: expected \"containers\", \"tasks\", \"pod-volumes\" or \"files\", found \"file\"",
            "\n  FILE:2: indexer.listen: expected an address like \"127.0.0.1:7700\", found a number",
            "\n  FILE:3: indexer.linger: expected a length of time like \"250ms\", \"30s\", \"15m\", \"12h\" or \"30d\", found \"soon\"",
            "\n  FILE:4: indexer.hot_bytes_max: expected a size like \"64 MiB\" (B, KiB, MiB, GiB, TiB), found \"-1\"",
        ),
    );
}

#[test]
fn the_audit_log_is_kept_for_a_day_at_least() {
    refuses(
        "[audit]\nkeep = \"1h\"\n",
        "invalid configuration: audit.keep: expected at least 86400s, found 3600s",
    );
    read("[audit]\nkeep = \"1d\"\n", &[]).unwrap();
}

#[test]
fn what_searches_may_still_read_is_not_deleted() {
    refuses(
        "[retention]\ndelete_after = \"90s\"\n",
        concat!(
            "invalid configuration: retention.delete_after: expected at least twice limits.search_timeout (60s), since ",
            "a search may still read what is deleted then, found 90s",
        ),
    );
    read("[retention]\ndelete_after = \"90s\"\n[limits]\nsearch_timeout = \"45s\"\n", &[]).unwrap();
}

#[test]
fn what_is_not_toml_names_the_line() {
    let error = read("[query]\n\nlisten =\n", &[]).unwrap_err();
    assert!(error.starts_with("invalid configuration: FILE:3: not TOML: "), "{error}");
}

#[test]
fn the_environment_wins() {
    let config = read(
        "[query]\nlisten = \"127.0.0.1:1\"\n",
        &[
            ("HELIOGRAPH_QUERY__LISTEN", "127.0.0.1:2"),
            ("HELIOGRAPH_TELEMETRY__METRICS_OPEN", "true"),
            ("HELIOGRAPH_LIMITS__TAILS_MAX", "7"),
            ("HELIOGRAPH_INDEXER__SEAL_AFTER", "90s"),
            ("HELIOGRAPH_AUTH__AGENT_TOKEN", "12345"),
            ("HELIOGRAPH_AGENT__INDEXERS", "[\"http://a:1\", \"http://b:2/\"]"),
            ("HELIOGRAPH_AGENT__INPUTS", "[{kind = \"files\", glob = \"/x/*.log\", tenant = \"a\"}]"),
            ("HELIOGRAPH_URL", "http://the-clients"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.query.listener.address.port(), 2);
    assert!(config.telemetry.metrics_open);
    assert_eq!(config.limits.tails_max, 7);
    assert_eq!(config.indexer.seal_after, Duration::from_secs(90));
    assert_eq!(config.auth.agent_token.unwrap().expose_secret(), "12345");
    assert_eq!(config.agent.indexers, ["http://a:1", "http://b:2"]);
    assert!(matches!(&config.agent.inputs[..], [Input::Files { glob, .. }] if glob == "/x/*.log"));
}

#[test]
fn a_mistake_of_the_environment_names_its_variable() {
    let error = read("", &[("HELIOGRAPH_QUERY__LISTNE", "x")]).unwrap_err();
    assert_eq!(
        error,
        "invalid configuration: HELIOGRAPH_QUERY__LISTNE: unknown key `query.listne`: did you mean `listen`?"
    );
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "s3cret-of-the-agents\n").unwrap();
    let text = format!("[auth]\nagent_token_file = {secret:?}\ncluster_token = \"0ther-s3cret\"\n");
    let config = read(&text, &[]).unwrap();
    assert_eq!(config.auth.agent_token.as_ref().unwrap().expose_secret(), "s3cret-of-the-agents");
    for shown in [config.to_toml(), config.to_line(), format!("{config:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert!(config.to_toml().contains("cluster_token = \"[redacted]\""));
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = "[[agent.inputs]]\nkind = \"tasks\"\nroot = \"/logs\"\n[agent.tenants]\nstrip_prefix = \"astro-\"\n[agent.tenants.exact]\n\"air.flow\" = \"team-a\"\n[limits]\nsearch_timeout = \"1500ms\"\n";
    let shown = read(text, &[]).unwrap().to_toml();
    let again = read(&shown, &[]).unwrap();
    assert_eq!(again.to_toml(), shown);
    assert_eq!(again.agent.tenants.exact["air.flow"].as_str(), "team-a");
    assert_eq!(again.agent.tenants.otherwise, Otherwise::StripPrefix("astro-".to_owned()));
    assert_eq!(again.limits.search_timeout, Duration::from_millis(1_500));
}

#[test]
fn bad_globs_are_refused() {
    let error =
        read("[[agent.inputs]]\nkind = \"files\"\nglob = \"/var/[log\"\ntenant = \"a\"\n", &[]).unwrap_err();
    assert!(error.contains("agent.inputs[0].glob: bad glob: ") && error.contains("/var/[log"), "{error}");
}

#[test]
fn the_deployed_files_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let deployed = format!("{}/../deploy/kustomize", env!("CARGO_MANIFEST_DIR"));
    let with_overlays =
        ["", "cluster", "cluster-labels", "namespaces"].map(|overlay| ("agent.toml", overlay));
    for (name, overlay) in [("server.toml", "")].into_iter().chain(with_overlays) {
        let text = std::fs::read_to_string(format!("{deployed}/base/{name}")).unwrap();
        let with_secrets: Vec<String> = text
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some((key, _)) if key.ends_with("token_file") => format!("{key} = {secret:?}"),
                _ => line.to_owned(),
            })
            .collect();
        let node = ("HELIOGRAPH_AGENT__NODE".to_owned(), "node-1".to_owned());
        let mut environment = vec![node];
        // An overlay stands on another one.
        let below = if overlay == "cluster-labels" { "cluster" } else { "" };
        for overlay in [below, overlay].into_iter().filter(|overlay| !overlay.is_empty()) {
            let patch = std::fs::read_to_string(format!("{deployed}/{overlay}/agent.yaml")).unwrap();
            environment.extend(variables_of(&patch));
        }
        let environment: Vec<_> = environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let config = read(&with_secrets.join("\n"), &environment)
            .unwrap_or_else(|e| panic!("{name} with {overlay:?}: {e}"));
        assert_eq!(config.agent.kubernetes.is_some(), !overlay.is_empty());
    }
}

/// Names and values of a container's environment in a manifest.
fn variables_of(manifest: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    let variable = |pair: &[&str]| {
        let (name, value) = (pair[0].strip_prefix("- name: ")?, pair[1].strip_prefix("value: ")?);
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    let variables: Vec<_> = lines.windows(2).filter_map(variable).collect();
    assert!(!variables.is_empty(), "no variable in {manifest}");
    variables
}

#[test]
fn pods_and_namespaces() {
    let config = read(
        concat!(
            "[agent]\nnode = \"n1\"\n[agent.tenants]\nlabel = \"heliograph.io/tenant\"\n",
            "[agent.tenants.prefix]\n\"team-a-\" = \"team-a\"\n",
            "[agent.namespaces]\nlabel = \"collect=yes\"\n",
            "[agent.kubernetes]\nrights = \"cluster\"\nkubeconfig = \"/k\"\n",
        ),
        &[],
    )
    .unwrap();
    assert_eq!(config.agent.tenants.label.as_deref(), Some("heliograph.io/tenant"));
    assert_eq!(config.agent.tenants.prefix["team-a-"].as_str(), "team-a");
    let NamespaceSelection::Labelled(selector) = &config.agent.namespaces else { panic!("not by label") };
    assert_eq!(selector.to_string(), "collect=yes");
    let kubernetes = config.agent.kubernetes.as_ref().unwrap();
    assert_eq!(
        (&kubernetes.rights, &kubernetes.access),
        (&Rights::Cluster, &ApiAccess::Kubeconfig("/k".into()))
    );
    assert_eq!(read(&config.to_toml(), &[]).unwrap().to_toml(), config.to_toml());

    let listed = "[agent]\nnode = \"n\"\n[agent.namespaces]\nlist = [\"a\", \"b\"]\n[agent.kubernetes]\nrights = \"namespaces\"\n";
    let kubernetes = read(listed, &[]).unwrap().agent.kubernetes.unwrap();
    assert_eq!(kubernetes.rights, Rights::Namespaces(["a".to_owned(), "b".to_owned()].into()));
    let config = Config::read(None, []).unwrap();
    assert!(config.agent.kubernetes.is_none() && config.agent.sidecar.is_none());
    assert_eq!(config.agent.namespaces, NamespaceSelection::All);
}

#[test]
fn what_needs_labels_of_namespaces_is_refused_without_the_right_to_them() {
    let why = "needs the labels of namespaces: set agent.kubernetes.rights = \"cluster\", or use";
    refuses(
        "[agent.tenants]\nlabel = \"h/t\"\n",
        &format!(
            "invalid configuration: agent.tenants.label: {why} exact, prefix, strip_prefix or same_name"
        ),
    );
    refuses(
        "[agent.namespaces]\nlabel = \"h/t\"\n",
        &format!("invalid configuration: agent.namespaces.label: {why} agent.namespaces.list"),
    );
    refuses(
        "[agent.kubernetes]\nrights = \"namespaces\"\n",
        "invalid configuration: agent.kubernetes.rights: \"namespaces\" needs their names in agent.namespaces.list",
    );
    refuses(
        "[agent.kubernetes]\nrights = \"cluster\"\n",
        "invalid configuration: agent.node: is needed to ask about the node's pods: give the node's name, as in spec.nodeName",
    );
    refuses(
        "[agent.kubernetes]\nrights = \"all\"\n",
        "invalid configuration: agent.kubernetes.rights: expected \"none\", \"namespaces\" or \"cluster\", found \"all\"",
    );
    refuses(
        "[agent.tenants.prefix]\n\"x-\" = \"../etc\"\n[agent.namespaces]\nlist = [\"a\"]\nlabel = \"b\"\n",
        concat!(
            "invalid configuration: 2 mistakes",
            "\n  agent.tenants.prefix.\"x-\": invalid tenant name \"../etc\": 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit (as in \"team-a\")",
            "\n  agent.namespaces.list and agent.namespaces.label exclude one another: give one",
        ),
    );
}

#[test]
fn a_sidecar_by_the_environment_alone() {
    let variables = |names: &[(&str, &str)]| -> Vec<(String, String)> {
        let full =
            |(key, value): &(&str, &str)| (format!("HELIOGRAPH_AGENT__SIDECAR__{key}"), (*value).to_owned());
        names.iter().map(full).collect()
    };
    let all = [
        ("DIRECTORY", "/logs"),
        ("TENANT", "team-a"),
        ("COMPONENT", "worker"),
        ("NAMESPACE", "ns"),
        ("POD", "p"),
        ("FINISHED_FILE", "/run/finished"),
        ("FINISH_WITHIN", "30s"),
    ];
    let sidecar = Config::read(None, variables(&all)).unwrap().agent.sidecar.unwrap();
    assert_eq!((sidecar.tenant.as_str(), sidecar.finish_within), ("team-a", Duration::from_secs(30)));
    assert_eq!(sidecar.finished_file, std::path::Path::new("/run/finished"));
    let short = variables(&[("DIRECTORY", "/logs"), ("TENANT", "team-a")]);
    let sidecar = Config::read(None, short).unwrap().agent.sidecar.unwrap();
    assert_eq!(sidecar.finished_file, std::path::Path::new("finished"));
    let mistake = |names| Config::read(None, variables(names)).unwrap_err().to_string();
    assert_eq!(
        mistake(&[("TENANT", "team-a")]),
        "invalid configuration: agent.sidecar.directory: is missing: the directory that the container writes its logs to"
    );
    assert_eq!(
        mistake(&[("DIRECTORY", "/logs")]),
        "invalid configuration: agent.sidecar.tenant: is missing: whose the logs in the directory are"
    );
    let error = read(
        "[agent.sidecar]\ndirectory = \"/l\"\ntenant = \"a\"\n[[agent.inputs]]\nkind = \"containers\"\n",
        &[],
    );
    assert!(error.unwrap_err().ends_with("leave out agent.inputs and agent.kubernetes"));
}
