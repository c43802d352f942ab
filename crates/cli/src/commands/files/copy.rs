use std::fs::{Metadata, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use sandscope_client::{Client, Command, Download, EntryInfo, FileType, Sandbox};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::copy_end::{CopyEnd, is_name, join};
use crate::commands::enter;
use crate::commands::exec::read_stdin;
use sandscope_console::output::{self, printable};

/// One piece of a file on its way into a sandbox, in bytes, and how many wait.
const PIECE_BYTES: usize = 256 * 1024;
const PIECES: usize = 4;

/// How deep a tree may be.
const MAX_DEPTH: usize = 128;

/// Files made executable by one command.
const CHMOD_BATCH: usize = 200;

/// What a user may do with a file, by way of copying: no set-user-id, no sticky bits.
const PLAIN_BITS: u32 = 0o777;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied {
    pub(super) n_files: u64,
    pub(super) n_bytes: u64,
    pub(super) n_skipped: u64,
}

pub(super) struct Copier {
    client: Client,
    user: Option<String>,
    copied: Copied,
    /// Files inside that are to be made executable.
    executables: Vec<String>,
}

impl Copier {
    pub(super) fn new(client: Client, user: Option<String>) -> Self {
        Self { client, user, copied: Copied::default(), executables: Vec::new() }
    }

    pub(super) fn copied(&self) -> Copied {
        self.copied
    }

    pub(super) async fn copy(&mut self, from: CopyEnd, to: CopyEnd) -> anyhow::Result<()> {
        match (from, to) {
            (CopyEnd::Here(source), CopyEnd::Inside { id, path }) => {
                let sandbox = enter(&self.client, &id).await?;
                self.bring_in(&sandbox, &source, &path).await
            }
            (CopyEnd::Stream, CopyEnd::Inside { id, path }) => {
                let sandbox = enter(&self.client, &id).await?;
                let mut input = read_stdin(PIECE_BYTES);
                let (sender, pieces) = mpsc::channel(PIECES);
                let pump = async {
                    while let Some(piece) = input.recv().await {
                        if sender.send(Ok(piece)).await.is_err() {
                            return;
                        }
                    }
                    drop(sender);
                };
                self.upload(&sandbox, &path, pieces, pump).await
            }
            (CopyEnd::Inside { id, path }, CopyEnd::Here(target)) => {
                let sandbox = enter(&self.client, &id).await?;
                self.take_out(&sandbox, &path, &target).await
            }
            (CopyEnd::Inside { id, path }, CopyEnd::Stream) => {
                let sandbox = enter(&self.client, &id).await?;
                let mut download = self.open(&sandbox, &path).await?;
                while let Some(piece) = download.next().await? {
                    output::raw_stdout(&piece)?;
                }
                Ok(())
            }
            (CopyEnd::Inside { id: from, path: source }, CopyEnd::Inside { id: to, path: target }) => {
                let (from, to) = (enter(&self.client, &from).await?, enter(&self.client, &to).await?);
                self.carry_over(&from, &source, &to, &target).await
            }
            (CopyEnd::Here(_) | CopyEnd::Stream, CopyEnd::Here(_) | CopyEnd::Stream) => {
                bail!("neither path is in a sandbox: write <sandbox id>:<path> for the one that is")
            }
        }
    }

    /// A file or a directory from here.
    async fn bring_in(&mut self, sandbox: &Sandbox, source: &Path, path: &str) -> anyhow::Result<()> {
        let about = || source.display().to_string();
        let metadata = tokio::fs::metadata(source).await.with_context(|| {
            format!(
                "cannot read {} on this machine (a path in a sandbox is <sandbox id>:<path>)",
                source.display()
            )
        })?;
        let name = tokio::fs::canonicalize(source).await.with_context(about)?;
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
        let target = self.target(sandbox, path, name.as_deref()).await?;
        if metadata.is_file() {
            self.bring_in_file(sandbox, source, &metadata, target).await?;
        } else if metadata.is_dir() {
            self.bring_in_tree(sandbox, source.to_owned(), target).await?;
        } else {
            bail!("{} is neither a file nor a directory", source.display());
        }
        self.make_executable(sandbox).await
    }

    /// What `path` means as a target: a directory that is there keeps the source's name.
    async fn target(&self, sandbox: &Sandbox, path: &str, name: Option<&str>) -> anyhow::Result<String> {
        let found = self.client.stat(sandbox, self.user.as_deref(), path).await?;
        let directory = found.filter(|entry| entry.file_type == FileType::Directory);
        let into = match directory {
            Some(entry) => Some(entry.path),
            None => path.ends_with('/').then(|| path.to_owned()),
        };
        match into {
            Some(into) => {
                Ok(join(&into, name.context("the source has no name of its own: name the target")?))
            }
            None => Ok(path.to_owned()),
        }
    }

    async fn bring_in_tree(
        &mut self,
        sandbox: &Sandbox,
        source: PathBuf,
        target: String,
    ) -> anyhow::Result<()> {
        let mut waiting = vec![(source, target, 0)];
        while let Some((source, target, depth)) = waiting.pop() {
            let about = || source.display().to_string();
            self.client.make_directory(sandbox, self.user.as_deref(), &target).await?;
            let mut entries = tokio::fs::read_dir(&source).await.with_context(about)?;
            while let Some(entry) = entries.next_entry().await.with_context(about)? {
                let path = entry.path();
                let metadata = entry.metadata().await.with_context(|| path.display().to_string())?;
                let name = entry.file_name();
                match name.to_str() {
                    None => self.skip(&path.display().to_string(), "its name is not UTF-8"),
                    Some(name) if metadata.is_dir() && depth < MAX_DEPTH => {
                        waiting.push((path, join(&target, name), depth + 1));
                    }
                    Some(name) if metadata.is_file() => {
                        self.bring_in_file(sandbox, &path, &metadata, join(&target, name)).await?;
                    }
                    Some(_) => self.skip(&path.display().to_string(), what_is_not_copied(metadata.is_dir())),
                }
            }
        }
        Ok(())
    }

    async fn bring_in_file(
        &mut self,
        sandbox: &Sandbox,
        source: &Path,
        metadata: &Metadata,
        target: String,
    ) -> anyhow::Result<()> {
        let about = || source.display().to_string();
        let mut file = tokio::fs::File::open(source).await.with_context(about)?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let pump = async {
            loop {
                let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
                let piece = match file.read_buf(&mut piece).await {
                    Ok(0) => break,
                    Ok(_) => Ok(piece.freeze()),
                    Err(error) => Err(error),
                };
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            drop(sender);
        };
        self.upload(sandbox, &target, pieces, pump).await.with_context(about)?;
        if metadata.permissions().mode() & 0o100 != 0 {
            self.executables.push(target);
        }
        Ok(())
    }

    /// Writes the file at `path` from `pieces`, which `pump` provides.
    async fn upload(
        &mut self,
        sandbox: &Sandbox,
        path: &str,
        mut pieces: mpsc::Receiver<std::io::Result<Bytes>>,
        pump: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let (counted, to_send) = mpsc::channel(PIECES);
        let n_bytes = AtomicUsize::new(0);
        let count = async {
            while let Some(piece) = pieces.recv().await {
                n_bytes.fetch_add(piece.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
                if counted.send(piece).await.is_err() {
                    return;
                }
            }
            drop(counted);
        };
        let upload = self.client.upload(sandbox, self.user.as_deref(), path, to_send);
        tokio::pin!(upload);
        // A refusal may come before everything is sent: then the rest is not.
        let feed = async { tokio::join!(pump, count) };
        tokio::pin!(feed);
        let outcome = tokio::select! {
            outcome = &mut upload => outcome,
            _ = &mut feed => upload.await,
        };
        outcome.with_context(|| format!("cannot write {}", printable(path)))?;
        self.copied.n_files += 1;
        self.copied.n_bytes += u64::try_from(n_bytes.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Writing gives no file the right to be run.
    async fn make_executable(&mut self, sandbox: &Sandbox) -> anyhow::Result<()> {
        let executables = std::mem::take(&mut self.executables);
        for batch in executables.chunks(CHMOD_BATCH) {
            let mut args = vec!["+x".to_owned(), "--".to_owned()];
            args.extend_from_slice(batch);
            let chmod =
                Command { cmd: "chmod".to_owned(), args, user: self.user.clone(), ..Command::default() };
            let outcome = self.client.run(sandbox, &chmod).await;
            if !matches!(outcome, Ok((0, _))) {
                output::warn(format_args!("{} files could not be made executable", batch.len()));
            }
        }
        Ok(())
    }

    async fn open(&self, sandbox: &Sandbox, path: &str) -> anyhow::Result<Download> {
        let download = self.client.download(sandbox, self.user.as_deref(), path).await;
        download.with_context(|| format!("cannot read {}", printable(path)))
    }

    async fn entry(&self, sandbox: &Sandbox, path: &str) -> anyhow::Result<EntryInfo> {
        let found = self.client.stat(sandbox, self.user.as_deref(), path).await?;
        found.with_context(|| {
            let from = if path.starts_with(['/', '~']) {
                ""
            } else {
                " (a relative path starts at the user's home)"
            };
            format!("there is no {} in sandbox {}{from}", printable(path), sandbox.sandbox_id)
        })
    }

    /// A file or a directory from inside.
    async fn take_out(&mut self, sandbox: &Sandbox, path: &str, target: &Path) -> anyhow::Result<()> {
        let entry = self.entry(sandbox, path).await?;
        let into_directory = target.is_dir() || target.as_os_str().as_encoded_bytes().ends_with(b"/");
        let target = if into_directory {
            let name = Some(&entry.name).filter(|name| is_name(name));
            target.join(name.context("the source has no name of its own: name the target")?)
        } else {
            target.to_owned()
        };
        match entry.file_type {
            FileType::File => self.take_out_file(sandbox, &entry.path, entry.mode, &target).await,
            FileType::Directory => self.take_out_tree(sandbox, entry.path, target).await,
            FileType::Symlink | FileType::Unspecified => {
                bail!("{} is neither a file nor a directory", printable(&entry.path))
            }
        }
    }

    async fn take_out_tree(
        &mut self,
        sandbox: &Sandbox,
        source: String,
        target: PathBuf,
    ) -> anyhow::Result<()> {
        let mut waiting = vec![(source, target, 0)];
        while let Some((source, target, depth)) = waiting.pop() {
            tokio::fs::create_dir_all(&target).await.with_context(|| target.display().to_string())?;
            for entry in self.client.list_directory(sandbox, self.user.as_deref(), &source).await? {
                let path = join(&source, &entry.name);
                let is_link = entry.symlink_target.is_some();
                match entry.file_type {
                    _ if !is_name(&entry.name) => self.skip(&path, "its name is none"),
                    FileType::File if !is_link => {
                        self.take_out_file(sandbox, &path, entry.mode, &target.join(&entry.name)).await?;
                    }
                    FileType::Directory if !is_link && depth < MAX_DEPTH => {
                        waiting.push((path, target.join(&entry.name), depth + 1));
                    }
                    file_type => {
                        let is_directory = file_type == FileType::Directory && !is_link;
                        self.skip(&path, what_is_not_copied(is_directory));
                    }
                }
            }
        }
        Ok(())
    }

    async fn take_out_file(
        &mut self,
        sandbox: &Sandbox,
        path: &str,
        mode: u32,
        target: &Path,
    ) -> anyhow::Result<()> {
        let about = || target.display().to_string();
        let mut download = self.open(sandbox, path).await?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(missing) = directory.filter(|directory| !directory.is_dir()) {
            bail!("there is no directory {} on this machine: create it first", missing.display());
        }
        let mut file =
            tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).with_context(about)?;
        let mut n_bytes = 0;
        while let Some(piece) =
            download.next().await.with_context(|| format!("cannot read {}", printable(path)))?
        {
            file.write_all(&piece).with_context(about)?;
            n_bytes += piece.len();
        }
        // What this process may not grant it does not: as for any file it makes.
        let mask = umask();
        file.as_file()
            .set_permissions(Permissions::from_mode(mode & PLAIN_BITS & !mask))
            .with_context(about)?;
        file.persist(target).with_context(about)?;
        self.copied.n_files += 1;
        self.copied.n_bytes += u64::try_from(n_bytes).unwrap_or(u64::MAX);
        Ok(())
    }

    /// A file from one sandbox to another, by way of here.
    async fn carry_over(
        &mut self,
        from: &Sandbox,
        source: &str,
        to: &Sandbox,
        target: &str,
    ) -> anyhow::Result<()> {
        let entry = self.entry(from, source).await?;
        if entry.file_type != FileType::File {
            bail!(
                "{} is not a file; only files are copied from sandbox to sandbox, directories by way of here",
                printable(&entry.path)
            );
        }
        let name = Some(entry.name.as_str()).filter(|name| is_name(name));
        let target = self.target(to, target, name).await?;
        let mut download = self.open(from, &entry.path).await?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let pump = async {
            loop {
                let piece = match download.next().await {
                    Ok(Some(piece)) => Ok(piece),
                    Ok(None) => break,
                    Err(error) => Err(std::io::Error::other(error)),
                };
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            drop(sender);
        };
        self.upload(to, &target, pieces, pump).await?;
        if entry.mode & 0o100 != 0 {
            self.executables.push(target);
        }
        self.make_executable(to).await
    }

    fn skip(&mut self, path: &str, why: &str) {
        self.copied.n_skipped += 1;
        output::warn(format_args!("{} is left out: {why}", printable(path)));
    }
}

const fn what_is_not_copied(is_directory: bool) -> &'static str {
    if is_directory { "the tree is too deep" } else { "it is a link or no plain file" }
}

/// The bits that files made by this process do not get. Reading it sets it: nothing here makes files at this moment.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}
