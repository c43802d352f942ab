//! `sandscope sandbox logs`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sandscope_client::{Client, ClientError, LogEntry, LogQuery};

use sandscope_model::{Clock as _, Timestamp, when};
use sandscope_system::SystemClock;

use crate::arguments::{Format, LogsArgs};
use crate::commands::client;
use sandscope_console::output::{self, Paint, printable};

/// How often `--follow` looks.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// Entries in one answer at most.
const PAGE: u32 = 1000;

pub(crate) async fn run(arguments: LogsArgs) -> anyhow::Result<ExitCode> {
    let LogsArgs { id, follow, level, since, until, search, tail, format, server } = arguments;
    let client = client(server)?;
    let query = LogQuery {
        forward: true,
        // Before there was anything is as good as the beginning of time.
        cursor: since.map(|at| at.as_millisecond().max(0)),
        limit: PAGE,
        level: Some(level.to_ascii_lowercase()),
        search,
    };
    let mut printer = Printer { format: format.get(), paint: Paint::for_stdout(), until };
    let query = match tail {
        Some(limit) => last(&client, &id, query, limit, &mut printer).await?,
        None => query,
    };
    match (tail, follow) {
        (_, true) => keep_printing(&client, &id, query, &mut printer).await?,
        (None, false) => {
            print_all(&client, &id, query, &mut printer).await?;
        }
        (Some(_), false) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the last `limit` entries; the query for what comes after them.
async fn last(
    client: &Client,
    id: &str,
    query: LogQuery,
    limit: u32,
    printer: &mut Printer,
) -> anyhow::Result<LogQuery> {
    let mut entries = client.logs(id, &LogQuery { forward: false, limit, ..query.clone() }).await?;
    entries.reverse();
    let cursor = match entries.last() {
        Some(newest) => Some(after(newest)?),
        // Nothing was wanted, or nothing is there: from now on.
        None => Some(SystemClock.now().as_millisecond()),
    };
    entries.iter().try_for_each(|entry| printer.print(entry))?;
    Ok(LogQuery { cursor, ..query })
}

/// Prints every page from the query's cursor on; the query for what comes after.
async fn print_all(
    client: &Client,
    id: &str,
    mut query: LogQuery,
    printer: &mut Printer,
) -> anyhow::Result<LogQuery> {
    loop {
        let entries = client.logs(id, &query).await?;
        let Some(newest) = entries.last() else { return Ok(query) };
        query.cursor = Some(after(newest)?);
        let is_past = printer.is_past(newest);
        entries.iter().try_for_each(|entry| printer.print(entry))?;
        if is_past {
            return Ok(query);
        }
    }
}

async fn keep_printing(
    client: &Client,
    id: &str,
    mut query: LogQuery,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    loop {
        // Asked before the log: what it wrote until it ended is in the log then.
        let is_gone = is_gone(client, id).await?;
        query = print_all(client, id, query, printer).await?;
        tokio::time::sleep(FOLLOW_EVERY).await;
        if is_gone {
            // That it ended, and why, is written just after it did.
            print_all(client, id, query, printer).await?;
            return Ok(());
        }
    }
}

async fn is_gone(client: &Client, id: &str) -> anyhow::Result<bool> {
    match client.sandbox(id).await {
        Ok(_) => Ok(false),
        Err(ClientError::Refused { status: 404, .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Where what follows an entry begins: each has a millisecond of its own.
fn after(entry: &LogEntry) -> anyhow::Result<i64> {
    let at: Timestamp = entry.timestamp.parse().context("the server sent a time that is none")?;
    Ok(at.as_millisecond().saturating_add(1))
}

struct Printer {
    format: Format,
    paint: Paint,
    /// Entries of this time or later are not printed.
    until: Option<Timestamp>,
}

impl Printer {
    fn is_past(&self, entry: &LogEntry) -> bool {
        let at = entry.timestamp.parse::<Timestamp>();
        self.until.zip(at.ok()).is_some_and(|(until, at)| at >= until)
    }

    fn print(&self, entry: &LogEntry) -> anyhow::Result<()> {
        if self.is_past(entry) {
            return Ok(());
        }
        match self.format {
            Format::Json => output::line(serde_json::to_string(entry)?)?,
            Format::Pretty => output::line(pretty(entry, self.paint))?,
        }
        Ok(())
    }
}

/// An entry as one line for people.
pub(super) fn pretty(entry: &LogEntry, paint: Paint) -> String {
    let at = entry.timestamp.parse().map_or_else(|_| printable(&entry.timestamp), when::millisecond);
    let level = format!("{:<5}", printable(&entry.level).to_uppercase());
    let level = match entry.level.as_str() {
        "error" => paint.red(level),
        "warn" => paint.yellow(level),
        "debug" => paint.dim(level),
        _ => paint.green(level),
    };
    let field = |name: &str| entry.fields.get(name).map(|value| printable(value));
    let from = field("stream").or_else(|| field("logger")).unwrap_or_default();
    let from = match field("pid") {
        Some(pid) => format!("{from}[{pid}]"),
        None => from,
    };
    format!("{}  {level}  {from:<12}  {}", paint.dim(at), printable(&entry.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_the_message_contains() {
        let fields = [("logger", "process"), ("stream", "stdout"), ("pid", "7")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let entry = LogEntry {
            timestamp: "2026-01-31T12:00:00.25Z".to_owned(),
            level: "info".to_owned(),
            message: "a\nb\u{1b}[2Jc\u{202e}d\t\u{fc}".to_owned(),
            fields,
        };
        assert_eq!(
            pretty(&entry, Paint::none()),
            "2026-01-31 12:00:00.250Z  INFO   stdout[7]     a\\nb\\u{1b}[2Jc\\u{202e}d\t\u{fc}"
        );
    }
}
