use std::time::{Duration, Instant};

use sandscope_client::{EventFilter, Followed, NewSandbox};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Child, Row, quantiles, row};
use sandscope_console::output;
use sandscope_system::raise_descriptor_limit;

/// Events sent to every reader.
const N_EVENTS: u64 = 50;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// How long everything may take to arrive.
const LIMIT: Duration = Duration::from_secs(120);

/// Events that `n` streams read at once: from the commit's answer until each, and the last, has it.
pub(super) async fn measure(n: usize) -> anyhow::Result<Vec<Row>> {
    raise_descriptor_limit();
    let server = Child::start().await?;
    let client = server.client();
    let wanted = NewSandbox { template_id: "base".to_owned(), ..NewSandbox::default() };
    let sandbox = client.create_sandbox(&wanted).await?;
    output::line(format_args!("opening {n} streams …"))?;
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for _ in 0..n {
        let (client, arrived) = (client.clone(), arrived.clone());
        readers.spawn(async move {
            let mut follow = client.follow(None, &EventFilter::default(), "0");
            loop {
                match follow.next().await? {
                    Followed::Event(event) => {
                        if arrived.send((event.sequence, Instant::now())).is_err() {
                            return Ok::<(), anyhow::Error>(());
                        }
                    }
                    Followed::Reset(about) => anyhow::bail!("events are missing: {about}"),
                    Followed::Broken(error) => return Err(error.into()),
                }
            }
        });
    }
    // The first event is the sandbox's creation: once all have it, all listen.
    let listening = async {
        for _ in 0..n {
            arrivals.recv().await;
        }
    };
    tokio::time::timeout(LIMIT, listening).await?;

    let mut committed = Vec::new();
    for _ in 0..N_EVENTS {
        client.set_timeout(&sandbox.sandbox_id, 300).await?;
        committed.push(Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    let total = n * committed.len();
    let mut each = Vec::with_capacity(total);
    let mut slowest = vec![Duration::ZERO; committed.len()];
    let collecting = async {
        while each.len() < total {
            let Some((sequence, at)) = arrivals.recv().await else { break };
            let index = usize::try_from(sequence.saturating_sub(2)).unwrap_or(usize::MAX);
            let Some(committed) = committed.get(index) else { continue };
            let took = at.saturating_duration_since(*committed);
            each.push(took);
            slowest[index] = slowest[index].max(took);
        }
    };
    tokio::time::timeout(LIMIT, collecting).await?;
    anyhow::ensure!(each.len() == total, "{} of {total} arrived", each.len());
    readers.shutdown().await;
    server.stop().await?;
    Ok(vec![
        row(
            format!("event committed to received, {n} streams"),
            quantiles::describe(&mut each),
            format!("{N_EVENTS} events, one every {} ms", PAUSE.as_millis()),
        ),
        row(
            "  until the last stream has it",
            quantiles::describe(&mut slowest),
            "readers on the same machine",
        ),
    ])
}
