//! Whether the data directory is at home, and what is done where it is not.
//!
//! ```text
//!   recognise ── no server has settled here ──────────────► settle: an instance of its own
//!       │ ────── the place is the same, or was renamed ───► go on
//!       │ ────── a copy, a backup, another host ──┬───────► refused: nothing was changed
//!       │                                         └ told ─► adopt: another instance, deliveries held
//! ```
//!
//! The record lies in `facts.sqlite`, so that a copy of the databases alone has it too.

use std::path::{Path, PathBuf};

use sandscope_model::Entropy;
use sandscope_store::{Facts, Home, Store, StoreError};

use crate::DataDir;
use crate::place::{Difference, Place};

const DATABASE: &str = "facts.sqlite";
/// Random bytes of an instance.
const INSTANCE_BYTES: usize = 8;

/// The data directory cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It came from elsewhere.
    #[error(
        "the data directory {} is not where it was: {}. It belongs to {} on host {}. Sandboxes in it are that server's, \
         and what it has to deliver is delivered there. Was it moved: move it back, or end its sandboxes there first. \
         To run a server over the copy, start with --adopt: its sandboxes are ended in its log alone, and it delivers \
         nothing until it is started with --deliver",
        path.display(), difference.words(), from.display(), host
    )]
    Elsewhere {
        /// Where it is.
        path: PathBuf,
        /// Where it was.
        from: PathBuf,
        /// On which host.
        host: String,
        /// By what that is known.
        difference: Difference,
    },
    /// No server has settled in it, and sandboxes that it names run in another.
    #[error(
        "the data directory {} is a copy: sandboxes that it names run in another directory. Start over that one first. \
         To run a server over the copy, start with --adopt: its sandboxes are ended in its log alone, and it delivers \
         nothing until it is started with --deliver",
        path.display()
    )]
    Copy {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot tell whether the data directory {} is at home", path.display())]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its database cannot be read or written.
    #[error("cannot tell whether the data directory is at home")]
    Store(#[from] StoreError),
}

/// What a start is told about the directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// Use it though it came from elsewhere.
    pub adopt: bool,
    /// Deliver again, if it was adopted.
    pub deliver: bool,
}

/// A directory that may be used: what its store says once it is open is still to be done.
#[derive(Debug)]
pub struct Recognised {
    /// A server has settled here.
    is_settled: bool,
    adopts: bool,
    told: Told,
}

impl DataDir {
    /// Refuses a directory that came from elsewhere, unless told to adopt it. Changes nothing.
    ///
    /// # Errors
    /// [`HomeError`] if it came from elsewhere, or nobody can say.
    pub fn recognise(&self, told: Told) -> Result<Recognised, HomeError> {
        recognise(self.path(), told)
    }

    /// What a start would say of the directory, for those who only look.
    ///
    /// # Errors
    /// As of [`recognise`](Self::recognise).
    pub fn look_at_home(path: &Path) -> Result<Standing, HomeError> {
        let unknown = |source| HomeError::Unknown { path: path.to_owned(), source };
        let path = path.canonicalize().map_err(unknown)?;
        recognise(&path, Told::default())?;
        let is_held = Store::home_of(&path)?.is_some_and(|home| home.holds_deliveries);
        Ok(if is_held { Standing::Holds } else { Standing::AtHome })
    }
}

/// How a directory stands that would be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As any other.
    AtHome,
    /// It was adopted and delivers nothing yet.
    Holds,
}

fn recognise(path: &Path, told: Told) -> Result<Recognised, HomeError> {
    let Some(home) = Store::home_of(path)? else {
        return Ok(Recognised { is_settled: false, adopts: false, told });
    };
    let now = place_of(path)?;
    let before = read(&home);
    let difference = match &before {
        Some(before) => before.differs_from(&now),
        None => Some(Difference::Directory),
    };
    match difference {
        None => Ok(Recognised { is_settled: true, adopts: false, told }),
        Some(_) if told.adopt => Ok(Recognised { is_settled: true, adopts: true, told }),
        Some(difference) => Err(HomeError::Elsewhere {
            path: path.to_owned(),
            from: before.as_ref().map(|place| place.path.clone()).unwrap_or_default(),
            host: before.map(|place| place.host).unwrap_or_default(),
            difference,
        }),
    }
}

fn place_of(path: &Path) -> Result<Place, HomeError> {
    Place::of(path, DATABASE).map_err(|source| HomeError::Unknown { path: path.to_owned(), source })
}

/// A form that a later version wrote is none that is known.
fn read(home: &Home) -> Option<Place> {
    serde_json::from_str(&home.place).ok()
}

impl Recognised {
    /// Whether the directory says nothing of itself, as one that only earlier versions served: then others must be asked.
    pub const fn says_nothing(&self) -> bool {
        !self.is_settled
    }

    /// The same where it turned out to be a copy.
    ///
    /// # Errors
    /// [`HomeError::Copy`] unless told to adopt it.
    pub fn as_copy(self, data_dir: &DataDir) -> Result<Self, HomeError> {
        if self.told.adopt {
            return Ok(Self { adopts: true, ..self });
        }
        Err(HomeError::Copy { path: data_dir.path().to_owned() })
    }

    /// Settles, adopts or goes on, and returns what the directory says of itself then.
    ///
    /// # Errors
    /// [`HomeError`] if the store cannot be read, or written where it must be.
    pub async fn settle(
        &self,
        data_dir: &DataDir,
        store: &Store,
        entropy: &dyn Entropy,
    ) -> Result<Home, HomeError> {
        let now = place_of(data_dir.path())?;
        let text = serde_json::to_string(&now)
            .map_err(|error| HomeError::Unknown { path: now.path.clone(), source: error.into() })?;
        let facts = &store.facts;
        match facts.home().await? {
            _ if self.adopts => {
                facts.adopt(draw_instance(entropy), text).await?;
                tracing::warn!("adopted a data directory that came from elsewhere");
            }
            Some(home) if home.place != text => follow(facts, &home, &now, text).await,
            Some(_) => {}
            None => facts.settle(draw_instance(entropy), text).await?,
        }
        facts.home().await?.ok_or_else(|| HomeError::Unknown {
            path: now.path,
            source: std::io::Error::other("it does not say what it is"),
        })
    }

    /// Whether an adopted directory is told to deliver.
    pub const fn delivers(&self) -> bool {
        self.told.deliver
    }
}

/// Notes another name, host name or boot. A full disk keeps nobody from serving: it is noted by a later start.
async fn follow(facts: &Facts, home: &Home, now: &Place, text: String) {
    if let Some(before) = read(home).filter(|before| before.path != now.path) {
        tracing::info!(from = %before.path.display(), "the data directory was moved");
    }
    if let Err(error) = facts.recognise_home(text).await {
        tracing::warn!(%error, "cannot note where the data directory is");
    }
}

fn draw_instance(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; INSTANCE_BYTES];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
