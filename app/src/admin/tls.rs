//! `admin tls …`: a private authority, a certificate with its key for each role and for single nodes, and what is taken back.
//!
//! ```text
//! DIR/ca.crt  DIR/ca.key  DIR/ca.crl           the authority; its key signs, and is needed nowhere else; what it took back
//! DIR/{indexer,query,agent}/ca.crt ca.crl tls.crt tls.key   what each role is given, named as in Secrets of Kubernetes
//! DIR/agent-NODE/ca.crt tls.crt tls.key former.crt          likewise one node's agent; its certificates before
//! ```

mod revoke;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use heliograph_model::time::Clock;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;

use crate::cli::{CertificateName, TlsCommand};
use crate::clock::SystemClock;
use crate::console;
use crate::exit::{Failure, Outcome};

/// How long the authority holds.
const AUTHORITY_DAYS: i64 = 3650;
/// Machines whose clocks are behind take a new certificate all the same.
const CLOCKS_DIFFER: Duration = Duration::hours(1);
/// For keys, and for folders that hold them.
const OWNER_ONLY: (u32, u32) = (0o600, 0o700);
const READABLE: u32 = 0o644;

/// What a role's certificate is for.
struct RoleOf {
    name: &'static str,
    /// Where others find it besides the names that are asked for; the first is the role's own.
    names: &'static [&'static str],
    /// Whether further names hold for it that name no role.
    is_named: bool,
    uses: &'static [ExtendedKeyUsagePurpose],
}

const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;
const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;
const ROLES: [RoleOf; 3] = [
    RoleOf {
        name: "indexer",
        names: &["heliograph-indexer", "localhost", "127.0.0.1", "::1"],
        is_named: true,
        uses: &[SERVER],
    },
    RoleOf {
        name: "query",
        names: &["heliograph-query", "localhost", "127.0.0.1", "::1"],
        is_named: true,
        uses: &[SERVER, CLIENT],
    },
    RoleOf { name: "agent", names: &["heliograph-agent"], is_named: false, uses: &[SERVER, CLIENT] },
];

/// The authority in use.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    end: OffsetDateTime,
    is_new: bool,
}

/// Does what is asked, and prints what was made and where it belongs.
pub(super) async fn run(command: TlsCommand) -> Outcome {
    let said = tokio::task::spawn_blocking(move || match command {
        TlsCommand::Init { dir, names, days, force } => init(&dir, &names, days.days, force),
        TlsCommand::Node { nodes, dir, days } => of_nodes(&dir, &nodes, days.days),
        TlsCommand::Revoke { certificates, dir } => revoke::revoke(&dir, &certificates, now()?),
    });
    let said = said.await;
    let said = said.context("the thread that makes keys has gone")?.map_err(Failure::Failed)?;
    Ok(console::output(said.as_bytes())?)
}

fn now() -> anyhow::Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(SystemClock.now().as_nanos().into())
        .context("the clock tells no time")
}

fn init(dir: &Path, names: &[CertificateName], days: u16, force: bool) -> anyhow::Result<String> {
    let now = now()?;
    make_dir(dir)?;
    let dir = &dir.canonicalize().with_context(|| dir.display().to_string())?;
    let authority = Authority::of(dir, now, force)?;
    let end = authority.end_within(dir, now, days)?;
    let list = revoke::list(dir, &authority, now)?;
    let what = if authority.is_new { "new authority" } else { "authority, as before" };
    let mut said = format!("{what}, until {}: {}\n", date(authority.end), dir.join("ca.crt").display());
    for role in &ROLES {
        let names = role.all_names(names);
        let folder = dir.join(role.name);
        make_dir(&folder)?;
        let subject = format!("heliograph {}", role.name);
        let (certificate, key) = issue(&subject, &names, role.uses, &authority, now, end)?;
        put(&folder.join("ca.crt"), &authority.pem, READABLE)?;
        put(&folder.join("ca.crl"), &list, READABLE)?;
        put(&folder.join("tls.key"), &key.serialize_pem(), OWNER_ONLY.0)?;
        put(&folder.join("tls.crt"), &certificate, READABLE)?;
        let (name, end, names) = (role.name, date(end), names.join(", "));
        said.push_str(&format!("{name:<8}until {end}: {}, for {names}\n", folder.display()));
    }
    said.push_str(&instructions(dir));
    Ok(said)
}

/// Makes a certificate and its key for each of these nodes' agents.
fn of_nodes(dir: &Path, nodes: &[String], days: u16) -> anyhow::Result<String> {
    let now = now()?;
    let authority = Authority::there(dir)?;
    let end = authority.end_within(dir, now, days)?;
    let mut said = String::new();
    for node in nodes {
        let folder = dir.join(format!("agent-{node}"));
        make_dir(&folder)?;
        let own = folder.join("tls.crt");
        if let Some(before) = read(&own)? {
            // It holds until it is taken back, and there is no other copy of it here.
            let former = folder.join("former.crt");
            put(&former, &format!("{}{before}", read(&former)?.unwrap_or_default()), READABLE)?;
        }
        let (certificate, key) =
            issue(node, std::slice::from_ref(node), &[SERVER, CLIENT], &authority, now, end)?;
        put(&folder.join("ca.crt"), &authority.pem, READABLE)?;
        put(&folder.join("tls.key"), &key.serialize_pem(), OWNER_ONLY.0)?;
        put(&own, &certificate, READABLE)?;
        said.push_str(&format!("{node} until {}: {}\n", date(end), folder.display()));
    }
    said.push_str(
        "\nGive each node its folder, as [tls] of its agent, and name the nodes in the configuration of indexers:\n",
    );
    for node in nodes {
        said.push_str(&format!("\n[[indexer.nodes]]\ncertificate = \"{node}\"\ntenants = [\"…\"]\n"));
    }
    Ok(said)
}

