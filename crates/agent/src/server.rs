use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::route;
use crate::state::Agent;

/// Connections served at the same time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;

/// Largest request head, in bytes; also how much of a body is read ahead.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long a connection may take to send a request's head, or stay silent between requests.
const HEAD_DEADLINE: Duration = Duration::from_secs(120);

/// How long to wait before accepting again after the kernel refused (out of descriptors or memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, agent: Rc<Agent>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Output of a terminal should not wait for more of it; where this fails it is only slower.
        let _ = stream.set_nodelay(true);
        let agent = Rc::clone(&agent);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let agent = Rc::clone(&agent);
                async move { Ok::<_, Infallible>(route::answer(&agent, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            // The peer went away or spoke something else: nothing to be done about it here.
            let _ = connection.await;
            drop(permit);
        });
    }
}
