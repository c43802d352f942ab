//! What is on the screen. Pure: news in, requests out.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;
use sandscope_client::{FiringAlertView, ListedSandbox, LiveMetric, SandboxDetails, SandboxProcess};
use sandscope_model::MetricField;

use super::news::News;
use super::row::Row;

/// Seconds a sparkline shows.
const HISTORY: usize = 60;
/// How long a note stays once seconds arrive (again).
const NOTE_S: i64 = 5;
const PAGE: usize = 10;

/// What the server is to be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Kill(String),
    Pause(String),
    Resume(String),
    Look(String),
    Quit,
}

/// By what rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Cpu,
    Memory,
    Disk,
    Processes,
    Started,
    Id,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Cpu, Self::Memory, Self::Disk, Self::Processes, Self::Started, Self::Id];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Processes => "processes",
            Self::Started => "start",
            Self::Id => "id",
        }
    }
}

/// What waits for a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Kill,
    Pause,
    Resume,
}

impl Deed {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "Kill",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
        }
    }
}

/// One sandbox looked at closely.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) id: String,
    pub(super) details: Option<(Box<SandboxDetails>, Vec<SandboxProcess>)>,
    asked_at: i64,
}

/// Everything there is to see.
#[derive(Debug)]
pub(super) struct Board {
    rows: BTreeMap<String, Row>,
    now: i64,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    /// A row that was moved to, and stays selected wherever it goes. Without one it is the first, whichever that is:
    /// rows change places every second, and the top of the list has to stay in sight.
    selected: Option<String>,
    pub(super) confirm: Option<(Deed, String)>,
    pub(super) close: Option<Close>,
    /// The keys are shown.
    pub(super) has_help: bool,
    /// Names of the rules that fire, by what they are about.
    alerts: BTreeMap<String, Vec<String>>,
    pub(super) note: String,
    noted_at: i64,
    pub(super) colours: bool,
    pub(super) table: TableState,
}

impl Board {
    pub(super) fn new(colours: bool) -> Self {
        Self {
            rows: BTreeMap::new(),
            now: 0,
            sort: Sort::Cpu,
            reversed: false,
            filter: String::new(),
            is_typing: false,
            selected: None,
            confirm: None,
            close: None,
            has_help: false,
            alerts: BTreeMap::new(),
            note: String::new(),
            noted_at: 0,
            colours,
            table: TableState::default(),
        }
    }

    pub(super) fn receive(&mut self, news: News) -> Vec<Ask> {
        match news {
            News::Key(key) => return self.key(key),
            News::Redraw => {}
            News::Seconds(second) => {
                self.now = second.timestamp_unix;
                if self.now - self.noted_at >= NOTE_S {
                    self.note.clear();
                }
                for (id, metric) in second.sandboxes {
                    self.second(id, metric);
                }
                return self.look_again();
            }
            News::List(sandboxes) => self.list(sandboxes),
            News::Alerts(firing) => self.alerts(firing),
            News::Look { id, details, processes } => {
                if let Some(close) = self.close.as_mut().filter(|close| close.id == id) {
                    close.details = Some((details, processes));
                    self.note.clear();
                }
            }
            News::Note(note) => {
                self.note = note;
                self.noted_at = self.now;
            }
        }
        Vec::new()
    }

    fn second(&mut self, id: String, metric: LiveMetric) {
        let now = self.now;
        let row = self.rows.entry(id).or_insert_with(|| Row::new(now));
        if row.history.len() == HISTORY {
            row.history.pop_front();
        }
        row.history.push_back(metric.metric.cpu_used_pct);
        row.newest = Some(metric);
        row.seen_at = now;
    }

    fn alerts(&mut self, firing: Vec<FiringAlertView>) {
        self.alerts.clear();
        for alert in firing {
            let about = alert.sandbox_id.unwrap_or(alert.subject);
            self.alerts.entry(about).or_default().push(alert.rule);
        }
    }

    /// The rules that fire about the sandbox `id`.
    pub(super) fn alerts_of(&self, id: &str) -> &[String] {
        self.alerts.get(id).map_or(&[], Vec::as_slice)
    }

    /// How many alerts fire, also about what is no sandbox.
    pub(super) fn n_alerts(&self) -> usize {
        self.alerts.values().map(Vec::len).sum()
    }

    /// The server's time, in unix seconds.
    pub(super) const fn now(&self) -> i64 {
        self.now
    }

    /// Takes the list of what there is. One that is not listed and does not run any more is gone.
    pub(super) fn list(&mut self, sandboxes: Vec<ListedSandbox>) {
        let now = self.now;
        for row in self.rows.values_mut() {
            row.listed = None;
        }
        for sandbox in sandboxes {
            let row = self.rows.entry(sandbox.sandbox_id.clone()).or_insert_with(|| Row::new(0));
            let second = |text: &str| text.parse().ok().map(jiff::Timestamp::as_second);
            (row.started_s, row.end_s) = (second(&sandbox.started_at), second(&sandbox.end_at));
            if sandbox.state != "running" {
                row.newest = None;
            }
            row.listed = Some(sandbox);
        }
        self.rows.retain(|_, row| row.listed.is_some() || now - row.seen_at <= 2 && row.seen_at > 0);
    }

