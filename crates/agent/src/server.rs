//! Connections. There may be so many and no more, and everybody inside can open some: when all are taken, one that
//! rests (no request under way) makes room, the one that has rested longest. A connection that is being answered is never cut off.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::state::Agent;
use crate::{request_body, route};

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
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let resting = Rc::<Resting>::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if places.available_permits() == 0 {
            resting.end_longest();
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        // Output of a terminal should not wait for more of it; where this fails it is only slower.
        let _ = stream.set_nodelay(true);
        let rest =
            Rc::new(Rest { all: Rc::clone(&resting), number: Cell::new(None), task: RefCell::default() });
        let task = tokio::task::spawn_local(talk(Rc::clone(&agent), stream, Rc::clone(&rest), place));
        // It has not run yet: nothing has begun.
        *rest.task.borrow_mut() = Some(task.abort_handle());
        rest.begin();
    }
}

async fn talk(agent: Rc<Agent>, stream: TcpStream, rest: Rc<Rest>, place: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        rest.end();
        let (agent, busy) = (Rc::clone(&agent), Busy(Rc::clone(&rest)));
        async move {
            let (request, rest) = request_body::keep(request);
            let answer = route::answer(&agent, request).await;
            rest.discard().await;
            // The closure goes when the body goes, and with it the connection's being busy.
            Ok::<_, Infallible>(answer.map(|body| {
                body.map_err(move |error| {
                    let _held = &busy;
                    error
                })
            }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD_BYTES)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    // The peer went away or spoke something else: nothing to be done about it here.
    let _: Result<(), hyper::Error> = connection.await;
    rest.end();
    drop(place);
}

/// The connections that rest, the longest first.
#[derive(Default)]
struct Resting {
    tasks: RefCell<BTreeMap<u64, AbortHandle>>,
    next: Cell<u64>,
}

impl Resting {
    fn end_longest(&self) {
        if let Some((_, task)) = self.tasks.borrow_mut().pop_first() {
            task.abort();
        }
    }
}

/// One connection's place among them, while it rests.
struct Rest {
    all: Rc<Resting>,
    number: Cell<Option<u64>>,
    task: RefCell<Option<AbortHandle>>,
}

impl Rest {
    fn begin(&self) {
        let Some(task) = self.task.borrow().clone() else { return };
        let number = self.all.next.get();
        self.all.next.set(number + 1);
        self.all.tasks.borrow_mut().insert(number, task);
        self.number.set(Some(number));
    }

    fn end(&self) {
        if let Some(number) = self.number.take() {
            self.all.tasks.borrow_mut().remove(&number);
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.end();
    }
}

/// A request under way, to the last byte of its answer.
struct Busy(Rc<Rest>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.begin();
    }
}
