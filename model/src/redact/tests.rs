//! Texts in, texts out. A `¦` is taken out first: it keeps scanners of repositories from taking these for secrets.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::airflow::Identity;
use crate::record::Record;
use crate::source::{Position, Source};
use crate::time::Timestamp;

fn defaults() -> &'static Redactor {
    static DEFAULTS: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new(&BTreeSet::new(), Vec::new()).unwrap());
    &DEFAULTS
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn record(position: u64, message: &str, attributes: &str) -> Record {
    Record {
        time: Timestamp::from_nanos(1),
        observed: Timestamp::from_nanos(2),
        position: Position(position),
        source: Arc::new(Source { pod: Some("password=hunter2".into()), ..Source::default() }),
        level: None,
        stream: None,
        identity: Identity {
            log_id: Some("token=gl¦pat-aaaaaaaaaaaaaaaaaaaaa".into()),
            ..Identity::default()
        },
        message: message.into(),
        attributes: Attributes::from_json(attributes).unwrap(),
    }
}

fn redact_by(redactor: &Redactor, of: &str, records: &[Record]) -> Option<(Vec<Record>, Vec<(String, u64)>)> {
    let rows = Rows::try_from(records).unwrap();
    let Redacted { rows, counts } = redactor.redact(&tenant(of), &rows).unwrap()?;
    let names = redactor.names().map(str::to_owned);
    Some((rows.to_records(), names.zip(counts).filter(|(_, count)| *count > 0).collect()))
}

/// The message, and the rules that were used, in the order of their names.
fn message(text: &str) -> (String, Vec<String>) {
    match redact_by(defaults(), "t", &[record(1, text, "")]) {
        None => (text.to_owned(), Vec::new()),
        Some((records, counts)) => {
            (records[0].message.to_string(), counts.into_iter().map(|(name, _)| name).collect())
        }
    }
}

