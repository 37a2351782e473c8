//! The catalog in an SQLite file.

/// The catalog in an SQLite file.
pub(super) struct Sqlite {}

impl Sqlite {
    pub(super) async fn open(_path: &str) -> crate::error::Result<Self> {
        todo!()
    }
}
