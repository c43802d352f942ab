//! Attempts to deliver webhooks, in a file of their own: bulky, and worth less than a fact. What callers see is here; the
//! SQL is in `rows`.

pub(crate) mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use sandscope_model::{Attempt, DeliveryId, EventType, TeamId, Timestamp, WebhookId};

use crate::sqlite::file::File;
use crate::{Order, StoreError};

/// Attempts deleted in one operation.
const BATCH: u32 = 500;
/// How long attempts are kept.
const LIFETIME_USEC: i64 = 7 * 24 * 3600 * 1_000_000;

/// Which attempts of a webhook are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptQuery {
    /// Start and id of the last one already seen.
    pub cursor: Option<(Timestamp, DeliveryId)>,
    /// Attempts at most.
    pub limit: u32,
    /// By start, then id.
    pub order: Order,
    /// Only those started at or after this.
    pub start: Option<Timestamp>,
    /// Only those started at or before this.
    pub end: Option<Timestamp>,
    /// Only those that succeeded, or failed.
    pub success: Option<bool>,
    /// Only those of these event types; empty means all.
    pub types: Vec<EventType>,
}

/// The attempts of one span of time, summed up. Durations are in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsBucket {
    /// Where the span starts: a multiple of its length since 1970.
    pub start: Timestamp,
    /// Attempts in the span.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub avg: f64,
    /// The longest.
    pub max: f64,
}

/// Attempts to deliver webhooks. Clones share one file.
#[derive(Debug, Clone)]
pub struct Attempts {
    file: Arc<File>,
}

impl Attempts {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Arc::new(file) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Stores attempts, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn insert_attempts(&self, attempts: Vec<Attempt>) -> Result<(), StoreError> {
        self.file().write(move |tx| attempts.iter().try_for_each(|attempt| rows::insert(tx, attempt))).await
    }

    /// A page of the attempts to deliver to a webhook of the team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn attempts(
        &self,
        team: TeamId,
        webhook: WebhookId,
        query: AttemptQuery,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.file().read(move |connection| rows::list(connection, team, webhook, &query)).await
    }

    /// One attempt to deliver to a webhook of the team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn attempt(
        &self,
        team: TeamId,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<Attempt>, StoreError> {
        self.file().read(move |connection| rows::one(connection, team, webhook, id)).await
    }

    /// When the last attempt that succeeded was started, for each of these webhooks of the team; those without one are
    /// left out.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn last_successes(
        &self,
        team: TeamId,
        webhooks: Vec<WebhookId>,
    ) -> Result<BTreeMap<WebhookId, Timestamp>, StoreError> {
        let op = move |connection: &rusqlite::Connection| {
            let found =
                webhooks.iter().map(|id| Ok(rows::last_success(connection, team, *id)?.map(|at| (*id, at))));
            found.filter_map(Result::transpose).collect()
        };
        self.file().read(op).await
    }

    /// The attempts started from `start` to `end` (both inclusive), summed up in spans of `bucket_s` seconds, oldest
    /// first. Spans without attempts are left out.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn attempt_stats(
        &self,
        team: TeamId,
        webhook: WebhookId,
        start: Timestamp,
        end: Timestamp,
        bucket_s: u32,
    ) -> Result<Vec<StatsBucket>, StoreError> {
        let op = move |connection: &rusqlite::Connection| {
            rows::stats(connection, team, webhook, (start, end), bucket_s)
        };
        self.file().read(op).await
    }

    /// Removes attempts older than 7 days at `now`; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What was removed until then stays removed.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let cutoff = now.as_microsecond().saturating_sub(LIFETIME_USEC);
        let mut n_deleted = 0;
        loop {
            let n = self.file().write(move |tx| rows::forget(tx, cutoff, BATCH)).await?;
            n_deleted += n;
            if n < u64::from(BATCH) {
                return Ok(n_deleted);
            }
        }
    }
}