/// `expected` has `[]` where the secret of this rule was.
#[track_caller]
fn hit(rule: &str, text: &str, expected: &str) {
    let (text, expected) = (text.replace('¦', ""), expected.replace("[]", &format!("[redacted:{rule}]")));
    assert_eq!(message(&text), (expected.clone(), vec![rule.to_owned()]), "of {text}");
    assert_eq!(message(&expected), (expected.clone(), Vec::new()), "again");
    // The same within a JSON string of an attribute, whose other bytes stay.
    let json = |text: &str| format!(r#"{{"a":1.0, "said" : {}, "b":[1e3]}}"#, serde_json::Value::from(text));
    let (records, _) = redact_by(defaults(), "t", &[record(1, "", &json(&text))]).unwrap();
    assert_eq!(records[0].attributes.as_json(), json(&expected));
}

#[track_caller]
fn miss(text: &str) {
    let text = text.replace('¦', "");
    assert_eq!(message(&text), (text.clone(), Vec::new()));
}

#[test]
fn keys_of_clouds() {
    hit("aws-access-key-id", "using AK¦IAIOSFODNN7EXAMPLE.", "using [].");
    hit("aws-access-key-id", "arn AS¦IAIOSFODNN7EXAMPLE", "arn []");
    miss("AK¦IAIOSFODNN7EXAMPL AK¦IAIOSFODNN7EXAMPLEE xAK¦IAIOSFODNN7EXAMPLE ASIA/Kolkata AKIA");
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE¦KEY";
    for name in [
        "aws_secret_access_key = ",
        "AWS_SECRET_ACCESS_KEY=",
        "\"SecretAccessKey\": \"",
        "'secret-access-key':'",
    ] {
        hit("aws-secret-key", &format!("{name}{secret}"), &format!("{name}[]"));
    }
    miss(&format!("sha1 of the layer: {secret}"));
    miss("aws_secret_access_key is missing");
    hit("gcp-api-key", "?key=AI¦zaSyA-1234567890abcdefghijklmnopqrstu&x=1", "?key=[]&x=1");
    miss("AI¦zaSyA-1234567890abcdefghijklmnopqrst AI¦zaSyA-1234567890abcdefghijklmnopqrstuv");
    hit("gcp-access-token", "got ya¦29.a0AfH6SMBx_1234567890-abc ok", "got [] ok");
    miss("ya29.short");
    let key = format!("{}==", "Ab1/".repeat(21) + "xy");
    hit(
        "azure-account-key",
        &format!("AccountName=a;AccountKey={key};EndpointSuffix=core.windows.net"),
        "AccountName=a;AccountKey=[];EndpointSuffix=core.windows.net",
    );
    hit(
        "azure-account-key",
        &format!("SharedAccessKeyName=n;SharedAccessKey={}=", "Ab1+".repeat(11)),
        "SharedAccessKeyName=n;SharedAccessKey=[]",
    );
    miss("AccountKey=none SharedAccessKeyName=RootManageSharedAccessKeyWithQuiteALongNameOfItsOwn");
    hit(
        "azure-sas-signature",
        "https://a.blob.core.windows.net/c?sv=2022-11-02&sig=abcDEF123%2Babcdefghijklmnopqrstuvwxyz0123456%3D&se=2",
        "https://a.blob.core.windows.net/c?sv=2022-11-02&sig=[]&se=2",
    );
    miss("sig=SIGTERM desig=abcDEF123%2Babcdefghijklmnopqrstuvwxyz0123456%3D");
}

#[test]
fn tokens_of_services() {
    let long = "0aB1cD2eF3".repeat(9);
    let cut = |n: usize| &long[..n];
    for prefix in ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"] {
        hit("github-token", &format!("clone {prefix}{} done", cut(36)), "clone [] done");
        miss(&format!("clone {prefix}{} done", cut(35)));
    }
    hit("github-token", &format!("github_pat_{}", cut(82)), "[]");
    hit("gitlab-token", &format!("glpat-{}", cut(20)), "[]");
    hit("slack-token", &format!("xo¦xb-123456789012-{}", cut(24)), "[]");
    hit(
        "slack-webhook",
        &format!("POST https://hooks.slack.com/services/T00/B00/{}", cut(24)),
        "POST https://hooks.slack.com/services/[]",
    );
    hit("stripe-key", &format!("sk_¦live_{}", cut(24)), "[]");
    hit("stripe-key", &format!("rk_¦live_{}", cut(24)), "[]");
    hit("npm-token", &format!("//registry/:_auth npm_{}", cut(36)), "//registry/:_auth []");
    hit("pypi-token", &format!("pypi-AgEIcHlwaS5vcmc{}", cut(60)), "[]");
    hit("heliograph-token", &format!("hg_0123456789ab_{}", cut(43)), "[]");
    miss(&format!("hg_0123456789ab_{} hg_0123456789aX_{} glpat-short", cut(42), cut(43)));
    miss("xoxo-12345678901 npm_config_registry npm_package_dependencies_left_pad_with_zeros hooks.slack.com");
    miss(&format!("sk_test_{} task_live_{} pypi-airflow", cut(24), cut(24)));
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.¦SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    hit("jwt", &format!("for ({jwt}) ok"), "for ([]) ok");
    miss("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0 eyJhbGciOi.x.y my.eyJhbGciOiJIUzI1NiJ9");
}

#[test]
fn private_keys() {
    let body = format!("{0}\n{0}\nQmFzZTY0==", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".repeat(2));
    for kind in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
        hit(
            "private-key",
            &format!(
                "key:\n-----BEGIN {kind}PRI¦VATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----\nnext line"
            ),
            &format!("key:\n-----BEGIN {kind}PRIVATE KEY-----[]-----END {kind}PRIVATE KEY-----\nnext line"),
        );
        // Its end is missing, or lies in the next record.
        hit(
            "private-key",
            &format!("-----BEGIN {kind}PRI¦VATE KEY-----\n{body}\n[2026-01-01] INFO - next line"),
            &format!("-----BEGIN {kind}PRIVATE KEY-----[]\n[2026-01-01] INFO - next line"),
        );
    }
    let pgp = "-----BEGIN PGP PRI¦VATE KEY BLOCK-----\n\nlQOYBGYAAAABCADExampleExample\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----";
    hit("private-key", pgp, "-----BEGIN PGP PRIVATE KEY BLOCK-----[]-----END PGP PRIVATE KEY BLOCK-----");
    let old = "-----BEGIN RSA PRI¦VATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,ABCD\n\nMIIEvQIBADANBgkqhkiG9w0B\n";
    hit("private-key", old, "-----BEGIN RSA PRIVATE KEY-----[]\n");
    // Google's service accounts, as the text of JSON.
    hit(
        "private-key",
        &format!(
            r#""private_key": "-----BEGIN PRI¦VATE KEY-----\n{0}\n-----END PRIVATE KEY-----\n", "x": 1"#,
            body.replace('\n', r"\n")
        ),
        r#""private_key": "-----BEGIN PRIVATE KEY-----[]-----END PRIVATE KEY-----\n", "x": 1"#,
    );
    miss("-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END CERTIFICATE-----");
    miss("expected -----BEGIN PRIVATE KEY----- in the file, got -----END PRIVATE KEY-----\nBEGIN (implicit)");
}

