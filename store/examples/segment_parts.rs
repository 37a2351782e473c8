//! What a segment's parts take and what building costs: `segment_parts FILE`, where the file holds batches as
//! agents send them, one behind the other.

use std::error::Error;
use std::time::Instant;

use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_store::layout::new_object_id;
use heliograph_store::segment;
use heliograph_store::tenants::OpenTenant;

#[expect(clippy::print_stdout, reason = "the numbers are what the program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a file of batches")?;
    let batches = std::fs::read(path)?;
    let begun = Instant::now();
    let plain = codec::decompress(&batches, 4 << 30)?;
    let expanded = begun.elapsed();
    let begun = Instant::now();
    let rows = codec::decode(&plain)?;
    let decoded = begun.elapsed();
    println!(
        "{} records; batches of {} KiB expand to {} KiB in {expanded:.2?}, decode to {} KiB in {decoded:.2?}",
        rows.len(),
        batches.len() >> 10,
        plain.len() >> 10,
        rows.memory_bytes() >> 10
    );
    drop(plain);
    let name = TenantId::parse("measured")?;
    let tenant = OpenTenant { name, uid: uuid::Uuid::new_v4(), key: SecretKey::generate()? };
    let begun = Instant::now();
    let built = segment::build(&tenant, new_object_id(), &[(CommitId(1), &rows)])?;
    let took = begun.elapsed();
    println!(
        "built {} KiB of {} KiB of texts in {took:.2?}; {} messages are kept whole",
        built.bytes.len() >> 10,
        built.raw_bytes >> 10,
        built.whole_messages
    );
    for (part, bytes) in &built.sizes {
        println!("{part:<22}{:>9} bytes", bytes);
    }
    Ok(())
}
