//! Each start of a role that uses the catalog is a row of its audit log, with the settings in effect: so that a change of
//! the configuration is on record, too.

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Outcome, Subject};
use serde_json::{Map, Value};

use crate::config::Config;

/// Records it. `settings_sha256` is over the whole line of settings, of which a long one is cut; secrets are not in it.
pub(crate) async fn record(
    store: &Store,
    role: &'static str,
    config: &Config,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let settings = config.to_line();
    let digest = digest::digest(&digest::SHA256, settings.as_bytes());
    let details: [(&str, Value); 4] = [
        ("role", role.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("settings_sha256", HEXLOWER.encode(digest.as_ref()).into()),
        ("settings", settings.into()),
    ];
    let event = Event {
        at: clock.now(),
        actor: Actor::Service,
        action: Action::ServiceStart,
        subject: Subject::Platform,
        from: None,
        outcome: Outcome::Done,
        details: Details::new(
            details.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Map<_, _>>(),
        ),
    };
    Ok(Log::of(store).append(&[event]).await?)
}
