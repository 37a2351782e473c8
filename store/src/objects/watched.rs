//! An object store whose requests are counted, and whose large objects go in parts where it is a distant one.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::metrics::{ObjectMetrics, Operation};
use super::parts;

/// Counts what goes through.
pub(super) struct Watched {
    inner: Arc<dyn ObjectStore>,
    metrics: ObjectMetrics,
    in_parts: bool,
}

impl Watched {
    /// Before a folder of this machine.
    pub(super) fn near(inner: Arc<dyn ObjectStore>, metrics: ObjectMetrics) -> Self {
        Self { inner, metrics, in_parts: false }
    }

    /// Before a distant store.
    pub(super) fn far(inner: Arc<dyn ObjectStore>, metrics: ObjectMetrics) -> Self {
        Self { inner, metrics, in_parts: true }
    }

    async fn put(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_large = payload.content_length() > parts::WHOLE_BYTES_MAX;
        if self.in_parts && is_large && options.mode == PutMode::Create {
            parts::create(&*self.inner, to, &payload.into()).await?;
            return Ok(PutResult { e_tag: None, version: None, extensions: options.extensions });
        }
        self.inner.put_opts(to, payload, options).await
    }
}

/// Without the store's own words: they name files and roles of credentials.
impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("inner", &self.inner.to_string()).finish_non_exhaustive()
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let running = self.metrics.begin(Operation::Put);
        let bytes = payload.content_length();
        let result = Box::pin(self.put(to, payload, options)).await;
        if result.is_ok() {
            self.metrics.sent(bytes);
        }
        running.end(&result);
        result
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let running = self.metrics.begin(Operation::Get);
        let result = self.inner.get_opts(from, options).await;
        running.end(&result);
        let mut found = result?;
        if let GetResultPayload::Stream(stream) = found.payload {
            let metrics = self.metrics.clone();
            let counted = stream.inspect(move |piece| metrics.received(piece.as_ref().map_or(0, Bytes::len)));
            found.payload = GetResultPayload::Stream(counted.boxed());
        } else {
            self.metrics.received(usize::try_from(found.range.end - found.range.start).unwrap_or(0));
        }
        Ok(found)
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let running = self.metrics.begin(Operation::Get);
        let result = self.inner.get_ranges(from, ranges).await;
        running.end(&result);
        self.metrics.received(result.as_ref().map_or(0, |all| all.iter().map(Bytes::len).sum()));
        result
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let metrics = self.metrics.clone();
        let deleted = self.inner.delete_stream(locations);
        deleted.inspect(move |result| metrics.begin(Operation::Delete).end(result)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // One request for the whole, as it is asked for.
        let running = self.metrics.begin(Operation::List);
        let listed = self.inner.list(prefix);
        let counted = stream::unfold((listed, Some(running)), |(mut listed, mut running)| async move {
            let entry = listed.next().await;
            match (&entry, running.take()) {
                (Some(Ok(_)), still) => running = still,
                (Some(failed), Some(running)) => running.end(failed),
                (None, Some(running)) => running.end(&Ok(())),
                (_, None) => {}
            }
            entry.map(|entry| (entry, (listed, running)))
        });
        counted.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let running = self.metrics.begin(Operation::List);
        let result = self.inner.list_with_delimiter(prefix).await;
        running.end(&result);
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let running = self.metrics.begin(Operation::Copy);
        let result = self.inner.copy_opts(from, to, options).await;
        running.end(&result);
        result
    }
}
