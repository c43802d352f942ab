use std::time::{Duration, Instant};

use sandscope_client::{Client, NewSandbox};
use tokio::task::JoinSet;

use super::{Child, Row, quantiles, row};

/// Creates not counted: the first ones fill caches.
const N_WARM_UP: usize = 5;

/// Between two creates where nobody is in a hurry: the shelf of ready sandboxes is filled meanwhile.
const PACE: Duration = Duration::from_millis(100);

/// Create through HTTP, now and then, one at a time and sixteen at a time.
pub(super) async fn measure(n: usize) -> anyhow::Result<Vec<Row>> {
    let server = Child::start().await?;
    round(server.client(), N_WARM_UP, 1).await?;
    let mut rows = Vec::new();
    let mut durations = paced(server.client(), n).await?;
    let remark = format!("{n} creates, one every {} ms; each sandbox is killed at once", PACE.as_millis());
    rows.push(row("create, now and then", quantiles::describe(&mut durations), remark));
    for in_flight in [1, 16] {
        let mut durations = round(server.client(), n, in_flight).await?;
        let remark = format!("{n} creates without a pause; each sandbox is killed before the next");
        rows.push(row(format!("create, {in_flight} in flight"), quantiles::describe(&mut durations), remark));
    }
    server.stop().await?;
    Ok(rows)
}

/// Makes `n` sandboxes at [`PACE`]; how long each create took.
async fn paced(client: &Client, n: usize) -> anyhow::Result<Vec<Duration>> {
    let mut durations = Vec::with_capacity(n);
    for _ in 0..n {
        durations.append(&mut one_client(client.clone(), 1).await?);
        tokio::time::sleep(PACE).await;
    }
    Ok(durations)
}

/// Makes `n` sandboxes with `in_flight` clients; how long each create took.
async fn round(client: &Client, n: usize, in_flight: usize) -> anyhow::Result<Vec<Duration>> {
    let mut clients = JoinSet::new();
    for number in 0..in_flight {
        let share = n / in_flight + usize::from(number < n % in_flight);
        clients.spawn(one_client(client.clone(), share));
    }
    let mut durations = Vec::with_capacity(n);
    while let Some(done) = clients.join_next().await {
        durations.append(&mut done??);
    }
    Ok(durations)
}

async fn one_client(client: Client, n: usize) -> anyhow::Result<Vec<Duration>> {
    let wanted = NewSandbox { template_id: "base".to_owned(), ..NewSandbox::default() };
    let mut durations = Vec::with_capacity(n);
    for _ in 0..n {
        let began = Instant::now();
        let sandbox = client.create_sandbox(&wanted).await?;
        durations.push(began.elapsed());
        client.kill(&sandbox.sandbox_id).await?;
    }
    Ok(durations)
}
