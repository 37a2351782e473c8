//! Clients' certificates that their authority has taken back.

use heliograph_serve::{ClientCertificates, Renewal};
use prometheus::Registry;

use crate::authority::Authority;
use crate::{Server, open, ours, start};

const REQUIRED: ClientCertificates = ClientCertificates::Required;
/// A time that has not come, and one that has gone, in seconds since 1970.
const LATER: i64 = u32::MAX as i64;
const GONE: i64 = 1_000_000_000;
const NAME: &str = "agent.example";
const KNOWN: &str = "the agent.example: agent.example";

fn known() -> Result<String, String> {
    Ok(KNOWN.to_owned())
}

#[track_caller]
fn refused(got: Result<String, String>) {
    let error = got.unwrap_err();
    assert!(error.contains("CertificateRevoked"), "{error}");
}

#[tokio::test]
async fn what_is_revoked_is_refused_and_its_connections_end_at_the_renewal() {
    let (authority, folder) = ours();
    let [stolen, other] = [authority.issue(NAME), authority.issue(NAME)];
    let server = start(folder.files_with_list(&authority, &authority.list(&[], LATER), REQUIRED), 8).await;
    // Kept connections of both versions of HTTP.
    let clients = |own| {
        let builder = || authority.client(Some(own));
        [builder(), builder().http1_only()].map(|builder| builder.build().unwrap())
    };
    let (of_thief, of_other) = (clients(&stolen), clients(&other));
    for client in of_thief.iter().chain(&of_other) {
        assert_eq!(server.get(client, "/who").await, known());
    }
    folder.write("clients.crl", &authority.list(&[&stolen], LATER));
    assert_eq!(server.tls.renew().await, Renewal::Renewed);
    // Those that are kept are gone, and no new one begins.
    until_shown(&server, "heliograph_tls_connections_ended_total{role=\"test\"} 2").await;
    for (thief, other) in of_thief.iter().zip(&of_other) {
        refused(server.get(thief, "/who").await);
        assert_eq!(server.get(other, "/who").await, known());
    }
    server.shows("heliograph_tls_connections_ended_total{role=\"test\"} 2");
}

/// Tasks that end connections have their turn when we wait.
async fn until_shown(server: &Server, line: &str) {
    for _ in 0..1_000 {
        if server.said().lines().any(|said| said == line) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.shows(line);
}

#[tokio::test]
async fn a_list_that_is_broken_has_run_out_or_is_anothers_keeps_the_last_one() {
    let (authority, folder) = ours();
    let [stolen, other] = [authority.issue(NAME), authority.issue(NAME)];
    let files = folder.files_with_list(&authority, &authority.list(&[&stolen], LATER), REQUIRED);
    let server = start(files, 8).await;
    let clients = [&stolen, &other].map(|own| authority.client(Some(own)).build().unwrap());
    let holds = async || {
        refused(server.get(&clients[0], "/who").await);
        assert_eq!(server.get(&clients[1], "/who").await, known());
    };
    server.shows(&format!("heliograph_tls_revocation_list_expires_seconds{{role=\"test\"}} {LATER}"));
    holds().await;
    let bad = [
        String::new(),
        "-----BEGIN X509 CRL-----\nbm90IG9uZQ==\n-----END X509 CRL-----\n".to_owned(),
        authority.list(&[], GONE),
        Authority::new("theirs").list(&[], LATER),
        Authority::new("ours").list(&[], LATER),
    ];
    for (n, list) in bad.iter().enumerate() {
        folder.write("clients.crl", list);
        server.tls.renew().await;
        server.shows(&format!("heliograph_tls_reload_failures_total{{role=\"test\"}} {}", n + 1));
        holds().await;
    }
    std::fs::remove_file(folder.path("clients.crl")).unwrap();
    server.tls.renew().await;
    holds().await;
    // A new certificate of the port is taken all the same.
    folder.put(&authority.issue_until("127.0.0.1", 3_000_000_000));
    server.tls.renew().await;
    server.shows("heliograph_tls_certificate_expires_seconds{role=\"test\"} 3000000000");
    holds().await;
    folder.write("clients.crl", &authority.list(&[&other], LATER - 1));
    assert_eq!(server.tls.renew().await, Renewal::Renewed);
    refused(server.get(&authority.client(Some(&other)).build().unwrap(), "/who").await);
    server.shows(&format!("heliograph_tls_revocation_list_expires_seconds{{role=\"test\"}} {}", LATER - 1));
}

#[tokio::test]
async fn an_authority_without_a_list_has_taken_nothing_back() {
    let (authority, folder) = ours();
    let second = Authority::new("second");
    let [stolen, unlisted] = [authority.issue(NAME), second.issue(NAME)];
    let files = folder.files_with_list(&authority, &authority.list(&[&stolen], LATER), REQUIRED);
    folder.write("clients.crt", &format!("{}{}", authority.pem(), second.pem()));
    let server = start(files, 8).await;
    let client = |own| authority.client(Some(own)).build().unwrap();
    assert_eq!(server.get(&client(&unlisted), "/who").await, known());
    refused(server.get(&client(&stolen), "/who").await);
    // Each has its own.
    let both = format!("{}{}", authority.list(&[], LATER), second.list(&[&unlisted], LATER));
    folder.write("clients.crl", &both);
    assert_eq!(server.tls.renew().await, Renewal::Renewed);
    refused(server.get(&client(&unlisted), "/who").await);
    assert_eq!(server.get(&client(&stolen), "/who").await, known());
}

#[tokio::test]
async fn at_the_start_a_list_that_says_nothing_is_refused_by_its_field() {
    let (authority, folder) = ours();
    let check = async |list: &str, expected: &str| {
        let files = folder.files_with_list(&authority, list, ClientCertificates::Optional);
        let error = open(files, &Registry::new()).await.unwrap_err().to_string();
        assert!(error.contains("client_crl_file: ") && error.contains(expected), "{error}");
    };
    let of = |name: &str| Authority::new(name).list(&[], LATER);
    check("", "it has no revocation list: give PEM").await;
    check(&authority.pem(), "it has no revocation list: give PEM").await;
    check(&authority.list(&[], GONE), "has run out").await;
    check(&of("theirs"), "client_ca_file has no authority \"CN=theirs\"").await;
    check(&of("ours"), "is not signed by that authority's key").await;
    let twice = authority.list(&[], LATER).repeat(2);
    check(&twice, "two lists").await;
    let files = folder.files_with_list(&authority, "", ClientCertificates::Optional);
    std::fs::remove_file(folder.path("clients.crl")).unwrap();
    let error = open(files, &Registry::new()).await.unwrap_err().to_string();
    assert!(error.contains("client_crl_file"), "{error}");
}
