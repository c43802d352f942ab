//! `sandscope files cp`: files and directories between here and sandboxes.
//!
//! Contents are streamed in pieces, so memory does not grow with a file. What comes out of a sandbox is not trusted: its
//! names must be names, links and devices are left out, and a file appears under its name only once it is complete.

mod copy;
mod copy_end;

use std::process::ExitCode;

use serde_json::json;

use crate::arguments::{CopyArgs, FilesCommand};
use crate::commands::client;
use copy::Copier;
use copy_end::CopyEnd;
use sandscope_console::output;

/// `sandscope files …`
pub(crate) async fn run(command: FilesCommand) -> anyhow::Result<ExitCode> {
    let FilesCommand::Cp(CopyArgs { source, destination, user, json, server }) = command;
    let (from, to) = (CopyEnd::parse(&source)?, CopyEnd::parse(&destination)?);
    let mut copier = Copier::new(client(server)?, user);
    let to_screen = matches!(to, CopyEnd::Stream);
    copier.copy(from, to).await?;
    let copied = copier.copied();
    if to_screen {
        return Ok(ExitCode::SUCCESS);
    }
    if json {
        output::line(
            json!({ "files": copied.n_files, "bytes": copied.n_bytes, "skipped": copied.n_skipped }),
        )?;
    } else {
        let files = if copied.n_files == 1 { "file" } else { "files" };
        output::line(format_args!("{} {files}, {} bytes copied", copied.n_files, copied.n_bytes))?;
    }
    Ok(ExitCode::SUCCESS)
}
