//! `heliograph admin`: works on catalog and key ring directly, beside a running server.

mod audit;
mod backup;
mod erase;
mod invite;
mod key;
mod limits;
mod record;
mod retention;
mod tls;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::audit::Action;
use heliograph_store::catalog::{Extent, Grant, Role, Token, User};
use heliograph_store::{Store, token};
use secrecy::{ExposeSecret, SecretString};

use crate::cli::{
    AdminCommand, ExtentWords, GrantCommand, GrantWords, PasswordFrom, Place, SessionsCommand, TenantCommand,
    TokenCommand, UserCommand,
};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::{console, first_start, places};
use record::Change;

/// Does one thing, and prints what it made.
pub(crate) async fn run(command: AdminCommand) -> Outcome {
    match command {
        AdminCommand::Tenant(command) => tenant(command).await,
        AdminCommand::Token(command) => tokens(command).await,
        AdminCommand::User(command) => users(command).await,
        AdminCommand::Grant(command) => grants(command).await,
        AdminCommand::Invite(command) => invite::run(command).await,
        AdminCommand::Usage { tenant, place } => limits::usage(tenant, &open(&place).await?).await,
        AdminCommand::Key(command) => key::run(command).await,
        AdminCommand::Erase(command) => erase::run(command).await,
        AdminCommand::Audit(command) => audit::run(command).await,
        AdminCommand::Backup { to, tenant, with_master_key, place } => {
            backup::make(&to, tenant.as_ref(), with_master_key, &place).await
        }
        AdminCommand::Tls(command) => tls::run(command).await,
        AdminCommand::Restore { from, r#as, master_key_file, place } => {
            backup::restore(&from, r#as.as_ref(), master_key_file.as_deref(), &place).await
        }
    }
}

async fn tenant(command: TenantCommand) -> Outcome {
    match command {
        TenantCommand::Create { name, workspace, place } => {
            let store = open(&place).await?;
            let change = Change::new(&store, Action::TenantCreate).with("workspace", workspace.as_str());
            change.make_tenant(&name, &workspace).await
        }
        TenantCommand::List { place } => {
            let rows = open(&place)
                .await?
                .catalog
                .tenants()
                .await?
                .into_iter()
                .map(|t| [t.name.to_string(), t.workspace.to_string(), t.created.to_string()])
                .collect::<Vec<_>>();
            Ok(console::table(["name", "workspace", "created"], &rows)?)
        }
        TenantCommand::Limits { name, limits, place } => {
            limits::set(&name, &limits, &open(&place).await?).await
        }
        TenantCommand::Retention { name, age, bytes, place } => {
            retention::retention(name, age, bytes, &place).await
        }
    }
}

async fn tokens(command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create { tenant, mut roles, ttl, place } => {
            let store = open(&place).await?;
            // An unknown tenant is an error here, not a token that opens nothing.
            store.tenants.get(&tenant).await?;
            roles.sort_unstable();
            roles.dedup();
            let now = SystemClock.now();
            let nanos = ttl.map(|span| i64::try_from(span.0.as_nanos()).unwrap_or(i64::MAX));
            let expires = nanos.map(|nanos| now.saturating_add_nanos(nanos));
            let (entry, text) = token::issue(&tenant, &roles, expires, now)?;
            let change = Change::new(&store, Action::TokenCreate)
                .about(&tenant)
                .await?
                .with("token", entry.id.as_str());
            let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            let change = change.with("roles", names);
            change.make(async { Ok(store.catalog.create_token(&entry).await?) }).await?;
            Ok(console::line(text.expose_secret())?)
        }
        TokenCommand::List { tenant, place } => {
            let now = SystemClock.now();
            let tokens = open(&place).await?.catalog.tokens(tenant.as_ref()).await?;
            let rows = tokens.iter().map(|t| token_row(t, now)).collect::<Vec<_>>();
            Ok(console::table(["id", "tenant", "roles", "created", "expires", "state"], &rows)?)
        }
        TokenCommand::Revoke { id, place } => {
            let store = open(&place).await?;
            let mut change = Change::new(&store, Action::TokenRevoke).with("token", id.as_str());
            if let Some(token) = store.catalog.token(&id).await? {
                change = change.about(&token.tenant).await?;
            }
            change.make(async { Ok(store.catalog.revoke_token(&id, SystemClock.now()).await?) }).await
        }
    }
}

