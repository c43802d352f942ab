//! One SQLite file: how it is opened, and its one writer and few readers.

use std::fmt::Write;
use std::fs::{DirBuilder, Metadata, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use crate::StoreError;
use crate::failure::Doing;
use crate::feed::Feed;
use crate::sqlite::fault::FaultPlan;
use crate::sqlite::migrations::{Schema, is_current, migrate};
use crate::sqlite::readers::Readers;
use crate::sqlite::reserve::Reserve;
use crate::sqlite::threads::{Ending, StoreThread};
use crate::sqlite::writer::{Tx, Writer};
use crate::sqlite::writes::WriteCounts;

/// Prepared statements kept per connection.
const STATEMENT_CACHE: usize = 128;

/// Page cache of a writer, as SQLite counts it (negative, in KiB): what a group of operations touches, or it is written
/// out and read back while the group is under way.
const WRITER_CACHE: i32 = -8 * 1024;

/// Page cache of a reader, in the same unit. The kernel caches the file once for all of them.
const READER_CACHE: i32 = -512;

/// One SQLite file with its threads.
#[derive(Debug)]
pub(crate) struct File {
    writer: Writer,
    readers: Readers,
    /// Room for what makes room; shared with the other files.
    reserve: Reserve,
    /// Its name in the data directory.
    name: &'static str,
}

impl File {
    /// Opens the file, makes it where it is missing, and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be used, or was written by a newer version.
    pub(crate) fn open(
        dir: &Path,
        schema: &'static Schema,
        n_readers: usize,
        busy_timeout: Duration,
        feed: Feed,
        faults: FaultPlan,
        reserve: Reserve,
    ) -> Result<Self, StoreError> {
        let opened = Self::open_in(dir, schema, n_readers, busy_timeout, feed, faults, reserve);
        opened.map_err(|error| error.at(Doing::Opening, schema.file))
    }

    fn open_in(
        dir: &Path,
        schema: &'static Schema,
        n_readers: usize,
        busy_timeout: Duration,
        feed: Feed,
        faults: FaultPlan,
        reserve: Reserve,
    ) -> Result<Self, StoreError> {
        let path = resolved(dir)?.join(schema.file);
        make_private(&path)?;
        let access = Access::find(&path)?;
        let mut connection = connect(&path, schema, access, busy_timeout)?;
        if access == Access::ReadWrite {
            use_log(&connection, busy_timeout)?;
            migrate(&mut connection, schema)?;
            // Each operation of a group is a savepoint, so that one can fail alone. What a savepoint would restore is kept
            // in memory: it is let go a moment later, and a file would be written for every page that is touched. Not
            // before the migrations: an index over a long log is sorted on disk.
            connection.pragma_update(None, "temp_store", "memory")?;
        } else if is_current(&connection, schema)? {
            tracing::warn!(
                file = schema.file,
                "the data directory is read-only: every write will be refused"
            );
        } else {
            return Err(StoreError::ReadOnly);
        }
        let mut connections = Vec::new();
        for _ in 0..n_readers.max(1) {
            let reader = connect(&path, schema, access, busy_timeout)?;
            reader.pragma_update(None, "query_only", true)?;
            reader.pragma_update(None, "cache_size", READER_CACHE)?;
            connections.push(reader);
        }
        let name = schema.file.trim_end_matches(".sqlite");
        let [writing, reading] = schema.threads.map(Ending::new);
        let writer = Writer::start(name, connection, feed, faults, busy_timeout, writing)?;
        let readers = Readers::start(name, connections, busy_timeout, reading)?;
        Ok(Self { writer, readers, reserve, name: schema.file })
    }

    /// Runs `op` in the next transaction; answers once that is committed. Goes on even if the caller stops waiting.
    pub(crate) async fn write<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        if self.reserve.is_used() {
            return Err(StoreError::Full);
        }
        self.writer.write(op).await.map_err(|error| error.at(Doing::Writing, self.name))
    }

    /// Like [`write`](Self::write), for what makes room: on a full disk it gets room that is kept for it.
    pub(crate) async fn write_making_room<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Clone + Send + 'static,
    {
        loop {
            match self.writer.write(op.clone()).await {
                // What was let go may have gone to another program: there is more.
                Err(StoreError::Full | StoreError::Io(_)) if self.reserve.let_go() => {}
                outcome => return outcome.map_err(|error| error.at(Doing::Writing, self.name)),
            }
        }
    }

    /// Like [`write`](Self::write), but nobody waits and a full queue drops it.
    pub(crate) fn write_unattended<F>(&self, op: F)
    where
        F: FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        if !self.reserve.is_used() {
            self.writer.write_unattended(op);
        }
    }

    /// Runs `op` on one of the readers.
    pub(crate) async fn read<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.read(op).await.map_err(|error| error.at(Doing::Reading, self.name))
    }

    /// Its writer and its readers.
    pub(crate) fn threads(&self) -> [StoreThread; 2] {
        [self.writer.thread(), self.readers.threads()]
    }

    /// What the writer has done, and what waits for it.
    pub(crate) fn write_counts(&self) -> WriteCounts {
        self.writer.counts()
    }

    /// Commits what was queued, then ends the threads. What comes later is refused.
    ///
    /// The writer goes last and alone: SQLite takes the write-ahead log into the file when the last connection closes,
    /// and where two close at the same moment neither is the last.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Opens the file for a look, before anybody holds it: changes nothing. `None` if there is none, or an empty one.
