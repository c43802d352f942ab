//! Sandboxes added up by team and template: the one place where the operator's figures and OTLP's come from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sandscope_model::{MetricField, MetricKind, Sandbox, SandboxId, StateName, Values};

use crate::LivePoint;

/// Pairs of team and template that have a sum of their own; the rest is `other`.
pub const MAX_GROUPS: usize = 200;
/// The states counted apart, in the order of [`FleetGroup::n_by_state`].
pub const FLEET_STATES: [&str; 3] = ["running", "paused", "changing"];

/// The sandboxes of one team and template.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetGroup {
    /// How many, by [`FLEET_STATES`].
    pub n_by_state: [u32; 3],
    /// CPUs in use.
    pub cpus: f64,
    /// The levels of running ones added up: every gauge of the catalogue that one of them reports.
    pub sums: Values,
}

impl FleetGroup {
    fn add(&mut self, sandbox: &Sandbox, point: Option<&LivePoint>) {
        let state = match sandbox.state.name() {
            StateName::Running => 0,
            StateName::Paused => 1,
            _ => 2,
        };
        self.n_by_state[state] += 1;
        let Some(point) = point else { return };
        self.cpus += point.sample.cpus_used();
        for (field, number) in
            point.sample.values.iter().filter(|(field, _)| field.kind() == MetricKind::Gauge)
        {
            self.sums.set(field, self.sums.get(field).unwrap_or(0).saturating_add(number));
        }
    }

    /// The sum of a gauge.
    pub const fn sum(&self, field: MetricField) -> u64 {
        match self.sums.get(field) {
            Some(sum) => sum,
            None => 0,
        }
    }
}

/// Team and template; both are `other` beyond [`MAX_GROUPS`].
pub type FleetLabels = (String, String);

/// Adds `sandboxes` up, with what `points` say of those that run.
pub fn fleet(sandboxes: &[Arc<Sandbox>], points: &[LivePoint]) -> BTreeMap<FleetLabels, FleetGroup> {
    let by_id: HashMap<&SandboxId, &LivePoint> =
        points.iter().map(|point| (&point.sample.sandbox_id, point)).collect();
    let mut groups: BTreeMap<FleetLabels, FleetGroup> = BTreeMap::new();
    for sandbox in sandboxes {
        let template = sandbox.spec.alias.clone().unwrap_or_else(|| sandbox.spec.template_id.to_string());
        let mut labels = (sandbox.team_id.to_string(), template);
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&labels) {
            labels = ("other".to_owned(), "other".to_owned());
        }
        groups.entry(labels).or_default().add(sandbox, by_id.get(&sandbox.id).copied());
    }
    groups
}

/// The `n` busiest by CPU, the busiest first.
pub fn busiest(mut points: Vec<&LivePoint>, n: usize) -> Vec<&LivePoint> {
    points.sort_by(|one, other| other.sample.cpus_used().total_cmp(&one.sample.cpus_used()));
    points.truncate(n);
    points
}
