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
    /// What the producer of that was before its node stood in it.
    pub(super) former: Option<ProducerId>,
    pub(super) encoding: Encoding,
}

impl Envelope {
    /// Reads the headers of a request of `sender`. Whether it may send for the tenant is not looked at here.
    pub(super) fn of(headers: &HeaderMap, sender: Sender) -> Result<Self> {
        let named = named_tenant(headers)?;
        let named_batch = batch_id(headers)?;
        let batch_id = named_batch.as_ref().map(|id| of_sender(id, &sender)).transpose()?;
        let is_of_node = matches!(&sender, Sender::Agent { name: Some(_), .. });
        let former = named_batch.filter(|_| is_of_node).map(|id| id.producer);
        let encoding = Encoding::of(headers)?;
        let tenant = match (&sender, named) {
            (_, Some(named)) => named,
            (Sender::Agent { .. }, None) => {
                return Err(Error::invalid(format!("header {TENANT_HEADER} is missing")));
            }
            (Sender::Token { tenant, .. }, None) => tenant.clone(),
        };
        Ok(Self { sender, tenant, batch_id, former, encoding })
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
fn batch_id(headers: &HeaderMap) -> Result<Option<BatchId>> {
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
    Ok(Some(BatchId {
        producer: ProducerId::parse(producer)?,
        epoch: number(EPOCH_HEADER, epoch, 0)?,
        sequence: number(SEQUENCE_HEADER, sequence, 1)?,
    }))
}

/// The batch's name among those of its sender: nobody moves another's sequences on, or has its batches taken for repeats.
/// Only where all agents prove the same, they are not told apart.
fn of_sender(id: &BatchId, sender: &Sender) -> Result<BatchId> {
    let producer = match sender {
        Sender::Agent { name: None, .. } => id.producer.clone(),
        Sender::Agent { name: Some(node), .. } => within("node", node, &id.producer)?,
        Sender::Token { id: token, .. } => within("token", token, &id.producer)?,
    };
    Ok(BatchId { producer, ..id.clone() })
}

fn number(name: &'static str, value: &str, lowest: u64) -> Result<u64> {
    value
        .parse::<u64>()
        .ok()
        // What the catalog can hold.
        .filter(|n| *n >= lowest && i64::try_from(*n).is_ok())
        .ok_or_else(|| Error::invalid(format!("header {name} is {value:?}, not a number from {lowest} on")))
}

fn within(kind: &str, name: &str, producer: &ProducerId) -> Result<ProducerId> {
    let digest = digest(&SHA256, format!("{name}\0{producer}").as_bytes());
    let hex: String = digest.as_ref().iter().take(20).map(|b| format!("{b:02x}")).collect();
    Ok(ProducerId::parse(&format!("{kind}.{hex}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_apart_by_who_sends() {
        let producer = ProducerId::parse(&"p".repeat(64)).unwrap();
        let a = within("token", "a", &producer).unwrap();
        assert_ne!(a, within("token", "b", &producer).unwrap());
        assert_ne!(a, within("node", "a", &producer).unwrap());
        assert_ne!(a, producer);
    }
}
