use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use rustix::process::{Signal as KernelSignal, kill_process_group};
use sandscope_agent_protocol::process::{
    ListResponse, ProcessRequest, SERVICE, SendInputRequest, SendSignalRequest, Signal, StartRequest,
    StreamInputRequest, UpdateRequest,
};
use sandscope_agent_protocol::{Code, ConnectError, FrameDecoder};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::driver::drive;
use super::fanout::Fanout;
use super::input::Input;
use super::launch::launch;
use super::stdio::Outputs;
use super::stream::EventStream;
use super::table::{Process, ProcessTable};
use crate::auth;
use crate::body::{Answer, Body};
use crate::connect::{self, invalid, unimplemented};
use crate::framing::Kind;
use crate::logs::ProcessLog;
use crate::request_body::RequestBody;
use crate::settings::Settings;

/// How long input may wait for a process that does not read, where the caller sets no limit.
const INPUT_LIMIT: Duration = Duration::from_secs(60);

/// How long a stream of input may be silent.
const INPUT_SILENCE: Duration = Duration::from_secs(3600);

/// How long a kill waits for the end of what it killed.
const REAP_LIMIT: Duration = Duration::from_millis(500);

/// An answer without fields: `{}`.
type Empty = Map<String, Value>;

/// Answers a call of `process.Process`.
pub(crate) async fn answer(
    table: &Rc<ProcessTable>,
    settings: &Settings,
    kind: Kind,
    call: &str,
    request: Request<RequestBody>,
) -> Result<Answer, ConnectError> {
    let deadline = connect::deadline(request.headers())?;
    match kind {
        Kind::Unary => {
            let deadline = deadline.or_else(|| Instant::now().checked_add(INPUT_LIMIT));
            Ok(connect::unary_answer(connect::within(deadline, unary(table, call, request)).await))
        }
        Kind::Stream => stream(table, settings, call, deadline, request).await,
    }
}

async fn unary(
    table: &ProcessTable,
    call: &str,
    request: Request<RequestBody>,
) -> Result<Value, ConnectError> {
    match call {
        "List" => {
            connect::unary::<Empty>(request).await?;
            to_value(&ListResponse { processes: table.list() })
        }
        "SendInput" => send_input(table, connect::unary(request).await?).await,
        "CloseStdin" => close_stdin(table, &connect::unary(request).await?).await,
        "SendSignal" => send_signal(table, &connect::unary(request).await?).await,
        "Update" => update(table, &connect::unary(request).await?),
        _ => Err(unimplemented(SERVICE, call, Kind::Unary)),
    }
}

async fn stream(
    table: &Rc<ProcessTable>,
    settings: &Settings,
    call: &str,
    deadline: Option<Instant>,
    request: Request<RequestBody>,
) -> Result<Answer, ConnectError> {
    let keepalive = connect::keepalive(request.headers());
    match call {
        "Start" => {
            let user = auth::basic_user(request.headers())?;
            let user = settings.user(user.as_deref())?;
            let start: StartRequest = connect::single(request.into_body()).await?;
            let place = table.reserve()?;
            let launched = launch(settings, &user, &start)?;
            // No await from here to `expect`: the reaper must not come first.
            let exit = table.exits.expect(launched.pid);
            launched.start.done(&table.exits).await?;
            let terminal = match &launched.outputs {
                Outputs::Terminal(terminal) => Some(Rc::clone(terminal)),
                Outputs::Pipes { .. } => None,
            };
            let process = Rc::new(Process {
                pid: launched.pid,
                config: RefCell::new(start.process.unwrap_or_default()),
                tag: start.tag,
                fanout: Fanout::default(),
                log: ProcessLog::new(
                    &table.logs,
                    launched.pid.as_raw_pid().unsigned_abs(),
                    terminal.is_some(),
                ),
                input: Input::new(launched.stdin, terminal),
                end: RefCell::new(None),
            });
            table.insert(&process);
            let events = EventStream::new(&process, keepalive, deadline);
            let driver = drive(Rc::clone(table), process, launched.outputs, exit, deadline, place);
            tokio::task::spawn_local(driver);
            Ok(connect::stream_answer(Body::pieces(events?)))
        }
        "Connect" => {
            let request: ProcessRequest = connect::single(request.into_body()).await?;
            let process = table.known(request.process.as_ref())?;
            let events = EventStream::new(&process, keepalive, deadline)?;
            Ok(connect::stream_answer(Body::pieces(events)))
        }
        "StreamInput" => {
            let mut body = request.into_body();
            connect::within(deadline, stream_input(table, &mut body)).await?;
            let mut frames = connect::frame(&Empty::new()).to_vec();
            frames.extend_from_slice(&connect::end_frame(None));
            Ok(connect::stream_answer(Body::Whole(frames.into())))
        }
        _ => Err(unimplemented(SERVICE, call, Kind::Stream)),
    }
}

