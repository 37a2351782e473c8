//! The command line: a contract. Holds only commands that work.

mod admin;
mod invite;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use heliograph_model::tenant::TenantId;
use secrecy::SecretString;

pub(crate) use admin::{
    AdminCommand, AuditCommand, Erase, EraseCommand, ExtentWords, GrantCommand, GrantWords, KeyCommand,
    LimitWords, PasswordFrom, Place, SessionsCommand, TenantCommand, TokenCommand, UserCommand,
};
pub(crate) use invite::{Invite, InviteCommand};
pub(crate) use tls::{CertificateName, TlsCommand};

/// The log plane of multi-tenant Airflow: every line, once, within a quarter of a second.
#[derive(Debug, Parser)]
#[command(name = "heliograph", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process
    Up(Up),
    /// Run the agent: follow this node's log files and ship their records
    Agent(ConfigFile),
    /// Run the indexer: make records durable, then searchable
    Indexer(ConfigFile),
    /// Run the query role: API, live tail and page
    Query(ConfigFile),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Tenants, users, grants, tokens, limits, usage, erasures, backups and certificates; works beside a running server
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Find records
    Search(Search),
    /// Follow records as they are written
    Tail(Tail),
    /// Show the records around one, in its source
    Context(Context),
    /// Write all records of a query to standard output
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for all that is kept [default: ./heliograph-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Replay bundled Airflow logs of several tenants, as if they were written now
    #[arg(long)]
    pub(crate) demo: bool,
    /// Follow the files of this glob as tenant `default`; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) logs: Vec<String>,
    /// Address of API and page; wins over query.listen [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration file; environment variables like HELIOGRAPH_QUERY__LISTEN win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report every mistake
    Check(ConfigFile),
    /// Show the values in effect, without secrets
    Show(ConfigFile),
}

/// Which server a client talks to, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server's address
    #[arg(long, env = "HELIOGRAPH_URL", default_value = "http://127.0.0.1:7700")]
    pub(crate) url: String,
    /// A token with role viewer; rather set HELIOGRAPH_TOKEN than show it in the list of processes
    #[arg(long, env = "HELIOGRAPH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<SecretString>,
    /// PEM file with authorities to trust besides the system's
    #[arg(long, value_name = "FILE", env = "HELIOGRAPH_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// What to look for, as in: error AND dag_id:etl; nothing means everything
    #[arg(default_value = "")]
    pub(crate) query: String,
    /// Only this tenant's; may be repeated [default: all that you may read]
    #[arg(long)]
    pub(crate) tenant: Vec<TenantId>,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) server: Server,
    /// From when: 15m, now-2h, 2026-11-24T10:00:00Z [default: all that is kept]
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Up to when, likewise
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// At most so many records
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u64,
    /// Newest or oldest first [default: the newest records, in the order they were written]
    #[arg(long, value_enum)]
    pub(crate) order: Option<Order>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    Asc,
    Desc,
}

impl Order {
    /// The order's name in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Begin with what was written since then: 15m, now-2h, 2026-11-24T10:00:00Z
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Context {
    /// The record's id, as --json shows it
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Whose record it is, where you may read several tenants
    #[arg(long)]
    pub(crate) tenant: Vec<TenantId>,
    /// How many records before it
    #[arg(long, default_value_t = 20)]
    pub(crate) before: u32,
    /// How many records after it
    #[arg(long, default_value_t = 20)]
    pub(crate) after: u32,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) server: Server,
    /// From when: 15m, now-2h, 2026-11-24T10:00:00Z [default: all that is kept]
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Up to when, likewise
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Newest or oldest first
    #[arg(long, value_enum, default_value_t = Order::Asc)]
    pub(crate) order: Order,
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    pub(crate) format: ExportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Ndjson,
    Text,
    Csv,
}
