//! No secret is in any form of the configuration, nor in what is said of mistakes in it.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::holding::{Holds, SECRETS};
use super::read;

/// Each section that there is, with what it cannot be without.
const SECTIONS: &str = r#"[agent]
[agent.tls]
[agent.tenants]
[agent.namespaces]
[agent.kubernetes]
[agent.sidecar]
[[agent.inputs]]
kind = "containers"
[[agent.inputs]]
kind = "tasks"
[[agent.inputs]]
kind = "pod-volumes"
[[agent.inputs]]
kind = "files"
[tls]
[indexer]
[indexer.tls]
[[indexer.nodes]]
certificate = "x"
[indexer.token_review]
[indexer.authorization_webhook]
[redaction]
[[redaction.rules]]
[retention]
[query]
[query.tls]
[query.forward_auth]
[[query.forward_auth.groups]]
[query.authorization_webhook]
[query.oidc.NAME]
[[query.oidc.NAME.mappings]]
[query.github]
[[query.github.mappings]]
[audit]
[catalog]
[storage]
[keys]
[auth]
[limits]
[telemetry]
[bootstrap]
"#;

/// The settings that hold no secret, by section.
const OTHERS: &[(&str, &str)] = &[
    (
        "agent",
        "allow_plain_text batch_bytes_max data_dir flush_after node scan_every spool_bytes_max \
         spool_full_wait spool_when_full status_listen tenant_bytes_per_second unlinked_bytes_max \
         unlinked_container_bytes_max",
    ),
    ("agent.inputs", "component glob kind namespace pods root tenant"),
    ("agent.kubernetes", "rights"),
    ("agent.namespaces", "label list"),
    ("agent.sidecar", "component directory finish_within finished_file namespace pod tenant"),
    ("agent.tenants", "exact label prefix same_name strip_prefix"),
    ("agent.tls", "cert_file client_ca_file client_certificates client_crl_file"),
    ("audit", "keep"),
    (
        "indexer",
        "agent_workspace allow_plain_text hot_bytes_max linger listen merge_bytes seal_after seal_bytes",
    ),
    (
        "indexer.authorization_webhook",
        "allow_addresses allow_http ca_file cache_allowed cache_answers_max cache_denied timeout",
    ),
    ("indexer.nodes", "all certificate node tenants workspaces"),
    ("indexer.tls", "cert_file client_ca_file client_certificates client_crl_file"),
    ("indexer.token_review", "audiences ca_file cache service_accounts timeout"),
    (
        "limits",
        "body_bytes_max expanded_bytes_max search_concurrency search_timeout tails_max tenant_hot_bytes \
         tenant_ingest_burst_bytes tenant_ingest_bytes_per_second tenant_stored_bytes",
    ),
    (
        "query",
        "allow_plain_text index_cache_bytes listen page_cache_bytes secure_cookies session_idle \
         session_ttl",
    ),
    (
        "query.authorization_webhook",
        "allow_addresses allow_http ca_file cache_allowed cache_answers_max cache_denied roles timeout",
    ),
    ("query.forward_auth", "email_header groups_header proxies proxy_certificates recheck_after user_header"),
    ("query.forward_auth.groups", "admin group role tenant workspace"),
    ("query.github", "allow_loopback allowed_organizations client_id display_name"),
    ("query.github.mappings", "admin group role tenant workspace"),
    (
        "query.oidc.NAME",
        "allow_loopback allowed_domains client_id display_name domain_claim groups_claim scopes",
    ),
    ("query.oidc.NAME.mappings", "admin group role tenant workspace"),
    ("query.tls", "cert_file client_ca_file client_certificates client_crl_file"),
    ("redaction", "disabled_rules enabled"),
    ("redaction.rules", "name pattern tenants"),
    ("retention", "age bytes delete_after"),
    ("storage", "allow_http cache_bytes cache_dir path_style region"),
    ("telemetry", "log_filter log_format metrics_open"),
    ("tls", "ca_file cert_file"),
];

/// The path of a setting or section without numbers of items.
fn plain(path: &str) -> String {
    let mut parts = path.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once(']').map_or("", |(_, rest)| rest))
}