fn token_row(token: &Token, now: Timestamp) -> [String; 6] {
    let state = match (token.revoked, token.expires) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        _ => "valid",
    };
    [
        token.id.clone(),
        token.tenant.to_string(),
        token.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(","),
        token.created.to_string(),
        token.expires.map_or_else(|| "never".to_owned(), |end| end.to_string()),
        state.to_owned(),
    ]
}

async fn users(command: UserCommand) -> Outcome {
    match command {
        UserCommand::Create { name, admin, password, place } => {
            let store = open(&place).await?;
            let chosen = choose(&password)?;
            let password_hash = first_start::hash(chosen.password).await?;
            let user = User { name, password_hash, admin, disabled: false, created: SystemClock.now() };
            let change = Change::new(&store, Action::UserCreate).with("user", user.name.as_str());
            let change = change.with("admin", admin);
            change.make(async { Ok(store.catalog.create_user(&user).await?) }).await?;
            chosen.to_show.map_or(Ok(()), |text| Ok(console::line(&text)?))
        }
        UserCommand::Passwd { name, password, place } => {
            let store = open(&place).await?;
            let chosen = choose(&password)?;
            let password_hash = first_start::hash(chosen.password).await?;
            let change = Change::new(&store, Action::UserPassword).with("user", name.as_str());
            change.make(async { Ok(store.catalog.set_password(&name, &password_hash).await?) }).await?;
            chosen.to_show.map_or(Ok(()), |text| Ok(console::line(&text)?))
        }
        UserCommand::List { place } => {
            let rows = open(&place)
                .await?
                .catalog
                .users()
                .await?
                .into_iter()
                .map(|u| {
                    let platform = if u.admin { "admin" } else { "" };
                    let state = match (u.disabled, u.password_hash.is_empty()) {
                        (true, _) => "disabled",
                        (false, true) => "by a provider",
                        (false, false) => "",
                    };
                    [u.name, platform.to_owned(), u.created.to_string(), state.to_owned()]
                })
                .collect::<Vec<_>>();
            Ok(console::table(["name", "platform", "created", "state"], &rows)?)
        }
        UserCommand::Disable { name, place } => set_disabled(&name, true, &place).await,
        UserCommand::Enable { name, place } => set_disabled(&name, false, &place).await,
        UserCommand::Sessions(SessionsCommand::End { name, place }) => {
            let store = open(&place).await?;
            let change = Change::new(&store, Action::SessionEnd).with("user", name.as_str());
            let ended = async {
                if store.catalog.user(&name).await?.is_none() {
                    return Err(Failure::Failed(anyhow!("there is no user {name:?}")));
                }
                Ok(store.catalog.end_sessions(&name, None).await?)
            };
            let ended = change.make(ended).await?;
            Ok(console::line(&format!("{ended} sessions ended"))?)
        }
    }
}

async fn set_disabled(name: &str, disabled: bool, place: &Place) -> Outcome {
    let store = open(place).await?;
    let action = if disabled { Action::UserDisable } else { Action::UserEnable };
    let change = Change::new(&store, action).with("user", name);
    change.make(async { Ok(store.catalog.set_disabled(name, disabled).await?) }).await
}

struct Chosen {
    password: SecretString,
    /// A generated password, which nobody knows yet.
    to_show: Option<String>,
}

