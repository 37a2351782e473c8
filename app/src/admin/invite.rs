//! `heliograph admin invite`: links by which people make their own account.

use anyhow::anyhow;
use heliograph_model::time::Clock;
use heliograph_store::audit::Action;
use heliograph_store::catalog::{Extent, Invitation, Role};
use heliograph_store::invitation::{self, Guest};
use secrecy::ExposeSecret;

use super::open;
use super::record::Change;
use crate::cli::{Invite, InviteCommand};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::console;
use crate::exit::{Failure, Outcome};

/// Does one of them.
pub(super) async fn run(command: InviteCommand) -> Outcome {
    match command {
        InviteCommand::Create(invite) => create(invite).await,
        InviteCommand::List { place } => {
            let open = open(&place).await?.catalog.invitations(SystemClock.now()).await?;
            let rows = open.iter().map(row).collect::<Vec<_>>();
            Ok(console::table(["id", "user", "email", "roles", "by", "expires"], &rows)?)
        }
        InviteCommand::Revoke { id, place } => {
            let store = open(&place).await?;
            let change = Change::new(&store, Action::InvitationRevoke).with("invitation", id.as_str());
            let revoked = async {
                match store.catalog.revoke_invitation(&id).await? {
                    true => Ok(()),
                    false => Err(Failure::Failed(anyhow!("there is no open invitation {id:?}"))),
                }
            };
            change.make(revoked).await
        }
    }
}

async fn create(invite: Invite) -> Outcome {
    let over = invite.tenant.into_iter().map(Extent::Tenant);
    let over: Vec<Extent> = over.chain(invite.workspace.into_iter().map(Extent::Workspace)).collect();
    if over.is_empty() != invite.role.is_empty() {
        return Err(Failure::Usage(anyhow!("--role needs --tenant or --workspace, and they need it")));
    }
    let grants: Vec<(Extent, Role)> =
        over.iter().flat_map(|extent| invite.role.iter().map(|role| (extent.clone(), *role))).collect();
    if let Some(email) = invite.email.as_ref().filter(|email| !invitation::is_email(email)) {
        return Err(Failure::Usage(anyhow!("{email:?} is not an e-mail address")));
    }
    let user_name = invite.user.or_else(|| invite.email.as_ref().map(|email| email.to_ascii_lowercase()));
    let user_name = user_name.ok_or_else(|| Failure::Usage(anyhow!("give --email or --user")))?;
    if !heliograph_query::access::is_user_name(&user_name) {
        return Err(Failure::Usage(anyhow!("{user_name:?} cannot be a user's name")));
    }
    let store = open(&invite.place).await?;
    let now = SystemClock.now();
    let nanos = i64::try_from(invite.ttl.0.as_nanos()).unwrap_or(i64::MAX);
    let by = format!("uid:{}", rustix::process::getuid().as_raw());
    let guest = Guest { email: invite.email, user_name };
    let (made, token) = invitation::issue(guest, grants, by, now.saturating_add_nanos(nanos), now)?;
    let mut change = Change::new(&store, Action::InvitationCreate)
        .with("invitation", made.id.as_str())
        .with("user", made.user_name.as_str());
    for extent in &over {
        change = change.over(extent).await?;
    }
    change.make(async { Ok(store.catalog.create_invitation(&made, now).await?) }).await?;
    let config = Config::load(invite.place.config.as_deref())?;
    // Without a public URL it is up to whoever sends it to know where the page is.
    let page = config.query.public_urls.first().map(String::as_str).unwrap_or_default();
    Ok(console::line(&format!("{page}/#invitation={}", token.expose_secret()))?)
}

fn row(invitation: &Invitation) -> [String; 6] {
    let grant = |(extent, role): &(Extent, Role)| match extent {
        Extent::Tenant(name) => format!("{}:{name}", role.as_str()),
        Extent::Workspace(name) => format!("{}:{name}/*", role.as_str()),
    };
    [
        invitation.id.clone(),
        invitation.user_name.clone(),
        invitation.email.clone().unwrap_or_default(),
        invitation.grants.iter().map(grant).collect::<Vec<_>>().join(","),
        invitation.invited_by.clone(),
        invitation.expires.to_string(),
    ]
}
