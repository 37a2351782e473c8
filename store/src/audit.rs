//! The audit log: who did or asked what, about which tenant, when, from where, and what came of it.
//!
//! A row is of one tenant or of none, so that an operator of a tenant can be shown exactly that tenant's rows. The
//! catalog keeps the rows as a chain of hashes, whose ends are held by a code that only the master key makes.

mod chain;
mod details;
mod log;
mod told;
mod verify;

use std::net::IpAddr;
use std::sync::Arc;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use uuid::Uuid;

pub use chain::{Head, HeadKey, Row};
pub use details::{DETAILS_BYTES_MAX, Details};
pub use log::Log;
pub(crate) use log::sign;
pub use told::Told;
pub use verify::{Seen, Verdict};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What was done or asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $variant,)*
        }

        impl Action {
            /// All actions.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The action's name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

actions! {
    /// A search for records.
    Search = "search",
    /// Counts by time.
    Histogram = "histogram",
    /// Counts by the values of a field.
    Values = "values",
    /// Which fields there are.
    Fields = "fields",
    /// The lines around a record.
    Context = "context",
    /// All records of a question.
    Export = "export",
    /// A live tail, or another query in one.
    Tail = "tail",
    /// A sign-in that was accepted.
    SessionCreate = "session.create",
    /// A credential that was refused.
    SessionRefused = "session.refused",
    /// A sender of records whose credential was refused, or who may not send that; as often as the details say.
    IngestRefused = "ingest.refused",
    /// A session, or all of somebody, that was ended by its owner or an administrator.
    SessionEnd = "session.end",
    /// Somebody was invited.
    InvitationCreate = "invitation.create",
    /// An invitation was taken back.
    InvitationRevoke = "invitation.revoke",
    /// An invitation was used.
    InvitationAccept = "invitation.accept",
    /// A list or receipt of the administration.
    AdminRead = "admin.read",
    /// The audit log itself was read or exported.
    AuditRead = "audit.read",
    /// Old rows of the audit log were dropped.
    AuditTrim = "audit.trim",
    /// A tenant was made.
    TenantCreate = "tenant.create",
    /// What a tenant may use was set.
    LimitsSet = "limits.set",
    /// How long a tenant's records are kept was set.
    RetentionSet = "retention.set",
    /// A user was made.
    UserCreate = "user.create",
    /// A password was set.
    UserPassword = "user.password",
    /// A user was locked out.
    UserDisable = "user.disable",
    /// A user was let in again.
    UserEnable = "user.enable",
    /// A role was given.
    GrantGive = "grant.give",
    /// A role was taken back.
    GrantTake = "grant.take",
    /// A token was made.
    TokenCreate = "token.create",
    /// A token was revoked.
    TokenRevoke = "token.revoke",
    /// Records, or a tenant, are to be erased.
    ErasureRequest = "erasure.request",
    /// A role was started, with these settings.
    ServiceStart = "service.start",
    /// A master key was put into the key file.
    KeyAdd = "key.add",
    /// Tenants' keys went over to the first master key.
    KeyRotate = "key.rotate",
    /// Master keys that are not needed were taken out of the key file.
    KeyForget = "key.forget",
    /// The catalog, or a tenant, was copied.
    BackupMake = "backup.make",
    /// A copy was brought back.
    BackupRestore = "backup.restore",
}

impl Action {
    /// The action of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == name)
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person, by the name to sign in with.
    User(String),
    /// A machine's token, by its public id.
    Token(String),
    /// A person whom a proxy in front names: another one than the user of that name.
    Forwarded(String),
    /// A machine of this tenant, which the platform's webhook vouches for.
    Platform(TenantId),
    /// An agent, by its node or the name in its certificate; without, one that only the agents' token proved.
    Agent(Option<Arc<str>>),
    /// A user of the operating system, at the command line.
    CommandLine(u32),
    /// The service itself.
    Service,
    /// Nobody that is known: no credential proved who it was.
    Nobody,
}

impl Actor {
    /// As it stands in the log: `user:ann`, `token:0123456789ab`, `forwarded:ann`, `platform:team-a`, `agent:node-7`, `agent`,
    /// `uid:1000`, `service`, `nobody`.
    pub fn name(&self) -> String {
        match self {
            Self::User(name) => format!("user:{name}"),
            Self::Token(id) => format!("token:{id}"),
            Self::Forwarded(name) => format!("forwarded:{name}"),
            Self::Platform(tenant) => format!("platform:{tenant}"),
            Self::Agent(Some(node)) => format!("agent:{node}"),
            Self::Agent(None) => "agent".to_owned(),
            Self::CommandLine(uid) => format!("uid:{uid}"),
            Self::Service => "service".to_owned(),
            Self::Nobody => "nobody".to_owned(),
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// No tenant: for platform administrators only.
    Platform,
    /// A tenant. Its uid says which one, where another has had its name.
    Tenant {
        /// Its name.
        name: TenantId,
        /// Its lasting id.
        uid: Uuid,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done or answered.
    Done,
    /// The actor may not, or it does not exist.
    Refused,
    /// It was not understood, went wrong, or was given up half-way.
    Failed,
}

impl Outcome {
    /// The outcome's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Something that happened, about one tenant or none.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// About what.
    pub subject: Subject,
    /// The address that it came from; none where it did not come over the network.
    pub from: Option<IpAddr>,
    /// What came of it.
    pub outcome: Outcome,
    /// What more there is to say; no secrets.
    pub details: Details,
}

/// Whose rows are asked for. There is no "none means all".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Every row, those without a tenant, too: for platform administrators only.
    Everything,
    /// The rows of the tenant with this uid.
    Tenant(Uuid),
}

/// A page of rows, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// Whose.
    pub of: Of,
    /// Of which time.
    pub range: TimeRange,
    /// Only of this action.
    pub action: Option<Action>,
    /// Only by this actor, as [`Actor::name`] gives it.
    pub actor: Option<String>,
    /// Only what comes behind this place: the time and number of the last row of the page before.
    pub after: Option<(Timestamp, u64)>,
    /// How many at most.
    pub limit: u32,
}