fn choose(from: &PasswordFrom) -> Outcome<Chosen> {
    if !from.stdin {
        let password = first_start::generate_password()?;
        let to_show = Some(password.expose_secret().to_owned());
        return Ok(Chosen { password, to_show });
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::Usage(anyhow!("--stdin: the first line of standard input is empty")));
    }
    Ok(Chosen { password: SecretString::from(password), to_show: None })
}

async fn grants(command: GrantCommand) -> Outcome {
    match command {
        GrantCommand::Create(words) => {
            let (store, grant) = grant_of(words).await?;
            let change = of_grant(&store, Action::GrantGive, &grant).await?;
            change.make(async { Ok(store.catalog.grant(&grant).await?) }).await
        }
        GrantCommand::Revoke(words) => {
            let (store, grant) = grant_of(words).await?;
            let change = of_grant(&store, Action::GrantTake, &grant).await?;
            let taken = async {
                match store.catalog.revoke_grant(&grant).await? {
                    true => Ok(()),
                    false => {
                        Err(Failure::Failed(anyhow!("user {:?} does not have this role there", grant.user)))
                    }
                }
            };
            change.make(taken).await
        }
        GrantCommand::List { user, place } => {
            let store = open(&place).await?;
            let by_hand = store.catalog.grants(&user).await?.into_iter().map(|grant| (String::new(), grant));
            let mapped = store.catalog.mapped_grants(&user).await?;
            let rows = by_hand.chain(mapped).map(|(by, grant)| grant_row(&grant, by)).collect::<Vec<_>>();
            Ok(console::table(["user", "over", "name", "role", "by"], &rows)?)
        }
    }
}

async fn of_grant<'a>(store: &'a Store, action: Action, grant: &Grant) -> Outcome<Change<'a>> {
    let change = Change::new(store, action).with("user", grant.user.as_str());
    change.with("role", grant.role.as_str()).over(&grant.extent).await
}

async fn grant_of(words: GrantWords) -> Outcome<(Store, Grant)> {
    let extent = match words.extent {
        ExtentWords { tenant: Some(tenant), .. } => Extent::Tenant(tenant),
        ExtentWords { workspace: Some(workspace), .. } => Extent::Workspace(workspace),
        // The command line asks for one of them.
        ExtentWords { .. } => return Err(Failure::Usage(anyhow!("give --tenant or --workspace"))),
    };
    let role: Role = words.role;
    Ok((open(&words.place).await?, Grant { user: words.user, extent, role }))
}

/// With the provider whose group gave it.
fn grant_row(grant: &Grant, by: String) -> [String; 5] {
    let (over, name) = match &grant.extent {
        Extent::Tenant(tenant) => ("tenant", tenant.to_string()),
        Extent::Workspace(workspace) => ("workspace", workspace.to_string()),
    };
    [grant.user.clone(), over.to_owned(), name, grant.role.as_str().to_owned(), by]
}

/// Opens what a server has made; makes nothing, so that a mistyped folder is an error.
async fn open(place: &Place) -> Outcome<Store> {
    let places = places_of(place)?;
    if let Some(file) = places::catalog_file(&places) {
        let there = file.try_exists().with_context(|| format!("cannot look for {}", file.display()))?;
        if !there {
            return Err(Failure::Failed(anyhow!(
                "there is no catalog at {}: start the server once, or name its folder with --data-dir",
                file.display()
            )));
        }
    }
    Ok(Store::open(&places, Arc::new(SystemClock)).await?)
}

/// Where things lie.
fn places_of(place: &Place) -> Outcome<heliograph_store::Config> {
    let config = Config::load(place.config.as_deref())?;
    let data_dir = place.data_dir.as_deref();
    let places = match (data_dir, &place.config) {
        (None, Some(_)) => places::named(&config)?,
        (dir, _) => places::in_data_dir(&config, dir.unwrap_or(Path::new(places::DATA_DIR))),
    };
    // A command reads nothing twice, and the cache is the running server's.
    Ok(heliograph_store::Config { cache: None, ..places })
}
