//! The file's sections, one file each: every setting is one line in one of them.

mod alerts;
mod log;
mod metrics;
mod otlp;
mod prices;
mod sandbox;
mod server;
mod team;
mod webhooks;

use crate::setting::{Section, Setting};

pub use log::Log;
pub use metrics::Metrics;
pub use otlp::Otlp;
pub use sandbox::Sandbox;
pub use server::{Server, TlsFiles};
pub use webhooks::Webhooks;

pub(crate) use alerts::Alerts;
pub(crate) use otlp::Exporter;
pub(crate) use prices::PriceTable;
pub(crate) use team::Team;

/// A section as the file knows it.
pub(crate) struct Table {
    /// Its name, without brackets.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    pub(crate) settings: Vec<Setting>,
}

/// All sections, in the order in which they are shown.
pub(crate) fn all() -> Vec<Table> {
    fn of<S: Section>() -> Table {
        Table { name: S::TABLE, about: S::ABOUT.trim(), settings: S::settings() }
    }
    let alerts = Table { name: alerts::TABLE, about: alerts::ABOUT, settings: alerts::settings() };
    vec![
        of::<Server>(),
        of::<Sandbox>(),
        of::<Team>(),
        of::<Webhooks>(),
        of::<Metrics>(),
        of::<Exporter>(),
        of::<PriceTable>(),
        alerts,
        of::<Log>(),
    ]
}