/// All settings and sections that the reader knows, by path, and the paths of sections.
fn known() -> (BTreeSet<String>, BTreeSet<String>) {
    // With a key that none has: the mistakes name those that it has.
    let unknown = "\"?\" = 1\n";
    let with =
        |line: &str| if line.starts_with('[') { format!("{line}\n{unknown}") } else { format!("{line}\n") };
    let text: String = SECTIONS.lines().map(with).collect();
    let told = read(&format!("{unknown}{text}"), &[]).map(|config| config.to_toml()).unwrap_err();
    let (mut settings, mut sections) = (BTreeSet::new(), BTreeSet::new());
    for line in told.lines() {
        let (of, keys) = if let Some((_, keys)) = line.split_once("known sections: ") {
            (String::new(), keys)
        } else if let Some((_, rest)) = line.split_once("known keys of [") {
            let (path, keys) = rest.rsplit_once("]: ").unwrap();
            (format!("{}.", plain(path)), keys)
        } else {
            continue;
        };
        settings.extend(keys.split(", ").map(|key| format!("{of}{key}")));
        sections.insert(of.trim_end_matches('.').to_owned());
    }
    (settings, sections)
}

#[test]
fn every_setting_is_told_to_hold_a_secret_or_none() {
    let (settings, sections) = known();
    let written =
        SECTIONS.lines().filter(|line| line.starts_with('[')).map(|line| line.trim_matches(['[', ']']));
    let written: BTreeSet<_> = written.chain([""]).collect();
    assert_eq!(sections.iter().map(String::as_str).collect::<BTreeSet<_>>(), written);
    let secrets = SECRETS.iter().map(|(path, _)| (*path).to_owned());
    let of_section = |(section, keys): &(&str, &str)| {
        let section = (*section).to_owned();
        keys.split_whitespace().map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
    };
    let told: BTreeSet<_> = secrets.chain(OTHERS.iter().flat_map(of_section)).collect();
    let is_setting = |path: &&String| {
        let named = format!("{path}.NAME");
        !written.contains(path.as_str()) && !written.contains(named.as_str())
    };
    let settings: BTreeSet<_> = settings.iter().filter(is_setting).cloned().collect();
    let untold: Vec<_> = settings.difference(&told).collect();
    assert!(untold.is_empty(), "say in holding.rs, or here, whether these hold a secret: {untold:?}");
    let gone: Vec<_> = told.difference(&settings).collect();
    assert!(gone.is_empty(), "there is no such setting: {gone:?}");
    let speaks = |path: &&String| {
        let key = path.rsplit('.').next().unwrap_or_default();
        ["secret", "token", "password", "credential", "key_file"].iter().any(|word| key.contains(word))
    };
    let secrets: BTreeSet<_> = SECRETS.iter().map(|(path, _)| *path).collect();
    let odd: Vec<_> =
        settings.iter().filter(speaks).filter(|path| !secrets.contains(path.as_str())).collect();
    // Sections, and what is named like a secret but is none.
    assert_eq!(odd, [] as [&String; 0], "is named as if it held one");
}

/// A secret that stands nowhere by chance.
fn canary() -> String {
    format!("canary{}", Uuid::new_v4().simple())
}

/// A setting by its path, as TOML of its own: such lines may stand beside one another in any order.
fn line(path: &str, value: &str) -> String {
    format!("{} = {value}\n", path.replace("NAME", "one"))
}

/// The variable that sets it.
fn variable(path: &str) -> String {
    format!("HELIOGRAPH_{}", path.replace("NAME", "one").replace('.', "__").to_uppercase())
}

/// What a configuration needs that has all secrets.
const NEEDED: &str = "query.public_urls = [\"https://logs.example.com\"]\nquery.oidc.one.issuer = \"https://i\"\n\
    query.oidc.one.client_id = \"x\"\nquery.github.client_id = \"x\"\nstorage.url = \"s3://my-logs\"\n";

/// All forms in which a configuration is shown, or what is said of its mistakes.
fn all_that_is_told(text: &str, environment: &[(String, String)]) -> String {
    let environment: Vec<_> = environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    match read(text, &environment) {
        Ok(config) => format!("{}\n{}\n{config:?}\n{config:#?}", config.to_toml(), config.to_line()),
        Err(told) => told,
    }
}

#[track_caller]
fn tells_none(canaries: &[String], told: &str) {
    let found: Vec<_> = canaries.iter().filter(|secret| told.contains(secret.as_str())).collect();
    assert!(found.is_empty(), "{found:?} in: {told}");
}

