//! The agent's credential as a header: fixed, or from a file that is read anew when it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderValue;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::blocking;
use super::stamp::Stamp;
use crate::config::Token;
use crate::error::{Error, Result};

/// How often the file is looked at. Projected tokens are renewed long before they expire.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The credential of the moment.
pub(super) struct Credential {
    file: Option<PathBuf>,
    held: Mutex<Held>,
}

struct Held {
    /// None, where the certificate is all that there is.
    header: Option<HeaderValue>,
    stamp: Stamp,
    looked: Option<Instant>,
}

impl Credential {
    /// Reads the file, if it is one.
    pub(super) async fn open(token: Token) -> Result<Self> {
        let (file, (header, stamp)) = match token {
            Token::Certificate => (None, (None, Stamp::default())),
            Token::Fixed(token) => {
                (None, (Some(header("agent token", "(secret)", &token)?), Stamp::default()))
            }
            Token::File(path) => {
                let read = path.clone();
                let (header, stamp) = blocking(move || of_file(&read)).await?;
                (Some(path), (Some(header), stamp))
            }
        };
        Ok(Self { file, held: Mutex::new(Held { header, stamp, looked: Some(Instant::now()) }) })
    }

    /// The header to send now, if there is one.
    pub(super) async fn header(&self) -> Option<HeaderValue> {
        if let Some(path) = &self.file
            && self.is_time_to_look()
        {
            let (path, known) = (path.clone(), self.held.lock().stamp);
            match blocking(
                move || if Stamp::of(&path)? == known { Ok(None) } else { of_file(&path).map(Some) },
            )
            .await
            {
                Ok(None) => {}
                Ok(Some((header, stamp))) => {
                    let mut held = self.held.lock();
                    (held.header, held.stamp) = (Some(header), stamp);
                    tracing::info!("agent token file read anew");
                }
                Err(error) => {
                    tracing::warn!(%error, cause = ?std::error::Error::source(&error), "agent token file cannot be read, the last one is used");
                }
            }
        }
        self.held.lock().header.clone()
    }

    fn is_time_to_look(&self) -> bool {
        let mut held = self.held.lock();
        let now = Instant::now();
        let is_time = held.looked.is_none_or(|at| at + LOOK_EVERY <= now);
        if is_time {
            held.looked = Some(now);
        }
        is_time
    }

    /// An indexer refused it: the file is looked at before the next attempt.
    pub(super) fn is_refused(&self) {
        self.held.lock().looked = None;
    }
}

fn of_file(path: &Path) -> Result<(HeaderValue, Stamp)> {
    // Before the content: a change in between is seen the next time.
    let stamp = Stamp::of(path)?;
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(Error::disk(path))?);
    let token = SecretString::from(text.trim_end_matches(['\r', '\n']));
    Ok((header("agent token file", &path.display().to_string(), &token)?, stamp))
}

fn header(what: &'static str, value: &str, token: &SecretString) -> Result<HeaderValue> {
    let bad = |reason: &str| Error::Config { what, value: value.to_owned(), reason: reason.to_owned() };
    if token.expose_secret().is_empty() {
        return Err(bad("it is empty"));
    }
    let text = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    let mut header =
        HeaderValue::from_str(&text).map_err(|_| bad("it has characters that no header takes"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_when_it_changes_and_a_missing_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let missing = Credential::open(Token::File(path.clone())).await.map(|_| ()).unwrap_err();
        assert!(matches!(missing, Error::Disk { .. }), "{missing}");
        std::fs::write(&path, "one\n").unwrap();
        let credential = Credential::open(Token::File(path.clone())).await.unwrap();
        let check = async |expected: &str| assert_eq!(credential.header().await.unwrap(), expected);
        check("Bearer one").await;
        // As a projected volume changes: another file in the place.
        std::fs::write(dir.path().join("new"), "two\n").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        check("Bearer one").await;
        credential.is_refused();
        check("Bearer two").await;
        std::fs::write(&path, "").unwrap();
        credential.is_refused();
        check("Bearer two").await;
        std::fs::remove_file(&path).unwrap();
        credential.is_refused();
        check("Bearer two").await;
        std::fs::write(&path, "three").unwrap();
        credential.is_refused();
        check("Bearer three").await;
    }
}
