use std::time::{Duration, Instant};

use sandscope_client::{Client, NewSandbox};
use tokio::task::JoinSet;

use super::{Child, Row, quantiles, row};

/// Creates not counted: the first ones fill caches.
const N_WARM_UP: usize = 5;

/// Create through HTTP, one at a time and sixteen at a time.
pub(super) async fn measure(n: usize) -> anyhow::Result<Vec<Row>> {
    let server = Child::start().await?;
    round(server.client(), N_WARM_UP, 1).await?;
    let mut rows = Vec::new();
    for in_flight in [1, 16] {
        let mut durations = round(server.client(), n, in_flight).await?;
        let remark = format!("{n} creates; each sandbox is killed before the next");
        rows.push(row(format!("create, {in_flight} in flight"), quantiles::describe(&mut durations), remark));
    }
    server.stop().await?;
    Ok(rows)
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