pub(crate) fn look(dir: &Path, schema: &Schema) -> Result<Option<Connection>, StoreError> {
    let look = || {
        let path = resolved(dir)?.join(schema.file);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(found) => check_own(&path, &found)?,
        }
        Access::find(&path)?.open(&path).map(Some)
    };
    look().map_err(|error: StoreError| error.at(Doing::Opening, schema.file))
}

/// The directory itself, where links lead to it: what is in it is opened only where it is none.
fn resolved(dir: &Path) -> std::io::Result<PathBuf> {
    dir.canonicalize()
}

/// Insists on a file of our own. A link would have root write where somebody else chose.
fn check_own(path: &Path, found: &Metadata) -> std::io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let why = if found.is_symlink() || !found.is_file() {
        "is a link or no file: move it away".to_owned()
    } else if found.uid() != own {
        format!("belongs to user {}, this is user {own}: chown it if you know where it is from", found.uid())
    } else {
        return Ok(());
    };
    Err(std::io::Error::other(format!("{} {why}", path.display())))
}

/// Makes the data directory, for the owner only.
pub(crate) fn make_directory(dir: &Path) -> Result<(), StoreError> {
    if !dir.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| StoreError::from(error).at(Doing::Opening, "the data directory"))?;
    }
    Ok(())
}

/// Makes the file, or sees to it that nobody but the owner may read it. SQLite gives its side files (`-wal`, `-shm`)
/// the permissions of the main one.
///
/// A file that is there is never opened here: closing it would drop the locks that any connection of this process
/// holds on it.
fn make_private(path: &Path) -> Result<(), StoreError> {
    for side in ["-wal", "-shm"] {
        let mut side_path = path.as_os_str().to_owned();
        side_path.push(side);
        let side_path = PathBuf::from(side_path);
        if let Ok(found) = std::fs::symlink_metadata(&side_path) {
            check_own(&side_path, &found)?;
        }
    }
    let found = std::fs::symlink_metadata(path);
    if let Ok(found) = &found {
        check_own(path, found)?;
    }
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
                _ => Ok(()),
            }
        }
        Err(error) => Err(error.into()),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            match std::fs::set_permissions(path, Permissions::from_mode(0o600)) {
                // What cannot be written is read as it is.
                Err(error) if error.kind() != ErrorKind::ReadOnlyFilesystem => Err(error.into()),
                _ => Ok(()),
            }
        }
        Ok(_) => Ok(()),
    }
}

/// Sees to it that the file uses a write-ahead log. When several processes open a new file at once, SQLite reports to
/// all but one of them that it is busy, whatever the busy timeout: they look again.
#[expect(
    clippy::disallowed_methods,
    reason = "opening a file holds its own thread, and no clock can wake it"
)]
fn use_log(connection: &Connection, busy_timeout: Duration) -> Result<(), StoreError> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        let set = connection.pragma_update(None, "journal_mode", "wal").map_err(StoreError::from);
        match set {
            Err(StoreError::Busy) if waited < busy_timeout => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            outcome => return outcome,
        }
    }
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadWrite,
    /// The file cannot be written; what its write-ahead log still holds is read from there.
    ReadOnly,
    /// The same after a clean shutdown: there is no write-ahead log, and none can be made.
    Immutable,
}

impl Access {
    /// How the file can be opened. SQLite itself falls back to reading where writing is not allowed.
    fn find(path: &Path) -> Result<Self, StoreError> {
        if !Self::ReadWrite.open(path)?.is_readonly(MAIN_DB)? {
            return Ok(Self::ReadWrite);
        }
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let has_log = std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0);
        Ok(if has_log { Self::ReadOnly } else { Self::Immutable })
    }

    fn open(self, path: &Path) -> Result<Connection, StoreError> {
        // Nor is a link followed that somebody puts there after we looked.
        let every = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | every;
        Ok(match self {
            Self::ReadWrite => {
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | every;
                Connection::open_with_flags(path, flags)?
            }
            Self::ReadOnly => Connection::open_with_flags(path, read_only)?,
            Self::Immutable => {
                let uri = immutable_uri(path);
                Connection::open_with_flags(uri, read_only | OpenFlags::SQLITE_OPEN_URI)?
            }
        })
    }
}

/// `path` as the URI of a file nobody changes, everything but plain characters escaped.
fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

fn connect(
    path: &Path,
    schema: &Schema,
    access: Access,
    busy_timeout: Duration,
) -> Result<Connection, StoreError> {
    let connection = access.open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Plans never depend on what is bound. Otherwise a statement with `LIMIT ?` is prepared anew each time it is used:
    // letting go of the limit that it was planned with counts as a change.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if access == Access::ReadWrite {
        connection.pragma_update(None, "synchronous", schema.synchronous)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    }
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}