#[test]
fn headers_and_urls() {
    hit("authorization-header", "> Authorization: Bearer abc123DEF", "> Authorization: Bearer []");
    hit(
        "authorization-header",
        "{'authorization': 'Basic YWRtaW46YWRtaW4='}",
        "{'authorization': 'Basic []'}",
    );
    hit(
        "authorization-header",
        r#"-H \"Proxy-Authorization: bearer x1y2z3\""#,
        r#"-H \"Proxy-Authorization: bearer []\""#,
    );
    miss(
        "Authorization: Bearer <token>, Authorization: Basic realm, authorization: bearer authentication failed",
    );
    let hit = |text: &str, expected: &str| hit("url-password", text, expected);
    hit(
        "postgresql+psycopg2://airflow:hunter2@db:5432/airflow",
        "postgresql+psycopg2://airflow:[]@db:5432/airflow",
    );
    hit(
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=postgres://a:p%40ss@db/x",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=postgres://a:[]@db/x",
    );
    hit("redis://:hunter2@redis:6379/0, ok", "redis://:[]@redis:6379/0, ok");
    hit("mysql://a:p@ss@db", "mysql://a:[]@db");
    hit("mysql://a:p/s?s#s+d==@db/x", "mysql://a:[]@db/x");
    hit("'https://u:p@h/a@b'", "'https://u:[]@h/a@b'");
    miss(
        "http://host:8080/a@b https://registry:4873/@scope/pkg http://h:80?x=a@b http://user@host:80/x s3://b/c:d@e",
    );
    miss(
        "docker://apache/airflow:2.10@sha256:abc docker://airflow:2.10@sha256:abc http://u:${PASSWORD}@h http://u:***@h",
    );
    miss("http://[::1]:8080/ http://host:8080 mail@example.org ://:@");
}

#[test]
fn what_is_airflows() {
    let fernet = "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyP¦w=";
    for name in ["AIRFLOW__CORE__FERNET_KEY=", "fernet_key = ", "\"fernet-key\": \"", "fernetKey: "] {
        hit("fernet-key", &format!("{name}{fernet}"), &format!("{name}[]"));
    }
    hit("fernet-key", &format!("FERNET_KEY={fernet},{fernet} x"), "FERNET_KEY=[] x");
    miss(
        "fernet_key = {FERNET_KEY} fernet_key is not set Could not create Fernet object: Fernet key must be 32 bytes",
    );
    hit(
        "airflow-connection",
        "AIRFLOW_CONN_S3=aws://?region_name=x&endpoint=y rest",
        "AIRFLOW_CONN_S3=aws://?[] rest",
    );
    hit(
        "url-password",
        "export AIRFLOW_CONN_DB='mysql://u:hunter2@h/d'",
        "export AIRFLOW_CONN_DB='mysql://u:[]@h/d'",
    );
    let (text, rules) = message("AIRFLOW_CONN_DB=mysql://u:hunter2@h/d?extra=hidden");
    assert_eq!(text, "AIRFLOW_CONN_DB=mysql://u:[redacted:url-password]@h/d?[redacted:airflow-connection]");
    assert_eq!(rules, ["url-password", "airflow-connection"]);
    miss("AIRFLOW_CONN_DB=sqlite:////tmp/x.db AIRFLOW_CONN_ID=my_conn");
}