#[test]
fn no_form_of_the_configuration_tells_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    for way in [Holds::Itself, Holds::InFile] {
        let clouds =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET"];
        let clouds = clouds.map(|name| (name.to_owned(), canary()));
        let mut canaries: Vec<_> = clouds.iter().map(|(_, secret)| secret.clone()).collect();
        let (mut text, mut variables) = (NEEDED.to_owned(), clouds.to_vec());
        for (path, _) in SECRETS.iter().filter(|(_, holds)| *holds == way) {
            let (secret, file) = (canary(), folder.path().join(path));
            std::fs::write(&file, format!("{secret}\n")).unwrap();
            let value = if way == Holds::InFile { file.display().to_string() } else { secret.clone() };
            text.push_str(&line(path, &format!("{value:?}")));
            variables.push((variable(path), value));
            canaries.push(secret);
        }
        for told in [all_that_is_told(&text, &clouds), all_that_is_told(NEEDED, &variables)] {
            assert!(told.contains("Config {"), "it is right: {told}");
            tells_none(&canaries, &told);
        }
    }
}

#[test]
fn no_mistake_about_a_secret_tells_it() {
    let secret = canary();
    let told = |text: &str, environment: &[(String, String)]| {
        let told = all_that_is_told(text, environment);
        assert!(told.starts_with("invalid configuration: "), "{told}");
        tells_none(std::slice::from_ref(&secret), &told);
    };
    for (path, _) in SECRETS.iter().filter(|(_, holds)| *holds == Holds::Itself) {
        let path = path.replace("NAME", "one");
        let (section, key) = path.rsplit_once('.').unwrap();
        for value in [
            format!("[\"{secret}\"]"),
            format!("{{ {secret} = 1 }}"),
            format!("{{ a = \"{secret}\" }}"),
            // Not TOML.
            secret.clone(),
            format!("\"{secret}"),
            format!("'{secret}\n'"),
            format!("\"\\{secret}\""),
            format!("\"a\" {secret}"),
        ] {
            told(&format!("{NEEDED}{}", line(&path, &value)), &[]);
        }
        // A slip in the key, the section's place taken, and both ways at once.
        told(&format!("{NEEDED}{section}.{key}s = \"{secret}\"\n"), &[]);
        told(&format!("{section} = \"{secret}\"\n"), &[]);
        told(&format!("{section} = [\"{secret}\"]\n"), &[]);
        told("", &[(format!("{}S", variable(&path)), secret.clone())]);
        let file = (variable(&format!("{path}_file")), secret.clone());
        told(NEEDED, &[(variable(&path), secret.clone()), file]);
    }
}

#[test]
fn no_credential_in_an_address_is_told_however_wrong_the_address_is() {
    let secret = canary();
    let forms = [
        "https://me:S@h/",
        "https://:S@h/",
        "https://S@h/",
        "http://me:S@h/",
        "https://me:S@h:99999/",
        "me:S@h",
        "//me:S@h",
        "https://me:S @h/",
        "https://me:a/S@h/",
        "https://me:a?S@h/",
        "https://me:a#S@h/",
        "ftp://me:S@h/",
        "https://h/?key=S",
        "http://h/?key=S",
        "https://h/#S",
        "https://127.0.0.1/?key=S",
        "https://h:99999/?key=S",
        "ftp://h/?key=S",
        "postgres://me:S@h/db",
        "postgres://me:S@h:x/db",
        "postgres://me:a/S@h/db",
        "postgresql:///db?password=S",
        "mysql://me:S@h/db",
        "s3://me:S@bucket",
        "s3://bucket?key=S",
        "az://me:S@h",
        "cassandra://S@h",
    ];
    for (path, _) in SECRETS.iter().filter(|(_, holds)| *holds == Holds::InUrl) {
        for form in forms {
            let url = form.replace('S', &secret);
            let is_list = path.ends_with('s');
            let value = if is_list { format!("[{url:?}]") } else { format!("{url:?}") };
            let dropped = NEEDED.lines().filter(|line| !line.starts_with(&path.replace("NAME", "one")));
            let needed: String = dropped.map(|line| format!("{line}\n")).collect();
            for told in [
                all_that_is_told(&format!("{needed}{}", line(path, &value)), &[]),
                all_that_is_told(&needed, &[(variable(path), value.trim_matches('"').to_owned())]),
            ] {
                assert!(!told.contains(&secret), "{path} as {form}: {told}");
            }
        }
    }
}