async fn send_input(table: &ProcessTable, request: SendInputRequest) -> Result<Value, ConnectError> {
    let process = table.running(request.process.as_ref())?;
    let input = request.input.ok_or_else(|| invalid("the request has no input"))?;
    process.input.write(&input).await?;
    to_value(&Empty::new())
}

async fn close_stdin(table: &ProcessTable, request: &ProcessRequest) -> Result<Value, ConnectError> {
    table.running(request.process.as_ref())?.input.close().await?;
    to_value(&Empty::new())
}

async fn send_signal(table: &ProcessTable, request: &SendSignalRequest) -> Result<Value, ConnectError> {
    let signal = match request.signal {
        Signal::Sigterm => KernelSignal::TERM,
        Signal::Sigkill => KernelSignal::KILL,
        Signal::Unspecified => {
            return Err(ConnectError::new(Code::Unimplemented, "only SIGTERM and SIGKILL can be sent"));
        }
    };
    let process = table.running(request.process.as_ref())?;
    // The whole group: what a command started should not outlive its kill.
    kill_process_group(process.pid, signal)
        .map_err(|error| ConnectError::new(Code::Internal, format!("error sending signal: {error}")))?;
    if signal == KernelSignal::KILL {
        // So that who kills it again finds that it is gone. One that the kernel keeps for longer is still there.
        let _ = tokio::time::timeout(REAP_LIMIT, table.exits.gone(process.pid)).await;
    }
    to_value(&Empty::new())
}

fn update(table: &ProcessTable, request: &UpdateRequest) -> Result<Value, ConnectError> {
    let process = table.running(request.process.as_ref())?;
    if let Some(size) = request.pty.and_then(|pty| pty.size) {
        process.input.resize(size)?;
    }
    to_value(&Empty::new())
}

/// Writes each message as it arrives, in order.
async fn stream_input(table: &ProcessTable, body: &mut RequestBody) -> Result<(), ConnectError> {
    let mut decoder = FrameDecoder::default();
    let mut process: Option<Rc<Process>> = None;
    loop {
        let frame =
            tokio::time::timeout(INPUT_SILENCE, body.frame()).await.map_err(|_| connect::too_late())?;
        let Some(frame) = frame else {
            return decoder.finish().map_err(|error| invalid(error.to_string()));
        };
        let frame = frame.map_err(|_| ConnectError::new(Code::Canceled, "the stream broke off"))?;
        let Some(bytes) = frame.data_ref() else { continue };
        decoder.push(bytes);
        while let Some(frame) = decoder.next().map_err(|error| invalid(error.to_string()))? {
            if frame.end_of_stream {
                return Ok(());
            }
            match (connect::parse(&frame.payload)?, &process) {
                (StreamInputRequest::Start(start), None) => {
                    process = Some(table.running(start.process.as_ref())?);
                }
                (StreamInputRequest::Start(_), Some(_)) => {
                    return Err(invalid("only the first message may be a start"));
                }
                (StreamInputRequest::Data { input: Some(input) }, Some(process)) => {
                    let write = process.input.write(&input);
                    tokio::time::timeout(INPUT_LIMIT, write).await.map_err(|_| connect::too_late())??;
                }
                (StreamInputRequest::Data { input: Some(_) }, None) => {
                    return Err(invalid("the first message must be a start"));
                }
                (StreamInputRequest::Data { input: None } | StreamInputRequest::Keepalive {}, _) => {}
            }
        }
    }
}

fn to_value<T: serde::Serialize>(message: &T) -> Result<Value, ConnectError> {
    serde_json::to_value(message).map_err(|error| ConnectError::new(Code::Internal, error.to_string()))
}
