//! Whether the store's threads are alive. They never end before [`Store::close`]: a panic inside an operation fails that
//! operation alone. What ends one all the same makes everything queued for it fail at once, and is reported here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::watch;

/// Characters kept of what a panic says.
const MAX_WORDS: usize = 300;

/// How a thread ended: as it was asked to, or by a panic that said this.
type End = Result<(), String>;

/// The writer of a file, or its readers.
#[derive(Debug, Clone)]
pub struct StoreThread {
    /// Its name: one of a fixed set.
    pub name: &'static str,
    ended: watch::Receiver<Option<End>>,
}

impl StoreThread {
    /// Completes when it, or the first of several, has ended.
    ///
    /// # Errors
    /// What the panic that ended it said, as the rest of a sentence that begins with "it"; 300 characters at the most.
    pub async fn ended(mut self) -> Result<(), String> {
        let end = self.ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        // A sender that is gone said nothing: the thread never ran.
        end.unwrap_or(Ok(()))
    }
}

/// Where threads of one name say how they ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    name: &'static str,
    end: watch::Sender<Option<End>>,
}

impl Ending {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, end: watch::Sender::new(None) }
    }

    /// Runs a thread to its end.
    pub(crate) fn run(&self, work: impl FnOnce()) {
        let end = caught(work);
        if let Err(words) = &end {
            tracing::error!(thread = self.name, words, "a thread of the store has ended");
        }
        // The first panic stays.
        self.end.send_if_modified(|reported| {
            let is_news = reported.as_ref().is_none_or(Result::is_ok);
            if is_news {
                *reported = Some(end);
            }
            is_news
        });
    }

    pub(crate) fn watch(&self) -> StoreThread {
        StoreThread { name: self.name, ended: self.end.subscribe() }
    }
}

/// What `work` answers, or what its panic said.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("panicked: {}", words(&*panic)))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    words.unwrap_or("without words").chars().take(MAX_WORDS).collect()
}
