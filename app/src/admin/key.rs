//! From one master key to another.

use data_encoding::BASE64;
use heliograph_model::cipher::SecretKey;
use heliograph_store::audit::Action;
use heliograph_store::keyring::KeyId;
use heliograph_store::rotation;
use zeroize::Zeroizing;

use super::open;
use super::record::Change;
use crate::cli::KeyCommand;
use crate::console;
use crate::exit::Outcome;

pub(super) async fn run(command: KeyCommand) -> Outcome {
    match command {
        KeyCommand::List { place } => {
            let store = open(&place).await?;
            let current = store.catalog.master_key().await?;
            let rows = rotation::uses(&store).await?.into_iter().filter_map(|(id, tenants)| {
                let of = |id: KeyId| if current == Some(id) { "new tenants" } else { "" };
                match id {
                    Some(id) => Some([id.to_string(), tenants.to_string(), of(id).to_owned()]),
                    None if tenants == 0 => None,
                    None => Some(["not in the file".to_owned(), tenants.to_string(), String::new()]),
                }
            });
            Ok(console::table(["key", "tenants", "wraps"], &rows.collect::<Vec<_>>())?)
        }
        KeyCommand::Add { print: true, .. } => {
            let key = SecretKey::generate().map_err(heliograph_store::Error::from)?;
            Ok(console::line(&Zeroizing::new(BASE64.encode(key.expose())))?)
        }
        KeyCommand::Add { place, .. } => {
            let store = open(&place).await?;
            let id = rotation::add(&store).await?;
            Change::new(&store, Action::KeyAdd).with("key", id.to_string()).make(async { Ok(()) }).await?;
            Ok(console::line(&format!(
                "key {id} is first in {}; `heliograph admin key rotate` goes over to it",
                store.keys.path().display()
            ))?)
        }
        KeyCommand::Rotate { place } => {
            let store = open(&place).await?;
            let change = Change::new(&store, Action::KeyRotate).with("key", store.keys.first()?.to_string());
            let (to, tenants) = change.make(async { Ok(rotation::rotate(&store).await?) }).await?;
            Ok(console::line(&format!("{tenants} tenants' keys were wrapped anew: all are by key {to} now"))?)
        }
        KeyCommand::Forget { place } => {
            let store = open(&place).await?;
            let change = Change::new(&store, Action::KeyForget).with("kept", store.keys.first()?.to_string());
            let keys = change.make(async { Ok(rotation::forget(&store).await?) }).await?;
            let path = store.keys.path().display();
            Ok(console::line(&format!("{keys} keys were taken out of {path}"))?)
        }
    }
}