/// A new key, and the certificate for it.
fn issue(
    subject: &str,
    names: &[String],
    uses: &[ExtendedKeyUsagePurpose],
    authority: &Authority,
    now: OffsetDateTime,
    end: OffsetDateTime,
) -> anyhow::Result<(String, KeyPair)> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, subject);
    (params.not_before, params.not_after) = (now - CLOCKS_DIFFER, end);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = uses.to_vec();
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, &authority.issuer)?.pem(), key))
}

impl RoleOf {
    fn all_names(&self, further: &[CertificateName]) -> Vec<String> {
        let holds = |name: &&CertificateName| match &name.role {
            Some(role) => role == self.name,
            None => self.is_named,
        };
        let mut names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        for CertificateName { name, .. } in further.iter().filter(holds) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

impl Authority {
    /// The one that is there.
    fn there(dir: &Path) -> anyhow::Result<Self> {
        let missing = || anyhow!("there is no authority in {}: make one by `admin tls init`", dir.display());
        let pem = read(&dir.join("ca.crt"))?.ok_or_else(missing)?;
        let key = read(&dir.join("ca.key"))?.ok_or_else(missing)?;
        Self::load(pem, &key).with_context(|| format!("the authority in {}", dir.display()))
    }

    /// When certificates end that hold for so many days: not after the authority.
    fn end_within(&self, dir: &Path, now: OffsetDateTime, days: u16) -> anyhow::Result<OffsetDateTime> {
        let end = now + Duration::days(days.into());
        if self.end < end {
            let (left, dir) = ((self.end - now).whole_days(), dir.display());
            bail!("the authority in {dir} ends in {left} days: give fewer --days, or --force for a new one");
        }
        Ok(end)
    }

    /// The one that is there, or a new one where nothing is, or where that is wanted.
    fn of(dir: &Path, now: OffsetDateTime, force: bool) -> anyhow::Result<Self> {
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if force {
            return Self::make(&certificate, &key, now);
        }
        match (read(&certificate)?, read(&key)?) {
            (Some(pem), Some(key)) => {
                Self::load(pem, &key).with_context(|| format!("the authority in {}", dir.display()))
            }
            (None, None) => {
                let foreign =
                    ROLES.iter().flat_map(|role| ["tls.crt", "tls.key"].map(|f| dir.join(role.name).join(f)));
                for path in foreign {
                    if fs::exists(&path).with_context(|| path.display().to_string())? {
                        bail!(
                            "{} is there, but no authority: give another --dir, or --force",
                            path.display()
                        );
                    }
                }
                Self::make(&certificate, &key, now)
            }
            _ => bail!(
                "of {} and {} only one is there: bring the other back, or give --force for a new authority",
                certificate.display(),
                key.display()
            ),
        }
    }

    fn make(certificate: &Path, key_file: &Path, now: OffsetDateTime) -> anyhow::Result<Self> {
        let end = now + Duration::days(AUTHORITY_DAYS);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Heliograph authority of {}", date(now)));
        (params.not_before, params.not_after) = (now - CLOCKS_DIFFER, end);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        put(key_file, &key.serialize_pem(), OWNER_ONLY.0)?;
        put(certificate, &pem, READABLE)?;
        Ok(Self { issuer: Issuer::new(params, key), pem, end, is_new: true })
    }

    fn load(pem: String, key: &str) -> anyhow::Result<Self> {
        // What is wrong with a key is told without a word of it.
        let key = KeyPair::from_pem(key).map_err(|_| anyhow!("ca.key is not a key in PEM"))?;
        let (_, parsed) = parse_x509_pem(pem.as_bytes()).context("ca.crt is not a certificate in PEM")?;
        let certificate = parsed.parse_x509().context("ca.crt is not a certificate")?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            bail!("ca.key is not the key of ca.crt");
        }
        let end = certificate.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
        Ok(Self { issuer, pem, end, is_new: false })
    }
}

/// What to put where; to be read, and to be copied from.
fn instructions(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "
Give each machine the folder of its role, and keep {dir}/ca.key away from all of them. Then, in the configuration:

[indexer.tls]                          # of indexers: agents and query nodes prove themselves
cert_file = \"{dir}/indexer/tls.crt\"
key_file = \"{dir}/indexer/tls.key\"
client_ca_file = \"{dir}/indexer/ca.crt\"
client_crl_file = \"{dir}/indexer/ca.crl\"   # what `admin tls revoke` takes back

[query.tls]                            # of query nodes: the page and the API
cert_file = \"{dir}/query/tls.crt\"
key_file = \"{dir}/query/tls.key\"

[tls]                                  # how query nodes reach indexers; of agents likewise, with agent/ for query/
ca_file = \"{dir}/query/ca.crt\"
cert_file = \"{dir}/query/tls.crt\"
key_file = \"{dir}/query/tls.key\"

Addresses of indexers (agent.indexers, indexer.advertise) begin with https:// then. Before these certificates end, run
the same again and bring out the new ones: running processes take them within seconds.
"
    )
}

fn date(time: OffsetDateTime) -> String {
    Timestamp::from_second(time.unix_timestamp())
        .map_or_else(|_| time.unix_timestamp().to_string(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn make_dir(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY.1)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Puts a file in the place as a whole, and never where more than `mode` may read it.
fn put(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let write = || {
        match fs::remove_file(&fresh) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