#[test]
fn passwords_by_name() {
    let hit = |text: &str, expected: &str| hit("password", text, expected);
    hit("host=x user=y password=correcthorse dbname=z", "host=x user=y password=[] dbname=z");
    hit("connect(user='a', password='my pass, word')", "connect(user='a', password='[]')");
    hit(r#"{"user": "a", "password": "hunter2", "x": 1}"#, r#"{"user": "a", "password": "[]", "x": 1}"#);
    hit(r#"{\"password\": \"hunter2\"}"#, r#"{\"password\": \"[]\"}"#);
    hit(r#""password": "a\"b\\c""#, r#""password": "[]""#);
    hit("POST /login?username=a&password=hunter2&next=x", "POST /login?username=a&password=[]&next=x");
    hit("DB_PASSWORD=s3cret! rest", "DB_PASSWORD=[] rest");
    hit("Login with username: admin  password: 7Kx8sPq2ZtQw", "Login with username: admin  password: []");
    hit("dbPassword: b'hunter2'", "dbPassword: b'[]'");
    hit("user=a, password=hunter2, host=b", "user=a, password=[], host=b");
    hit("SSH_PASSPHRASE='x' passphrase = 'open sesame'", "SSH_PASSPHRASE='x' passphrase = '[]'");
    miss(
        "password: must be given password=None, password=*** password=<hidden> password=${DB_PASSWORD} password=$PW",
    );
    miss("password=password, password=self.password) password=conn.password2 or x, password=get_password(1)");
    miss(
        "Enter password: Wrong password. passwords=3 password == 'x1' password_hash=abc123 passwd: /etc/passwd2",
    );
    miss(
        "user = security_manager.auth_user_db(auth.username, auth.password)\n    def f(password: str = None)",
    );
    miss(r#""password": "", "password": "********", "password": "Give a password.", 'password': 'None'"#);
    miss("password=[redacted:password] Password: 2024-05-06 PASSWORD\npassword");
}

#[test]
fn random_values_by_name() {
    let random = "k3J9xQ2mP7vL5nR8tW4y";
    for (rule, names) in [
        ("secret", ["client_secret=", "SECRET_KEY = ", "\"secret\": \""]),
        ("api-key", ["api_key=", "X-Api-Key: ", "'apiKey': '"]),
        ("token", ["access_token=", "AUTH_TOKEN=", "\"token\" : \""]),
    ] {
        for name in names {
            hit(rule, &format!("{name}{random}"), &format!("{name}[]"));
        }
    }
    hit(
        "token",
        "GET /logs/1?map_index=-1&token=.eJwVy8EKgzAMANBfGb&x=1",
        "GET /logs/1?map_index=-1&token=[]&x=1",
    );
    miss(&format!(
        "next_page_token={random} NextToken={random} continuationToken: {random} tokens={random} token {random}"
    ));
    miss(
        "token=4096 max_token: 12345678901234567890 token=None token=self._token2.value secret='airflow-secrets-prod-2'",
    );
    miss(
        "token=%2A%2A%2A path=/auth/token query= token: /var/run/secrets/kubernetes.io/serviceaccount/token1a2b3c4d",
    );
    miss(
        "secretName: default-token-x7k2p api_key=settings.API_KEY_V2_OLD3 Secrets backends loaded: 2 token_type=bearer",
    );
}

#[test]
fn attributes_are_judged_by_their_keys_and_whatever_their_escapes() {
    let check = |object: &str, expected: &str| {
        let redacted = redact_by(defaults(), "t", &[record(1, "", &object.replace('¦', ""))]);
        let (records, _) = redacted.expect("a secret");
        assert_eq!(records[0].attributes.as_json(), expected);
        assert!(redact_by(defaults(), "t", &records).is_none(), "again: {expected}");
    };
    check(
        r#"{"password":"two words, one","n":12345678901234567890123,"e":1e400}"#,
        r#"{"password":"[redacted:password]","n":12345678901234567890123,"e":1e400}"#,
    );
    check(r#"{"a":{"db_password":["x1y",2]}}"#, r#"{"a":{"db_password":["[redacted:password]",2]}}"#);
    check(
        r#"{"headers":{"Authorization":"Bearer abc123"}}"#,
        r#"{"headers":{"Authorization":"Bearer [redacted:authorization-header]"}}"#,
    );
    check(
        r#"{"AIRFLOW__CORE__FERNET_KEY":"81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyP¦w="}"#,
        r#"{"AIRFLOW__CORE__FERNET_KEY":"[redacted:fernet-key]"}"#,
    );
    check(r#"{"url":"mysql:\/\/u:hunter2@h"}"#, r#"{"url":"mysql://u:[redacted:url-password]@h"}"#);
    check(r#"{"\u0070assword":"hunter2"}"#, r#"{"\u0070assword":"[redacted:password]"}"#);
    check(r#"{"x":"\ud800 password=hunter2 \""}"#, "{\"x\":\"\u{fffd} password=[redacted:password] \\\"\"}");
    let kept = r#"{"password":null,"password":5,"token":{"ghp":"x"},"a":"\u001b[0m\u00e9","c\"":"}"}"#;
    assert!(redact_by(defaults(), "t", &[record(1, "", kept)]).is_none());
}

#[test]
fn only_texts_change_and_only_of_the_rows_that_need_it() {
    let texts = [
        "",
        "pass",
        "word=hunter2",
        "password=hunter2",
        "",
        "x ://",
        "u:p@h",
        "glpat-0123456789012345678901",
    ];
    let records: Vec<_> = (0..).zip(texts).map(|(n, text)| record(n, text, "")).collect();
    let (redacted, counts) = redact_by(defaults(), "t", &records).unwrap();
    let mut expected = records;
    expected[3].message = "password=[redacted:password]".into();
    expected[7].message = "[redacted:gitlab-token]".into();
    assert_eq!(redacted, expected, "two rows' texts beside one another are not one text");
    assert_eq!(counts, [("gitlab-token".to_owned(), 1), ("password".to_owned(), 1)]);
}

#[test]
fn what_grows_beyond_its_bound_is_cut() {
    let (records, _) =
        redact_by(defaults(), "t", &[record(1, &"password=abcd ".repeat(70_000), "")]).unwrap();
    assert!(
        records[0].message.len() <= MESSAGE_BYTES_MAX + CUT_MARK.len()
            && records[0].message.ends_with(CUT_MARK)
    );
    let object = format!("{{\"a\":\"{}\"}}", "password=abcd ".repeat(18_000));
    let (records, _) = redact_by(defaults(), "t", &[record(1, "", &object)]).unwrap();
    assert_eq!(records[0].attributes.as_json(), Attributes::cut_json());
    // More brackets than are read without being built, and a number that cannot be.
    let deep =
        format!(r#"{{"n":1e999,"a":{}{}{},"password":"hunter2"}}"#, "[".repeat(98), "1", "]".repeat(98));
    let (records, _) = redact_by(defaults(), "t", &[record(1, "", &deep)]).unwrap();
    let kept = records[0].attributes.as_json();
    assert_eq!(Attributes::check_json(kept).unwrap(), kept, "as it is read again");
    assert!(!kept.contains("hunter2"));
}

#[test]
fn own_rules_are_for_those_they_name() {
    let rule = |name, pattern, tenants: &[&str]| {
        OwnRule::new(name, pattern, tenants.iter().map(|t| tenant(t)).collect()).unwrap()
    };
    let own = vec![
        rule("customer", r"customer (?P<secret>\d{4,})", &["a", "b"]),
        rule("case", r"(?i)CASE-[0-9]+", &[]),
        rule("mark", "redacted", &[]),
    ];
    let redactor = Redactor::new(&BTreeSet::from(["password".to_owned()]), own).unwrap();
    let records = [record(1, "customer 12345, case-7, password=hunter2", r#"{"x":"customer 99999"}"#)];
    let (redacted, counts) = redact_by(&redactor, "a", &records).unwrap();
    assert_eq!(&*redacted[0].message, "customer [redacted:customer], [redacted:case], password=hunter2");
    assert_eq!(redacted[0].attributes.as_json(), r#"{"x":"customer [redacted:customer]"}"#);
    assert_eq!(counts, [("customer".to_owned(), 2), ("case".to_owned(), 1)]);
    assert!(redact_by(&redactor, "a", &redacted).is_none(), "again");
    let (redacted, _) = redact_by(&redactor, "c", &records).unwrap();
    assert_eq!(&*redacted[0].message, "customer 12345, [redacted:case], password=hunter2");
}

#[test]
fn own_rules_that_cannot_be_are_refused() {
    let refused =
        |name: &str, pattern: &str| OwnRule::new(name, pattern, BTreeSet::new()).unwrap_err().to_string();
    let check = |pattern: &str, reason: &str| {
        let text = refused("x", pattern);
        assert!(text.ends_with(reason), "{text}");
    };
    check("a*", "it matches the empty text, or nothing at all");
    check(r"\b", "it matches the empty text, or nothing at all");
    check("[a&&b]", "it matches the empty text, or nothing at all");
    check("(", "error: unclosed group");
    check("(?=a)", "error: look-around, including look-ahead and look-behind, is not supported");
    check(r"\w{1000}{1000}", "it is too large: use fewer or smaller repetitions");
    check(&"a".repeat(1001), "it is longer than 1000 bytes");
    for name in ["", "No", "a_b", "ä", &"a".repeat(41)] {
        assert!(refused(name, "a").ends_with("1 to 40 of a-z, 0-9 and '-'"));
    }
    let new = |disabled: &[&str], own: &[&str]| {
        let disabled = disabled.iter().map(|name| (*name).to_owned()).collect();
        let own = own.iter().map(|name| OwnRule::new(name, "a", BTreeSet::new()).unwrap()).collect();
        Redactor::new(&disabled, own).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(new(&["jwt"], &["mine"]), Ok(()));
    let unknown = r#"invalid redaction rule name "jvt": not the name of a default rule"#;
    assert_eq!(new(&["jvt"], &[]), Err(unknown.to_owned()));
    let twice = r#"invalid redaction rule name "jwt": another rule has this name"#;
    assert_eq!(new(&["jwt"], &["jwt"]), Err(twice.to_owned()));
}

#[test]
fn the_literals_are_few_enough_for_vector_instructions_and_none_begins_another() {
    let rules = rules::compile(|_| true).unwrap();
    let anchors: BTreeSet<_> = rules.iter().flat_map(|rule| rule.anchors).copied().collect();
    assert!(anchors.len() <= 64, "{}", anchors.len());
    for (a, b) in anchors.iter().zip(anchors.iter().skip(1)) {
        assert!(!b.starts_with(a), "{a} hides {b}");
    }
    assert!(names_of(&rules).len() == default_names().count() && anchors.iter().all(|a| a.len() >= 3));
}

fn names_of(rules: &[Rule]) -> BTreeSet<&str> {
    rules.iter().map(|rule| rule.name).collect()
}

#[test]
fn real_logs_of_airflow_keep_every_byte() {
    const LOGS: [&str; 7] = [
        include_str!("../../tests/data/airflow/af2_json.log"),
        include_str!("../../tests/data/airflow/af2_text.log"),
        include_str!("../../tests/data/airflow/af3_json.log"),
        include_str!("../../tests/data/airflow/af3_task.log"),
        include_str!("../../tests/data/airflow/af3_text.log"),
        include_str!("../../tests/data/airflow/stderr.log"),
        include_str!("../../tests/data/airflow/webserver.log"),
    ];
    for log in LOGS {
        let lines: Vec<_> = (0..).zip(log.lines()).map(|(n, line)| record(n, line, "")).collect();
        let redacted = redact_by(defaults(), "t", &lines);
        let changed = redacted.map(|(records, _)| {
            records
                .into_iter()
                .zip(&lines)
                .filter(|(a, b)| a != *b)
                .map(|(a, _)| a.message)
                .collect::<Vec<_>>()
        });
        assert_eq!(changed, None);
    }
}

/// Pieces of which texts with and without secrets are made.
fn pieces() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "password=",
        "\"password\": \"",
        "token: ",
        "secret_access_key=",
        "://",
        "u:",
        "@host/x ",
        "ghp_",
        "glpat-",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.",
        "-----BEGIN PRIVATE KEY-----\n",
        "\n-----END PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEF",
        "Authorization: Bearer ",
        "hunter2",
        "k3J9xQ2mP7vL5nR8tW4y",
        "AIRFLOW_CONN_X=",
        "?a=",
        "\"",
        "'",
        "\\\"",
        " ",
        ",",
        "[redacted:jwt]",
        "[redacted:",
        "]",
        "ä",
        "AccountKey=",
        "hg_",
        "\\n",
        "=",
    ];
    let piece = prop_oneof![8 => prop::sample::select(KNOWN).prop_map(str::to_owned), 1 => "[ -~é]{0,6}"];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_second_look_finds_nothing_and_what_is_no_secret_stays(text in pieces(), key in "(password|token|a|[a-z]{0,3})") {
        let redactor = defaults();
        let secrets = redactor.find(Text { text: &text, value_at: 0 });
        let mut kept = (String::new(), 0);
        for Secret { bytes, rule } in &secrets {
            kept.0 += text.get(kept.1..bytes.start).expect("in order, at the edges of characters");
            kept.0 += &format!("[redacted:{}]", redactor.names().nth(*rule).unwrap());
            kept.1 = bytes.end;
        }
        kept.0 += &text[kept.1..];
        let (once, _) = message(&text);
        prop_assert_eq!(&once, &kept.0);
        prop_assert_eq!(message(&once), (once.clone(), Vec::new()));

        let object = serde_json::json!({ key: [text], "n": 1.5 }).to_string();
        if let Some((records, _)) = redact_by(redactor, "t", &[record(1, "", &object)]) {
            serde_json::from_str::<serde_json::Value>(records[0].attributes.as_json()).unwrap();
            prop_assert!(redact_by(redactor, "t", &records).is_none(), "{:?}", records[0].attributes);
        }
    }
}
