//! `[redaction]`: which credentials are taken out of records at ingest.

use std::collections::BTreeSet;
use std::sync::Arc;

use heliograph_model::redact::{OwnRule, RULES_MAX, Redactor, default_names};
use heliograph_model::tenant::TenantId;

use super::Mistake;
use super::reader::Reader;

/// All rules in effect, compiled; nothing where redaction is off.
pub(super) fn read(r: &mut Reader<'_>) -> Option<Arc<Redactor>> {
    let is_enabled = r.setting("enabled", true);
    let mut disabled = BTreeSet::new();
    for name in r.setting("disabled_rules", Vec::<String>::new()) {
        if default_names().any(|known| known == name) {
            disabled.insert(name);
        } else {
            let known = default_names().collect::<Vec<_>>().join(", ");
            mistake(r, "disabled_rules", &format!("{name:?} is not the name of a default rule: {known}"));
        }
    }
    let mut names: BTreeSet<String> = default_names().map(str::to_owned).collect();
    let own = r.list("rules", |r| read_rule(r, &mut names));
    if own.len() > RULES_MAX {
        mistake(r, "rules", &format!("expected at most {RULES_MAX} rules, found {}", own.len()));
    }
    match Redactor::new(&disabled, own) {
        Ok(redactor) => is_enabled.then(|| Arc::new(redactor)),
        Err(error) => {
            mistake(r, "rules", &error.to_string());
            None
        }
    }
}

/// One of `[[redaction.rules]]`.
fn read_rule(r: &mut Reader<'_>, names: &mut BTreeSet<String>) -> Option<OwnRule> {
    let (name, pattern): (Option<String>, Option<String>) = (r.required("name"), r.required("pattern"));
    let tenants: Option<Vec<TenantId>> = r.optional("tenants");
    if tenants.as_ref().is_some_and(Vec::is_empty) {
        mistake(r, "tenants", "is empty: name tenants, or leave it out for all");
    }
    let (name, pattern) = (name?, pattern?);
    if !names.insert(name.clone()) {
        mistake(r, "name", &format!("another rule is called {name:?}"));
        return None;
    }
    match OwnRule::new(&name, &pattern, tenants.unwrap_or_default().into_iter().collect()) {
        Ok(rule) => Some(rule),
        Err(error) => {
            let key = if matches!(error, heliograph_model::Error::Name { .. }) { "name" } else { "pattern" };
            mistake(r, key, &error.to_string());
            None
        }
    }
}

fn mistake(r: &mut Reader<'_>, key: &str, what: &str) {
    let path = r.path_of(key);
    r.mistake(Mistake::new(format!("{path}: {what}")));
}

#[cfg(test)]
mod tests;