    /// The rows that are shown, in their order.
    pub(super) fn shown(&self) -> Vec<(&String, &Row)> {
        let wanted = self.filter.to_lowercase();
        let matches = |(id, row): &(&String, &Row)| {
            wanted.is_empty()
                || [id.as_str(), row.template(), row.state(), &row.labels()]
                    .iter()
                    .any(|text| text.to_lowercase().contains(&wanted))
        };
        let mut rows: Vec<_> = self.rows.iter().filter(matches).collect();
        let value = |row: &Row| {
            let newest = row.newest.as_ref();
            match self.sort {
                Sort::Cpu => newest.map_or(-1.0, |newest| newest.metric.cpu_used_pct),
                Sort::Memory => newest.map_or(-1.0, |newest| as_float(newest.metric.mem_used)),
                Sort::Disk => newest.map_or(-1.0, |newest| as_float(newest.metric.disk_used)),
                Sort::Processes => newest
                    .and_then(|newest| newest.metric.more.get(MetricField::Processes))
                    .map_or(-1.0, as_float),
                Sort::Started | Sort::Id => 0.0,
            }
        };
        match self.sort {
            Sort::Id => {}
            // Times in RFC 3339 sort as texts.
            Sort::Started => rows.sort_by(|(_, one), (_, other)| {
                let started = |row: &Row| row.listed.as_ref().map(|listed| listed.started_at.clone());
                started(other).cmp(&started(one))
            }),
            _ => rows.sort_by(|(_, one), (_, other)| value(other).total_cmp(&value(one))),
        }
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    pub(super) fn counts(&self) -> (usize, usize, f64, u64) {
        let paused = self.rows.values().filter(|row| row.state() == "paused").count();
        let newest = || self.rows.values().filter_map(|row| row.newest.as_ref());
        let cores = newest()
            .map(|one| one.metric.cpu_used_pct / 100.0 * f64::from(one.metric.cpu_count))
            .sum::<f64>();
        let memory = newest().map(|one| one.metric.mem_used).sum();
        // Nothing sums up to -0.
        (self.rows.len() - paused, paused, cores + 0.0, memory)
    }

    pub(super) fn row(&self, id: &str) -> Option<&Row> {
        self.rows.get(id)
    }

    /// Where the selected row is among those shown; the first if it is gone.
    pub(super) fn position(&mut self) -> Option<usize> {
        let shown = self.shown();
        let is_empty = shown.is_empty();
        let selected = self.selected.as_ref();
        let position = selected.and_then(|selected| shown.iter().position(|(id, _)| *id == selected));
        if position.is_none() {
            self.selected = None;
        }
        position.or(if is_empty { None } else { Some(0) })
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Ask> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return vec![Ask::Quit];
        }
        if self.has_help {
            self.has_help = false;
            return Vec::new();
        }
        if let Some((deed, id)) = self.confirm.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => vec![match deed {
                    Deed::Kill => Ask::Kill(id),
                    Deed::Pause => Ask::Pause(id),
                    Deed::Resume => Ask::Resume(id),
                }],
                _ => {
                    "nothing was done".clone_into(&mut self.note);
                    Vec::new()
                }
            };
        }
        if self.is_typing {
            match key.code {
                KeyCode::Char(char) if self.filter.chars().count() < 64 => self.filter.push(char),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Esc => {
                    self.filter.clear();
                    self.is_typing = false;
                }
                KeyCode::Enter => self.is_typing = false,
                _ => {}
            }
            return Vec::new();
        }
        self.note.clear();
        match key.code {
            KeyCode::Char('q') => return vec![Ask::Quit],
            KeyCode::Esc if self.close.is_some() => self.close = None,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?') => self.has_help = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => {
                let index = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or(0);
                self.sort = Sort::ALL[(index + 1) % Sort::ALL.len()];
            }
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Up => self.select(|position, _| position.saturating_sub(1)),
            KeyCode::Down => self.select(|position, last| (position + 1).min(last)),
            KeyCode::PageUp => self.select(|position, _| position.saturating_sub(PAGE)),
            KeyCode::PageDown => self.select(|position, last| (position + PAGE).min(last)),
            KeyCode::Home => self.select(|_, _| 0),
            KeyCode::End => self.select(|_, last| last),
            KeyCode::Enter => return self.look(),
            KeyCode::Char('k') => self.ask_for(Deed::Kill),
            KeyCode::Char('p') => {
                let paused = self
                    .target()
                    .is_some_and(|id| self.rows.get(&id).is_some_and(|row| row.state() == "paused"));
                self.ask_for(if paused { Deed::Resume } else { Deed::Pause });
            }
            _ => {}
        }
        Vec::new()
    }

    fn select(&mut self, to: impl Fn(usize, usize) -> usize) {
        let position = self.position().unwrap_or(0);
        let shown = self.shown();
        // Who goes to the top wants to see what is there, now and later.
        let position = Some(to(position, shown.len().saturating_sub(1))).filter(|position| *position > 0);
        self.selected = position.and_then(|position| shown.get(position)).map(|(id, _)| (*id).clone());
    }

    pub(super) fn target(&mut self) -> Option<String> {
        if let Some(close) = &self.close {
            return Some(close.id.clone());
        }
        let position = self.position()?;
        self.shown().get(position).map(|(id, _)| (*id).clone())
    }

    fn ask_for(&mut self, deed: Deed) {
        self.confirm = self.target().map(|id| (deed, id));
    }

    fn look(&mut self) -> Vec<Ask> {
        let Some(id) = self.target() else { return Vec::new() };
        self.close = Some(Close { id: id.clone(), details: None, asked_at: self.now });
        vec![Ask::Look(id)]
    }

    /// The one looked at closely is looked at again every other second.
    fn look_again(&mut self) -> Vec<Ask> {
        match &mut self.close {
            Some(close) if self.now - close.asked_at >= 2 => {
                close.asked_at = self.now;
                vec![Ask::Look(close.id.clone())]
            }
            _ => Vec::new(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only compared")]
pub(super) fn as_float(n: u64) -> f64 {
    n as f64
}
