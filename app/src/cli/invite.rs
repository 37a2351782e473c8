//! What can be asked about invitations.

use clap::{Args, Subcommand};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_store::catalog::Role;

use super::admin::{Place, parse_role, parse_span};
use crate::config::Span;

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// Invite somebody; prints the link, once
    Create(Invite),
    /// List the invitations that are open
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Take an invitation back
    Revoke {
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
#[group(id = "guest", required = true, multiple = true, args = ["email", "user"])]
pub(crate) struct Invite {
    /// Whom: a provider that has verified this address lets them in, too
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// What the account is called [default: the address]
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Give the roles over this tenant
    #[arg(long)]
    pub(crate) tenant: Vec<TenantId>,
    /// Give the roles over all tenants of this workspace, now and later
    #[arg(long)]
    pub(crate) workspace: Vec<Workspace>,
    /// Which roles
    #[arg(long, value_parser = parse_role)]
    pub(crate) role: Vec<Role>,
    /// How long it is open
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "7d")]
    pub(crate) ttl: Span,
    #[command(flatten)]
    pub(crate) place: Place,
}
