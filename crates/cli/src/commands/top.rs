//! `sandscope top`: all sandboxes on one screen, every second.
//!
//! ```text
//!   keys (a thread) ─┐
//!   stream ──────────┼──► Board ──► view ──► terminal
//!   list, details ───┘      │ Ask::Kill, Ask::Pause, Ask::Resume, after a confirmation
//!                           └──────► tasks ──► server
//! ```
//!
//! Ownership: one task owns the [`Board`], which is pure: what happened goes in, what to ask comes out. Requests run in
//! tasks of their own and come back as news, so that a slow server never freezes the screen. A broken stream
//! is taken up again and said to be broken meanwhile. The terminal is restored however the command ends.

mod board;
mod help;
mod news;
mod paint;
pub(crate) mod redraw;
mod row;
mod table;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use ratatui::crossterm::event::{self, Event};
use sandscope_client::Client;
use tokio::sync::mpsc;

use crate::arguments::TopArgs;
use crate::commands;

use board::{Ask, Board};
use news::News;

/// How often the list of sandboxes is asked for: paused ones and labels are not in the stream.
const LIST_EVERY: Duration = Duration::from_secs(2);
/// Pause before a broken stream is taken up again.
const RETRY: Duration = Duration::from_secs(1);
/// News that may wait for the screen.
const QUEUE: usize = 256;
/// Processes shown of one sandbox.
const PROCESSES: u32 = 50;

/// `sandscope top`
pub(crate) async fn run(arguments: TopArgs) -> anyhow::Result<ExitCode> {
    let client = commands::client(arguments.server)?;
    // Says what is wrong with server or key before the screen is taken.
    let sandboxes = client.sandboxes("running,paused", usize::MAX).await?;
    let (news, mut received) = mpsc::channel(QUEUE);
    tokio::spawn(stream(client.clone(), news.clone()));
    tokio::spawn(list(client.clone(), news.clone()));
    let mut terminal = ratatui::try_init().context("`top` needs a terminal")?;
    let keys = news.clone();
    // Ends with the process: reading a terminal cannot be interrupted.
    std::thread::spawn(move || read_keys(&keys));
    let mut board = Board::new(sandscope_console::output::colours_wanted());
    board.list(sandboxes);
    let outcome = async {
        loop {
            terminal.draw(|frame| view::draw(frame, &mut board))?;
            let Some(first) = received.recv().await else { return Ok(()) };
            // Whatever came meanwhile needs one picture, not many.
            let mut next = Some(first);
            while let Some(one) = next {
                for ask in board.receive(one) {
                    if matches!(ask, Ask::Quit) {
                        return Ok(());
                    }
                    tokio::spawn(act(client.clone(), ask, news.clone()));
                }
                next = received.try_recv().ok();
            }
        }
    }
    .await;
    ratatui::restore();
    outcome.map(|()| ExitCode::SUCCESS)
}

fn read_keys(news: &mpsc::Sender<News>) {
    loop {
        let sent = match event::read() {
            Ok(Event::Key(key)) if key.is_press() => news.blocking_send(News::Key(key)),
            Ok(Event::Resize(..)) => news.blocking_send(News::Redraw),
            Ok(_) => Ok(()),
            Err(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn stream(client: Client, news: mpsc::Sender<News>) {
    loop {
        let broken = match client.follow_all_metrics().await {
            Err(error) => error.to_string(),
            Ok(mut seconds) => loop {
                match seconds.next().await {
                    Ok(Some(second)) => {
                        if news.send(News::Seconds(second)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break "the stream of metrics ended".to_owned(),
                    Err(error) => break error.to_string(),
                }
            },
        };
        if news.send(News::Note(format!("{broken}; trying again"))).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn list(client: Client, news: mpsc::Sender<News>) {
    let mut every = tokio::time::interval(LIST_EVERY);
    loop {
        every.tick().await;
        let sent = match client.sandboxes("running,paused", usize::MAX).await {
            Ok(sandboxes) => news.send(News::List(sandboxes)).await,
            Err(error) => news.send(News::Note(error.to_string())).await,
        };
        // An older server has no alerts: then none is shown.
        let closed = match client.alerts().await {
            Ok(alerts) => news.send(News::Alerts(alerts.firing)).await.is_err(),
            Err(_) => false,
        };
        if sent.is_err() || closed {
            return;
        }
    }
}

async fn act(client: Client, ask: Ask, news: mpsc::Sender<News>) {
    let done = |what: &str, id: &str| News::Note(format!("{id} {what}"));
    let outcome = match &ask {
        Ask::Quit => return,
        Ask::Kill(id) => client.kill(id).await.map(|()| done("has been killed", id)),
        Ask::Pause(id) => client.pause(id).await.map(|()| done("has been paused", id)),
        Ask::Resume(id) => client.carry_on(id).await.map(|_| done("runs again", id)),
        Ask::Look(id) => match tokio::join!(client.details(id), client.processes(id, PROCESSES)) {
            (Ok(details), Ok(processes)) => {
                Ok(News::Look { id: id.clone(), details: Box::new(details), processes })
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
    };
    let changed = !matches!(ask, Ask::Look(_));
    // A look that failed is asked for again with the next second.
    let outcome = outcome.unwrap_or_else(|error| News::Note(error.to_string()));
    if news.send(outcome).await.is_ok()
        && changed
        && let Ok(sandboxes) = client.sandboxes("running,paused", usize::MAX).await
    {
        let _closing = news.send(News::List(sandboxes)).await;
    }
}
