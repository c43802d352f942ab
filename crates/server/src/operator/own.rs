//! What the server says about its own work: comparing store and host, storing, delivering, alerting, making sandboxes.

use sandscope_engine_namespaces::linux::KernelMemory;
use sandscope_lifecycle::Reconciled;
use sandscope_model::EventCounts;
use sandscope_store::StoreError;
use sandscope_telemetry::exposition::{Exposition, Kind};

use super::{Operator, float};

/// Webhooks looked at for one scrape.
const MAX_WEBHOOKS: usize = 1_000;

impl Operator {
    pub(super) fn own(&self, text: &mut Exposition) {
        self.reconciling(text);
        self.happening(text);
        self.delivering(text);
        self.writing(text);
        self.kernel_memory(text);
        self.disk(text);
        let counts = self.alert_stats.counts();
        for (name, help, count) in [
            (
                "sandscope_alert_evaluations_total",
                "Numbers compared with a rule of an alert.",
                counts.n_evaluated,
            ),
            ("sandscope_alerts_published_total", "Alerts published: firing or resolved.", counts.n_published),
            ("sandscope_alert_failures_total", "Evaluations of alerts that failed.", counts.n_failed),
            ("sandscope_alert_events_total", "Events of logs evaluated for alerts.", counts.n_events),
        ] {
            text.family(name, Kind::Counter, help).sample(&[], float(count));
        }
        let created = self.lifecycle.create_counts();
        text.family("sandscope_creates_total", Kind::Counter, "Sandboxes that were to be made, by outcome.")
            .sample(&[("outcome", "created")], float(created.n_created))
            .sample(&[("outcome", "failed")], float(created.n_failed));
        text.family("sandscope_creates_under_way", Kind::Gauge, "Sandboxes being made.")
            .sample(&[], float(created.n_under_way));
    }

    fn kernel_memory(&self, text: &mut Exposition) {
        let KernelMemory { grown_bytes, n_ended } = *self.kernel_memory.borrow();
        text.family(
            "sandscope_kernel_memory_grown_bytes",
            Kind::Gauge,
            "Memory that the kernel uses itself and charges to no sandbox, beyond the least since the server started; \
             as of when it last changed much.",
        )
        .sample(&[], float(grown_bytes));
        text.family(
            "sandscope_kernel_memory_ended_total",
            Kind::Counter,
            "Sandboxes ended because they took too much of the kernel's memory.",
        )
        .sample(&[], float(n_ended));
    }

    /// What was committed since the server started. Every series is there from the start.
    fn happening(&self, text: &mut Exposition) {
        let EventCounts { by_type, deaths } = self.store.events.committed();
        text.family("sandscope_deaths_total", Kind::Counter, "Sandboxes that ended, by reason.");
        for (reason, n) in deaths {
            text.sample(&[("reason", reason.as_str())], float(n));
        }
        text.family("sandscope_events_committed_total", Kind::Counter, "Events committed, by type.");
        for (kind, n) in by_type {
            text.sample(&[("type", kind.as_str())], float(n));
        }
    }

    fn delivering(&self, text: &mut Exposition) {
        text.family(
            "sandscope_deliveries_total",
            Kind::Counter,
            "Attempts to deliver to webhooks, by outcome.",
        );
        for (outcome, n) in self.delivery_stats.outcomes() {
            text.sample(&[("outcome", outcome)], float(n));
        }
        text.family(
            "sandscope_delivery_duration_seconds",
            Kind::Histogram,
            "Time attempts to deliver to webhooks took.",
        )
        .histogram(&[], self.delivery_stats.took());
    }

    /// The disk that sandboxes are kept on.
    fn disk(&self, text: &mut Exposition) {
        let Some(disk) = self.engine.disk() else { return };
        for (name, kind, help, value) in [
            (
                "sandscope_host_disk_free_bytes",
                Kind::Gauge,
                "Free on the disk of the data directory, for ordinary programs.",
                disk.free_bytes,
            ),
            (
                "sandscope_host_disk_reserve_bytes",
                Kind::Gauge,
                "What the server keeps free of it, half of that as a file.",
                disk.reserve_bytes,
            ),
            (
                "sandscope_host_disk_short",
                Kind::Gauge,
                "1 while it is short: sandboxes may write no more, and none is made.",
                u64::from(disk.is_short),
            ),
            (
                "sandscope_host_disk_held_sandboxes",
                Kind::Gauge,
                "Sandboxes that stand still until it has room for what they have in use.",
                disk.n_held,
            ),
            (
                "sandscope_host_disk_lost_writes_total",
                Kind::Counter,
                "How often what a sandbox had in memory found no room and was lost.",
                disk.n_lost,
            ),
        ] {
            text.family(name, kind, help).sample(&[], float(value));
        }
    }

