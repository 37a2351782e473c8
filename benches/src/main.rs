//! `bench`: see the library's `run`, and README.md here.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    heliograph_benches::run().await
}
