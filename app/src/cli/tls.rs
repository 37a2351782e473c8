//! `admin tls …`: a private authority, its certificates, and what it takes back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make a private authority, and a certificate and key for each role; where the authority is there already, new
    /// certificates of it
    Init {
        /// Folder for all of it
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// A further DNS name or address of indexers and query nodes, or of one role as in query=logs.example.com; may
        /// be repeated
        #[arg(long = "name", value_name = "[ROLE=]NAME", value_parser = CertificateName::parse)]
        names: Vec<CertificateName>,
        #[command(flatten)]
        days: Days,
        /// Make a new authority in the place of one that is there: nobody trusts it until everybody has its ca.crt
        #[arg(long)]
        force: bool,
    },
    /// Make a certificate and key for the agent of one node alone, in DIR/agent-NAME; where they are there already, new ones
    Node {
        /// The node, as in `certificate` of indexer.nodes; may be several
        #[arg(required = true, value_name = "NAME", value_parser = parse_node)]
        nodes: Vec<String>,
        /// Folder of `admin tls init`
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        days: Days,
    },
    /// Take certificates of the authority back: they stand in DIR/ca.crl from then on, for client_crl_file
    Revoke {
        /// A file with one or more certificates in PEM, as in DIR/agent-NAME/tls.crt; may be several
        #[arg(required = true, value_name = "CERT")]
        certificates: Vec<PathBuf>,
        /// Folder of `admin tls init`
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Days {
    /// How long the certificates hold, five years at most; the authority holds ten
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=1825))]
    pub(crate) days: u16,
}

/// A name that certificates shall hold for: of one role, or of all that others connect to by name.
#[derive(Clone, Debug)]
pub(crate) struct CertificateName {
    pub(crate) role: Option<String>,
    pub(crate) name: String,
}

impl CertificateName {
    fn parse(text: &str) -> Result<Self, String> {
        let (role, name) = match text.split_once('=') {
            Some((role, name)) => (Some(role), name),
            None => (None, text),
        };
        if let Some(role) = role.filter(|role| !["indexer", "query", "agent"].contains(role)) {
            return Err(format!("there is no role {role:?}: the roles are indexer, query, agent"));
        }
        if !is_dns(name.strip_prefix("*.").unwrap_or(name)) && name.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("{name:?} is not a name like \"logs.example.com\" or an address"));
        }
        Ok(Self { role: role.map(str::to_owned), name: name.to_owned() })
    }
}

fn is_dns(name: &str) -> bool {
    let of_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.split('.').all(of_label) && name.len() <= 253
}

/// A node's certificate names nobody but it: not a role, whom others would take it for.
fn parse_node(name: &str) -> Result<String, String> {
    if !is_dns(name) || name.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{name:?} is not a name of a node like \"node-7\""));
    }
    let lower = name.to_ascii_lowercase();
    if lower == "localhost" || lower.starts_with("heliograph-") {
        return Err(format!("{name:?} is what a role is called: give the node another name"));
    }
    Ok(name.to_owned())
}
