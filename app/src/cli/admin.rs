//! What administrators can ask for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER_PERMISSIVE;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_store::audit::Seen;
use heliograph_store::catalog::{Bound, Role};
use heliograph_store::retention::Own;
use uuid::Uuid;

use super::invite::InviteCommand;
use super::tls::TlsCommand;
use crate::config::{Bytes, Span};

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
    /// Links by which people make their own account
    #[command(subcommand)]
    Invite(InviteCommand),
    /// The master keys, which wrap tenants' keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// What tenants have stored, and the limits that are their own
    Usage {
        /// Only this tenant
        #[arg(long)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        place: Place,
    },
    /// Remove the records that a query finds, for ever, and print what was removed; waits for running indexers
    Erase(Erase),
    /// What was done and asked, by whom
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Copy the catalog, or one tenant with all its records, into a new folder; works beside a running server
    Backup {
        /// Folder that is new or empty
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Only this tenant, with its records
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Copy the master key, too: whoever has such a backup reads everything
        #[arg(long)]
        with_master_key: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Certificates of a cluster
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Bring back what `backup` copied: a catalog into an empty place, a tenant where it is not
    Restore {
        /// Folder of the backup
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Of a tenant: give it this name
        #[arg(long, value_name = "NAME")]
        r#as: Option<TenantId>,
        /// Of a tenant: the master key of the place that it comes from, if another than here
        #[arg(long, value_name = "FILE")]
        master_key_file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Look whether the log is whole: no row changed, missing, or put in; prints the last row, to be kept elsewhere
    Verify {
        /// A last row that was printed earlier: it must be in the log
        #[arg(long, value_name = "ROW:HASH", value_parser = parse_seen)]
        seen: Option<Seen>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the log as lines of JSON, the oldest first
    Export {
        /// From when: 15m, now-2h, 2026-11-24T10:00:00Z [default: all that is kept]
        #[arg(long)]
        since: Option<String>,
        /// Up to when, likewise
        #[arg(long)]
        until: Option<String>,
        /// Only what is about a tenant of this name
        #[arg(long)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Erase {
    #[command(subcommand)]
    pub(crate) command: Option<EraseCommand>,
    /// Whose records
    #[arg(long, required = true)]
    pub(crate) tenant: Option<TenantId>,
    /// Which of them, as a search finds them
    #[arg(long, required_unless_present = "everything")]
    pub(crate) query: Option<String>,
    /// From when: 15m, now-2h, 2026-11-24T10:00:00Z [default: all that is kept]
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Up to when, likewise
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Destroy the tenant's key, and the tenant with all that it has: records, tokens, grants, settings. Nothing brings
    /// it back
    #[arg(long, conflicts_with_all = ["query", "since", "until"])]
    pub(crate) everything: bool,
    /// With --everything, the tenant's name once more
    #[arg(long, value_name = "NAME", requires = "everything")]
    pub(crate) confirm: Option<String>,
    /// Only count what is sealed and would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the receipt as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EraseCommand {
    /// List all erasures
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Print the receipt of one, as far as it is
    Show {
        /// Its id, as `erase list` shows it
        id: Uuid,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Look whether a tenant has any record that a query means: reads every segment and write-ahead object whole, and
    /// asks no index. Without a query, look whether anything is left of a tenant that was erased with everything
    Check {
        /// Whose records
        #[arg(long)]
        tenant: TenantId,
        /// Which of them
        #[arg(long)]
        query: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the keys of the key file, and how many tenants' keys each wraps
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Put a new key first into the key file; the others stay
    Add {
        /// Only print a new key, for a Secret that others put in place
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Go over to the first key of the file: wraps all tenants' keys anew, beside running servers
    Rotate {
        #[command(flatten)]
        place: Place,
    },
    /// Take all keys but the first out of the file; refused as long as one is needed
    Forget {
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
    /// Set what a tenant may use other than all may, and show what is set
    Limits {
        name: TenantId,
        #[command(flatten)]
        limits: LimitWords,
        #[command(flatten)]
        place: Place,
    },
    /// Set how long a tenant's records are kept, and show what is set
    Retention {
        name: TenantId,
        /// Up to this age: 30d, unlimited, or default (as for all)
        #[arg(long, value_name = "AGE", value_parser = parse_own_age)]
        age: Option<Own<Duration>>,
        /// Up to so many bytes of segments, the oldest go first: 50GiB, unlimited, or default
        #[arg(long, value_name = "SIZE", value_parser = parse_own_bytes)]
        bytes: Option<Own<u64>>,
        #[command(flatten)]
        place: Place,
    },
}

/// Limits as people write them: a size, `none`, or `default`; what is not named stays as it is.
#[derive(Debug, Args)]
pub(crate) struct LimitWords {
    /// Bytes of records a second, before compression, at each indexer: 5MiB, none, or default (as for all)
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    pub(crate) ingest: Option<Limit>,
    /// Bytes that may come at once
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    pub(crate) burst: Option<Limit>,
    /// Memory of records that are not sealed, at each indexer
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    pub(crate) hot: Option<Limit>,
    /// Bytes of segments
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    pub(crate) stored: Option<Limit>,
}

/// A limit that is set, or nothing where the one for all shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Bound>);

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
    /// Lock a user out: no credential of theirs is good, and all sessions end
    Disable {
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Let a user in again
    Enable {
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Where a user is signed in
    #[command(subcommand)]
    Sessions(SessionsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// End all of them
    End {
        name: String,
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

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| {
        let names = Role::ALL.map(Role::as_str).join(", ");
        format!("there is no role {text:?}: the roles are {names}")
    })
}

fn parse_seen(text: &str) -> Result<Seen, String> {
    let seen = text.split_once(':').and_then(|(seq, hash)| {
        let hash = HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok()?;
        Some(Seen { seq: seq.parse().ok()?, hash })
    });
    seen.ok_or_else(|| {
        format!("{text:?} is not a row as `audit verify` prints it: its number, a colon, its hash")
    })
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    match text {
        "default" => Ok(Limit(None)),
        "none" => Ok(Limit(Some(Bound::Unbounded))),
        size => match Bytes::parse(size) {
            Some(Bytes(bytes)) if bytes > 0 && i64::try_from(bytes).is_ok() => {
                Ok(Limit(Some(Bound::new(bytes))))
            }
            _ => Err(format!("{size:?} is not a size like \"5MiB\", \"none\" or \"default\"")),
        },
    }
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

pub(super) fn parse_span(text: &str) -> Result<Span, String> {
    Span::parse(text)
        .filter(|span| !span.0.is_zero())
        .ok_or_else(|| format!("{text:?} is not a length of time like \"12h\" or \"30d\""))
}
