//! The command line: a contract. Holds only commands that work.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_store::catalog::Role;
use heliograph_store::retention::Own;
use secrecy::SecretString;

use crate::config::{Bytes, Span};

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
    /// Tenants, users, grants and tokens; works beside a running server
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

/// Which server's data an admin command works on.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Folder of `heliograph up` [default: ./heliograph-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file that says where catalog, storage and keys lie
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Machines' credentials
    #[command(subcommand)]
    Token(TokenCommand),
    /// People who sign in
    #[command(subcommand)]
    User(UserCommand),
    /// What people may do
    #[command(subcommand)]
    Grant(GrantCommand),
    /// What each tenant has stored in segments
    Usage {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant, with a key of its own
    Create {
        name: TenantId,
        /// The workspace it belongs to
        #[arg(long, default_value = "default")]
        workspace: Workspace,
        #[command(flatten)]
        place: Place,
    },
    /// List all tenants
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Show how long a tenant's records are kept, and set it
    Retention {
        name: TenantId,
        /// Up to this age, as in 30d; or `unlimited`; or `default`, as the configuration says for all
        #[arg(long, value_parser = parse_own_age)]
        age: Option<Own<Duration>>,
        /// Up to so many stored bytes, as in "50 GiB"; or `unlimited`; or `default`
        #[arg(long, value_parser = parse_own_bytes)]
        bytes: Option<Own<u64>>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it: it is not shown again
    Create {
        /// The one tenant that it is for
        #[arg(long)]
        tenant: TenantId,
        /// What it may do; repeat for several
        #[arg(long = "role", required = true, value_parser = parse_role)]
        roles: Vec<Role>,
        /// How long it holds, as in 30d; without it, until revoked
        #[arg(long, value_parser = parse_span)]
        ttl: Option<Span>,
        #[command(flatten)]
        place: Place,
    },
    /// List tokens, without their secrets
    List {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        place: Place,
    },
    /// End a token now
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user; prints the generated password unless one is given
    Create {
        name: String,
        /// Platform administrator: sees every tenant
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        place: Place,
    },
    /// Give a new password and end all sessions; prints the generated one unless one is given
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        place: Place,
    },
    /// List all users
    List {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PasswordFrom {
    /// Read the password from the first line of standard input instead of generating one
    #[arg(long)]
    pub(crate) stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// Give a user a role
    Create(GrantWords),
    /// Take it back
    Revoke(GrantWords),
    /// List a user's roles
    List {
        #[arg(long)]
        user: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GrantWords {
    #[arg(long)]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) extent: ExtentWords,
    #[arg(long, value_parser = parse_role)]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Over what.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ExtentWords {
    /// Over one tenant
    #[arg(long)]
    pub(crate) tenant: Option<TenantId>,
    /// Over all tenants of a workspace, now and later
    #[arg(long)]
    pub(crate) workspace: Option<Workspace>,
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

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| {
        let names = Role::ALL.map(Role::as_str).join(", ");
        format!("there is no role {text:?}: the roles are {names}")
    })
}

fn parse_own_age(text: &str) -> Result<Own<Duration>, String> {
    parse_own(text, |text| parse_span(text).map(|span| span.0))
}

fn parse_own_bytes(text: &str) -> Result<Own<u64>, String> {
    parse_own(text, |text| {
        let bytes = Bytes::parse(text).filter(|bytes| bytes.0 > 0);
        bytes.map(|bytes| bytes.0).ok_or_else(|| format!("{text:?} is not a size like \"50 GiB\""))
    })
}

fn parse_own<T>(text: &str, limit: impl FnOnce(&str) -> Result<T, String>) -> Result<Own<T>, String> {
    match text {
        "default" => Ok(Own::Default),
        "unlimited" => Ok(Own::Unlimited),
        text => limit(text).map(Own::Limit),
    }
}

fn parse_span(text: &str) -> Result<Span, String> {
    Span::parse(text)
        .filter(|span| !span.0.is_zero())
        .ok_or_else(|| format!("{text:?} is not a length of time like \"12h\" or \"30d\""))
}
