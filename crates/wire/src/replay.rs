//! Operating webhooks: replays, dead letters, changed secrets.

use sandscope_model::{EventId, Replay as Model, ReplayId, ReplayState, Selection, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::moment::Moment;

/// Body of starting a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NewReplay {
    /// `failed` (default): what never arrived, because it ran out of attempts or the webhook was disabled. `all`: every
    /// event of the range that the webhook wants.
    pub select: Option<String>,
    /// From which time on (RFC 3339, seconds since 1970, or an age such as `10m`); the beginning of the log if not given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Moment>,
    /// Up to which time (RFC 3339, seconds since 1970, or an age such as `10m`), inclusive; now if not given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Moment>,
    /// Events per second at most, 1 to 10,000; as fast as the webhook takes them if not given.
    #[schema(minimum = 1, maximum = 10_000)]
    pub rate_per_second: Option<u32>,
}

/// Events sent to a webhook again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: ReplayId,
    /// `failed` or `all`.
    #[schema(value_type = String)]
    pub select: Selection,
    /// `running`, `done` or `canceled`.
    #[schema(value_type = String)]
    pub state: ReplayState,
    /// Events of the range looked at so far.
    pub looked_at: u64,
    /// Events in the range.
    pub total: u64,
    /// Selected so far.
    pub selected: u64,
    /// Of them, delivered.
    pub delivered: u64,
    /// Of them, out of attempts again.
    pub failed: u64,
    /// Of them, no longer kept, no longer wanted, or taken back by a cancellation.
    pub dropped: u64,
    /// Events per second at most.
    pub rate_per_second: Option<u32>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl From<&Model> for Replay {
    fn from(replay: &Model) -> Self {
        let past = replay.last.saturating_add(1);
        Self {
            id: replay.id,
            select: replay.selection,
            state: replay.state,
            looked_at: replay.next.min(past).saturating_sub(replay.first),
            total: past.saturating_sub(replay.first),
            selected: replay.n_selected,
            delivered: replay.n_delivered,
            failed: replay.n_failed,
            dropped: replay.n_dropped,
            rate_per_second: replay.rate_per_second,
            created_at: replay.created_at,
            finished_at: replay.finished_at,
        }
    }
}

/// A delivery that is out of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Which event.
    #[schema(value_type = uuid::Uuid)]
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// Its sandbox; `null` if it is about none.
    #[schema(required)]
    pub sandbox_id: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// When the event occurred.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// Oldest event first.
    pub data: Vec<DeadLetter>,
    /// Where the next page starts; `null`: there is none.
    pub next_cursor: Option<String>,
}

/// Body of changing a webhook's secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NewSecret {
    /// The new secret; drawn by the server if not given.
    pub signature_secret: Option<String>,
    /// Seconds for which deliveries are signed with the old one as well, up to 30 days. Default: a day.
    #[schema(minimum = 0, maximum = 2_592_000)]
    pub overlap_seconds: Option<u32>,
}

/// A changed secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedSecret {
    /// The new secret, if the server drew it: the only time it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_secret: Option<String>,
    /// Until when the old one counts as well.
    #[schema(value_type = String, format = DateTime)]
    pub previous_valid_until: Timestamp,
}

// Secrets must not reach logs.

impl std::fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSecret").field("overlap_seconds", &self.overlap_seconds).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ChangedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangedSecret").finish_non_exhaustive()
    }
}
