//! S3 credentials from a file in Amazon's form, read again while the program runs, so that they can be changed
//! without a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::place::bad;
use crate::error::Result;

/// How old what was read may be.
const AGE_MAX: Duration = Duration::from_secs(60);

/// The credentials of a file.
pub(super) struct CredentialsFile {
    path: PathBuf,
    read: Mutex<(Arc<AwsCredential>, Instant)>,
}

impl fmt::Debug for CredentialsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl CredentialsFile {
    /// Reads it for the first time: a mistake in it is told now.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let setting = "storage.credentials_file";
        let at = |reason: String| bad(setting, &format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| at(e.to_string()))?;
        let credential = parse(&text).map_err(at)?;
        Ok(Self { path: path.to_owned(), read: Mutex::new((Arc::new(credential), Instant::now())) })
    }

    fn fresh(&self) -> Option<Arc<AwsCredential>> {
        let read = self.read.lock();
        (read.1.elapsed() < AGE_MAX).then(|| Arc::clone(&read.0))
    }
}

#[async_trait]
impl CredentialProvider for CredentialsFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if let Some(credential) = self.fresh() {
            return Ok(credential);
        }
        let found = match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => parse(&text),
            Err(error) => Err(error.to_string()),
        };
        let mut read = self.read.lock();
        // What was right a minute ago is better than nothing, and the store says so if it is not.
        match found {
            Ok(credential) => *read = (Arc::new(credential), Instant::now()),
            Err(reason) => {
                let file = self.path.display();
                tracing::warn!(%file, reason, "storage.credentials_file cannot be read anew: the last ones are used");
                read.1 = Instant::now();
            }
        }
        Ok(Arc::clone(&read.0))
    }
}

/// The profile `default`, or what stands before any. The error holds nothing of the text.
fn parse(text: &str) -> Result<AwsCredential, String> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut is_ours = true;
    for line in text.lines().map(str::trim) {
        if let Some(profile) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            is_ours = profile.trim() == "default";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with('#'))
        {
            let value = Some(value.trim().to_owned()).filter(|v| !v.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    let missing = |key: &str| {
        format!(
            "has no {key} in [default]: give the lines \"aws_access_key_id = …\" and \
             \"aws_secret_access_key = …\""
        )
    };
    Ok(AwsCredential {
        key_id: id.ok_or_else(|| missing("aws_access_key_id"))?,
        secret_key: secret.ok_or_else(|| missing("aws_secret_access_key"))?,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(secret: &str) -> String {
        format!(
            "# ours\n[other]\naws_access_key_id = X\n[default]\naws_access_key_id=AKIA\naws_secret_access_key = {secret}\n"
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_anew_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, file("one")).unwrap();
        let credentials = CredentialsFile::open(&path).unwrap();
        let secret = async || credentials.get_credential().await.unwrap().secret_key.clone();
        std::fs::write(&path, file("two")).unwrap();
        assert_eq!(secret().await, "one", "it is not read for each request");
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(secret().await, "two");
        std::fs::write(&path, "[default]").unwrap();
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(secret().await, "two");
        assert!(!format!("{credentials:?}").contains("two"));
    }

    #[test]
    fn a_mistake_is_named_without_what_the_file_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let told = |path: &Path| CredentialsFile::open(path).unwrap_err().to_string();
        assert!(
            told(&path).ends_with("credentials: No such file or directory (os error 2)"),
            "{}",
            told(&path)
        );
        std::fs::write(&path, "aws_access_key_id = s3cr3t").unwrap();
        let text = told(&path);
        assert!(
            text.contains("has no aws_secret_access_key in [default]") && !text.contains("s3cr3t"),
            "{text}"
        );
        assert!(text.starts_with("storage.credentials_file: "), "{text}");
    }
}