    fn reconciling(&self, text: &mut Exposition) {
        let Reconciled { n_rounds, n_failed, last_at, last_took, busy, n_open, n_settled, problems } =
            self.reconciled.borrow().clone();
        text.family(
            "sandscope_reconcile_rounds_total",
            Kind::Counter,
            "Comparisons of store and host, by result.",
        )
        .sample(&[("result", "compared")], float(n_rounds - n_failed))
        .sample(&[("result", "failed")], float(n_failed));
        text.family("sandscope_reconcile_seconds_total", Kind::Counter, "Time those comparisons took.")
            .sample(&[], busy.as_secs_f64());
        text.family(
            "sandscope_reconcile_last_duration_seconds",
            Kind::Gauge,
            "Time the last comparison took.",
        )
        .sample(&[], last_took.as_secs_f64());
        text.family(
            "sandscope_reconcile_last_time_seconds",
            Kind::Gauge,
            "When the last comparison ended, in unix seconds; 0 before the first.",
        )
        .sample(&[], last_at.map_or(0.0, |at| float(u64::try_from(at.as_second()).unwrap_or(0))));
        text.family("sandscope_reconcile_open", Kind::Gauge, "Differences that the last comparison found.")
            .sample(&[], float(n_open as u64));
        text.family(
            "sandscope_reconcile_problems",
            Kind::Gauge,
            "Differences that it could not correct; GET /reconciler lists them.",
        )
        .sample(&[], float(problems.len() as u64));
        text.family("sandscope_reconcile_settled_total", Kind::Counter, "Differences corrected.")
            .sample(&[], float(n_settled));
    }

    fn writing(&self, text: &mut Exposition) {
        let counts = self.store.write_counts();
        type Field = fn(&sandscope_store::WriteCounts) -> f64;
        let fields: [(&'static str, Kind, &str, Field); 6] = [
            ("sandscope_store_commits_total", Kind::Counter, "Transactions committed.", |c| {
                float(c.n_commits)
            }),
            (
                "sandscope_store_failed_commits_total",
                Kind::Counter,
                "Transactions that could not be committed.",
                |c| float(c.n_failed),
            ),
            ("sandscope_store_operations_total", Kind::Counter, "Operations committed.", |c| {
                float(c.n_operations)
            }),
            (
                "sandscope_store_commit_seconds_total",
                Kind::Counter,
                "Time commits took, most of it until they were on disk.",
                |c| c.commit_time.as_secs_f64(),
            ),
            (
                "sandscope_store_slowest_commit_seconds",
                Kind::Gauge,
                "The longest a commit has taken since the server started.",
                |c| c.slowest.as_secs_f64(),
            ),
            ("sandscope_store_queued_operations", Kind::Gauge, "Operations that wait for a commit.", |c| {
                float(c.n_queued as u64)
            }),
        ];
        for (name, kind, help, field) in fields {
            text.family(name, kind, help);
            for file in &counts {
                text.sample(&[("file", file.file)], field(file));
            }
        }
    }

    /// How long the oldest pending event of a webhook has waited.
    pub(super) async fn delivery_lag(&self, text: &mut Exposition) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut longest_ms = 0;
        for webhook in self
            .store
            .deliveries
            .all_webhooks()
            .await?
            .into_iter()
            .filter(|webhook| webhook.enabled)
            .take(MAX_WEBHOOKS)
        {
            let Some(cursor) = self.store.deliveries.cursor(webhook.id).await? else { continue };
            if let Some(next) = self.store.events.event(webhook.team_id, cursor + 1).await? {
                let waited_ms = now.as_millisecond().saturating_sub(next.timestamp.as_millisecond());
                longest_ms = longest_ms.max(u64::try_from(waited_ms).unwrap_or(0));
            }
        }
        text.family(
            "sandscope_webhook_lag_seconds",
            Kind::Gauge,
            "Age of the oldest event that an enabled webhook has not reached.",
        )
        .sample(&[], float(longest_ms) / 1e3);
        Ok(())
    }
}
