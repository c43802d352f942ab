//! `POST /files/compose`: files put one after the other into one, without their bytes passing through here. The
//! result appears whole or not at all, and only then its parts go.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use rustix::fs::{Mode, OFlags};
use sandscope_agent_protocol::rest::{ComposeRequest, WriteInfo};

use super::refusal::{full, is_full, long, of_connect, of_io};
use super::request::{MAX_FILES, resolve};
use super::sink;
use crate::body::{self, Answer, Refusal};
use crate::connect::BODY_DEADLINE;
use crate::paths;
use crate::place::{Last, Owner, Place};
use crate::pool::Caller;
use crate::random;
use crate::regular_file::{self, Identity};
use crate::removable;
use crate::request_body::RequestBody;
use crate::rights::Rights;
use crate::settings::Settings;

const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Copied at a time by the kernel.
const STEP_BYTES: usize = 16 * 1024 * 1024;

/// Copied at a time where the kernel cannot do it alone.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers `POST /files/compose`.
pub(crate) async fn answer(settings: &Settings, request: Request<RequestBody>) -> Result<Answer, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let message = read(request).await?;
    let user = settings.user(message.username.as_deref()).map_err(of_connect)?;
    if message.destination.is_empty() {
        return Err(bad("the destination is missing".to_owned()));
    }
    if message.source_paths.is_empty() || message.source_paths.len() > MAX_FILES {
        return Err(bad(format!("there must be 1 to {MAX_FILES} source paths")));
    }
    let resolve = |path: &String| resolve(settings, &user, path);
    let sources = message.source_paths.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
    let destination = resolve(&message.destination)?;
    if sources.contains(&destination) {
        return Err(bad(format!("the destination '{destination}' is one of the sources")));
    }
    let (owner, reader) = ((user.uid, user.gid), Rights::of_user(&user));
    let path = destination.clone();
    long(move |caller| compose(&sources, &path, owner, &reader, caller)).await??;
    let name = paths::name(&destination).to_owned();
    let written =
        WriteInfo { path: destination, name, kind: "file".to_owned(), metadata: Default::default() };
    Ok(body::json(StatusCode::OK, &written))
}

async fn read(request: Request<RequestBody>) -> Result<ComposeRequest, Refusal> {
    let collected = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let body = tokio::time::timeout(BODY_DEADLINE, collected)
        .await
        .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is too large or broke off"))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("cannot read the request: {error}")))
}

/// What `reader` may not read does not get into a file of theirs: a program may have given a part's name to any file.
fn compose(
    sources: &[String],
    destination: &str,
    owner: Owner,
    reader: &Rights,
    caller: &Caller<'_>,
) -> Result<(), Refusal> {
    let at = |path: &str, error: io::Error| of_io("cannot compose", path, &error);
    // All are looked at before anything is made.
    let mut bytes = 0;
    for source in sources {
        let look = || {
            let found = regular_file::read_for(source, reader)?.metadata()?;
            Place::find(source, Last::Itself, None)?.act(removable::check)?;
            Ok(found.len())
        };
        bytes += look().map_err(|error| at(source, error))?;
    }
    let to_destination =
        |error: io::Error| if is_full(&error) { full(bytes) } else { at(destination, error) };
    // Where the destination is a link, what it leads to is replaced and the link stays.
    let target = Place::find(destination, Last::Followed, Some(owner)).map_err(to_destination)?;
    match target.act(|path| std::fs::symlink_metadata(path)) {
        Ok(found) if found.is_dir() => return Err(at(destination, ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => {
            return Err(at(destination, io::Error::new(ErrorKind::InvalidInput, "not a regular file")));
        }
        Ok(found) if sources.iter().any(|source| is_same(source, &found)) => {
            let message = format!("the destination '{destination}' is one of the sources");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        _ => {}
    }
    let name = format!(".compose-{}", random::word(12).map_err(to_destination)?);
    let mut file = target.act(|path| make(&path.with_file_name(&name))).map_err(to_destination)?;
    let mut made = || -> Result<(), Refusal> {
        target.give(&file, owner).map_err(to_destination)?;
        for source in sources {
            let mut from = regular_file::read_for(source, reader).map_err(|error| at(source, error))?;
            append(&mut from, &mut file, caller).map_err(to_destination)?;
        }
        // Before the parts go.
        sink::sync(&file).map_err(to_destination)?;
        target.act(|path| std::fs::rename(path.with_file_name(&name), path)).map_err(to_destination)
    };
    let result = made();
    if result.is_err() {
        // Not there any more is as good.
        let _ = target.act(|path| std::fs::remove_file(path.with_file_name(&name)));
        return result;
    }
    for source in sources {
        // What could be known to stay was refused before. The result is there: that is what the answer says.
        let _ = Place::find(source, Last::Itself, None)
            .and_then(|place| place.act(|path| std::fs::remove_file(path)));
    }
    Ok(())
}

fn is_same(source: &str, found: &std::fs::Metadata) -> bool {
    std::fs::metadata(source).is_ok_and(|other| Identity::from(&other) == Identity::from(found))
}

fn make(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?.into())
}

/// Appends all of `from`; the kernel copies, or shares, where it can.
fn append(from: &mut File, to: &mut File, caller: &Caller<'_>) -> io::Result<()> {
    loop {
        caller.waits()?;
        match rustix::fs::copy_file_range(&*from, None, &*to, None, STEP_BYTES) {
            // Not the end of a file that has no length, as some file systems have them: reading tells.
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(
                rustix::io::Errno::XDEV
                | rustix::io::Errno::INVAL
                | rustix::io::Errno::NOSYS
                | rustix::io::Errno::OPNOTSUPP
                | rustix::io::Errno::PERM,
            ) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        caller.waits()?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
