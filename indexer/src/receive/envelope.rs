//! What a request's head says: whose the records are, which batch they are, how they are compressed.

use aws_lc_rs::digest::{SHA256, digest};
use heliograph_model::batch::{
    BatchId, EPOCH_HEADER, PRODUCER_HEADER, ProducerId, SEQUENCE_HEADER, TENANT_HEADER,
};
use heliograph_model::tenant::TenantId;
use http::HeaderMap;

use super::encoding::Encoding;
use crate::credential::Sender;
use crate::error::{Error, Result};

/// A request without its body.
pub(super) struct Envelope {
    pub(super) sender: Sender,
    pub(super) tenant: TenantId,
    pub(super) batch_id: Option<BatchId>,
    pub(super) encoding: Encoding,
}

impl Envelope {
    /// Reads the headers of a request of `sender`. Whether it may send for the tenant is not looked at here.
    pub(super) fn of(headers: &HeaderMap, sender: Sender) -> Result<Self> {
        let named = named_tenant(headers)?;
        let batch_id = batch_id(headers, &sender)?;
        let encoding = Encoding::of(headers)?;
        let tenant = match (&sender, named) {
            (_, Some(named)) => named,
            (Sender::Agent { .. }, None) => {
                return Err(Error::invalid(format!("header {TENANT_HEADER} is missing")));
            }
            (Sender::Token { tenant, .. }, None) => tenant.clone(),
        };
        Ok(Self { sender, tenant, batch_id, encoding })
    }

    /// Names the sender where it does not name its sources itself.
    pub(super) fn producer(&self) -> String {
        match &self.sender {
            Sender::Agent { .. } => "agent".to_owned(),
            Sender::Token { id, .. } => format!("token:{id}"),
        }
    }
}

/// A header's text, if it is there.
fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(format!("header {name} is given twice")));
    }
    value.to_str().map(Some).map_err(|_| Error::invalid(format!("header {name} is not plain text")))
}

fn named_tenant(headers: &HeaderMap) -> Result<Option<TenantId>> {
    Ok(text(headers, TENANT_HEADER)?.map(TenantId::parse).transpose()?)
}

/// The batch's name: all three headers, or none.
fn batch_id(headers: &HeaderMap, sender: &Sender) -> Result<Option<BatchId>> {
    let parts = [PRODUCER_HEADER, EPOCH_HEADER, SEQUENCE_HEADER];
    let [producer, epoch, sequence] = parts.map(|name| text(headers, name));
    let (producer, epoch, sequence) = match (producer?, epoch?, sequence?) {
        (None, None, None) => return Ok(None),
        (Some(producer), Some(epoch), Some(sequence)) => (producer, epoch, sequence),
        (p, e, s) => {
            let missing: Vec<_> =
                parts.into_iter().zip([p, e, s]).filter(|(_, v)| v.is_none()).map(|(n, _)| n).collect();
            return Err(Error::invalid(format!("header {} is missing", missing.join(", "))));
        }
    };
    let id = BatchId {
        producer: ProducerId::parse(producer)?,
        epoch: number(EPOCH_HEADER, epoch, 0)?,
        sequence: number(SEQUENCE_HEADER, sequence, 1)?,
    };
    Ok(Some(match sender {
        Sender::Agent { .. } => id,
        // A token must not move an agent's sequences on, nor another token's.
        Sender::Token { id: token, .. } => BatchId { producer: within_token(token, &id.producer)?, ..id },
    }))
}

fn number(name: &'static str, value: &str, lowest: u64) -> Result<u64> {
    value
        .parse::<u64>()
        .ok()
        // What the catalog can hold.
        .filter(|n| *n >= lowest && i64::try_from(*n).is_ok())
        .ok_or_else(|| Error::invalid(format!("header {name} is {value:?}, not a number from {lowest} on")))
}

fn within_token(token: &str, producer: &ProducerId) -> Result<ProducerId> {
    let digest = digest(&SHA256, format!("{token}\0{producer}").as_bytes());
    let hex: String = digest.as_ref().iter().take(20).map(|b| format!("{b:02x}")).collect();
    Ok(ProducerId::parse(&format!("token.{hex}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_of_tokens_are_apart_from_agents() {
        let producer = ProducerId::parse(&"p".repeat(64)).unwrap();
        let a = within_token("a", &producer).unwrap();
        assert_ne!(a, within_token("b", &producer).unwrap());
        assert_ne!(a, producer);
    }
}
