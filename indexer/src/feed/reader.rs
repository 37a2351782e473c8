//! The task of one feed: looks at commits, and gives its reader what matches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use heliograph_model::filter::Matcher;
use heliograph_model::scan::{CommitId, FeedFrame, HotHead};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::Subscription;
use super::frames::{self, Frame, Gap, Lines};
use crate::budget::Budget;
use crate::error::Result;
use crate::hot::Chunk;

/// How often a feed shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Bytes of frames that the reader has not taken; one frame may go over it.
const ROOM_BYTES: usize = 1 << 20;

/// One feed.
pub(super) struct Reader {
    subscription: Subscription,
    queue: mpsc::Receiver<Arc<Chunk>>,
    matcher: Arc<Matcher>,
    out: mpsc::Sender<Frame>,
    room: Arc<Budget>,
    /// What the reader was not given and has not been told of.
    gap: Option<Gap>,
    /// Up to here everything is sent, or left out.
    done: CommitId,
}

/// The reader is gone.
struct Gone;

impl Reader {
    pub(super) fn new(
        subscription: Subscription,
        queue: mpsc::Receiver<Arc<Chunk>>,
        matcher: Arc<Matcher>,
        out: mpsc::Sender<Frame>,
    ) -> Self {
        let done = CommitId::default();
        Self { subscription, queue, matcher, out, room: Budget::new(ROOM_BYTES), gap: None, done }
    }

    /// Runs until the reader goes, or all feeds are stopped.
    pub(super) async fn run(mut self, head: HotHead, backlog: Vec<Arc<Chunk>>, stop: CancellationToken) {
        let out = self.out.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = out.closed() => {}
            result = self.follow(head, backlog) => if let Err(error) = result {
                tracing::error!(error = &error as &dyn std::error::Error, "a live feed ends");
            }
        }
    }

    async fn follow(&mut self, head: HotHead, backlog: Vec<Arc<Chunk>>) -> Result<()> {
        let HotHead { indexer, sealed_through, committed } = head;
        let open = frames::line(&FeedFrame::Open { indexer, committed, sealed_through })?;
        if self.out.send(Frame { line: open, _room: None }).await.is_err() {
            return Ok(());
        }
        for chunk in backlog {
            for lines in frames::look_at(chunk, &self.matcher).await? {
                // One who catches up is waited for: it asked not to miss anything.
                let frame = Frame { line: lines.line, _room: None };
                if self.out.send(frame).await.is_err() {
                    return Ok(());
                }
            }
        }
        self.done = committed;
        let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_alive = tokio::select! {
                biased;
                _ = beat.tick() => self.beat().await?,
                Some(chunk) = self.queue.recv() => self.take(chunk).await?,
            };
            if is_alive.is_err() {
                return Ok(());
            }
        }
    }

    /// Looks at a commit's records and sends those that are meant, as far as they fit.
    async fn take(&mut self, chunk: Arc<Chunk>) -> Result<Result<(), Gone>> {
        let commit = chunk.commit;
        // What was in the snapshot at the opening.
        if commit > self.done {
            for lines in frames::look_at(chunk, &self.matcher).await? {
                if self.send(lines)?.is_err() {
                    return Ok(Err(Gone));
                }
            }
            self.done = commit;
        }
        self.take_overrun();
        Ok(Ok(()))
    }

    /// What did not fit into the queue comes behind what did.
    fn take_overrun(&mut self) {
        let mut overrun = self.subscription.subscriber.overrun.lock();
        if self.queue.is_empty()
            && let Some(gap) = overrun.take()
        {
            drop(overrun);
            self.leave_out(gap);
            self.done = self.done.max(gap.commit);
        }
    }

    fn leave_out(&mut self, gap: Gap) {
        self.subscription.feed.metrics.feed_skipped.inc_by(gap.count);
        Gap::add(&mut self.gap, gap);
    }

    fn send(&mut self, lines: Lines) -> Result<Result<(), Gone>> {
        if self.tell_gap()?.is_err() {
            return Ok(Err(Gone));
        }
        let room = if self.gap.is_none() { self.room.take_unless_full(lines.line.len()) } else { None };
        let Some(room) = room else {
            self.leave_out(lines.gap);
            return Ok(Ok(()));
        };
        match self.out.try_send(Frame { line: lines.line, _room: Some(room) }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.leave_out(lines.gap),
            Err(mpsc::error::TrySendError::Closed(_)) => return Ok(Err(Gone)),
        }
        Ok(Ok(()))
    }

    /// Tells the reader what it missed, as soon as there is room to go on behind it.
    fn tell_gap(&mut self) -> Result<Result<(), Gone>> {
        let Some(Gap { count, from, to, commit }) = self.gap else { return Ok(Ok(())) };
        if self.room.is_full() {
            return Ok(Ok(()));
        }
        let line = frames::line(&FeedFrame::Skipped { count, from, to, commit })?;
        match self.out.try_send(Frame { line, _room: None }) {
            Ok(()) => self.gap = None,
            Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Ok(Err(Gone)),
        }
        Ok(Ok(()))
    }

    /// Says that everything up to some commit was sent.
    async fn beat(&mut self) -> Result<Result<(), Gone>> {
        // Read first: whatever is published up to here is in the queue by now.
        let published = CommitId(self.subscription.feed.published.load(Ordering::Acquire));
        while let Ok(chunk) = self.queue.try_recv() {
            if self.take(chunk).await?.is_err() {
                return Ok(Err(Gone));
            }
        }
        self.take_overrun();
        if self.tell_gap()?.is_err() {
            return Ok(Err(Gone));
        }
        self.done = self.done.max(published);
        if self.gap.is_none() {
            let line = frames::line(&FeedFrame::Heartbeat { commit: self.done })?;
            // A reader with a full queue has better signs of life than this.
            if let Err(mpsc::error::TrySendError::Closed(_)) = self.out.try_send(Frame { line, _room: None })
            {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(()))
    }
}
