//! For each default rule what it takes, and what comes near to that.

use super::*;

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
    let cut = |n: usize| long.get(..n).unwrap();
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
    hit("smtp://me@example.org:hunter2@mail:25", "smtp://me@example.org:[]@mail:25");
    miss("ssh://git@host:org/repo@v1 http://me@host:80/a@b");
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
    miss("://[redacted:aws-access-key-id]@host/x");
    miss("token: k3J9xQ2mP7vL5nR8tW4y[redacted:airflow-connection]");
    miss("bad password: error: wrong! password: None. password: token: x");
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
