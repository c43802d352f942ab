//! Which files uploads have open. An upload that fails removes the file that it has made, and another one may have written
//! that file meanwhile, or be about to: whoever comes last removes it, if nobody has completed it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::regular_file::Identity;

/// As many as uploads are under way.
static FILES: LazyLock<Mutex<HashMap<Identity, Uploads>>> = LazyLock::new(Mutex::default);

/// Told when a file has been removed.
static REMOVED: Condvar = Condvar::new();

/// Those of one file.
#[derive(Default)]
struct Uploads {
    open: usize,
    /// Whether one of them has made it.
    made: bool,
    /// Whether one of them has completed it.
    complete: bool,
    /// Whether it is being removed.
    going: bool,
}

/// One upload's share in a file that it holds open.
pub(super) struct Share(Identity);

impl Share {
    /// `None` of a file that nobody will find any more.
    pub(super) fn take(file: &File, made: bool) -> io::Result<Option<Self>> {
        let identity = Identity::of(file)?;
        let mut files = lock();
        while files.get(&identity).is_some_and(|uploads| uploads.going) {
            files = REMOVED.wait(files).unwrap_or_else(PoisonError::into_inner);
        }
        if file.metadata()?.nlink() == 0 {
            return Ok(None);
        }
        let uploads = files.entry(identity).or_default();
        uploads.open += 1;
        uploads.made |= made;
        Ok(Some(Self(identity)))
    }

    /// The file is complete.
    pub(super) fn complete(&self) {
        if let Some(uploads) = lock().get_mut(&self.0) {
            uploads.complete = true;
        }
    }

    /// To be called before the file is closed. `remove` may take long, and is not called with a lock held.
    pub(super) fn leave(&self, remove: impl FnOnce(Identity)) {
        let mut files = lock();
        let Some(uploads) = files.get_mut(&self.0) else { return };
        uploads.open -= 1;
        if uploads.open > 0 {
            return;
        }
        if uploads.made && !uploads.complete {
            uploads.going = true;
            drop(files);
            remove(self.0);
            files = lock();
        }
        files.remove(&self.0);
        drop(files);
        REMOVED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, HashMap<Identity, Uploads>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}
