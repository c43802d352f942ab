use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use sandscope_agent_protocol::filesystem::{EventType, FilesystemEvent};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::io::unix::AsyncFd;

use super::queue::Queue;
use super::tree::{self, Kind};
use crate::entry::describe;
use crate::pool;
use crate::user::Names;

/// Directories watched at a time, by all watchers together. Each keeps a kilobyte and its inode in the kernel.
pub(super) const MAX_DIRECTORIES: usize = if cfg!(test) { 64 } else { 8192 };

/// Read from the kernel at a time: some hundred events.
const BUFFER_BYTES: usize = 16 * 1024;

/// Of everything a directory can tell, what makes an event.
const ALL: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR);

/// One tree, or one directory, that somebody watches.
pub(super) struct Watcher {
    pub(super) root: PathBuf,
    pub(super) recursive: bool,
    pub(super) include_entry: bool,
    pub(super) allow_network: bool,
    pub(super) queue: Queue,
}

/// Reads one inotify instance for all watchers.
pub(super) struct Hub {
    inotify: AsyncFd<OwnedFd>,
    /// By the kernel's number of the watch.
    nodes: RefCell<HashMap<i32, Node>>,
}

/// One watched directory.
#[derive(Default)]
struct Node {
    places: Vec<Place>,
}

/// Where a watcher sees a directory.
struct Place {
    watcher: Rc<Watcher>,
    /// Relative to its root; empty for the root.
    at: PathBuf,
    /// Told already, because the directory was listed when its watch was new: the kernel may tell them again.
    listed: HashSet<OsString>,
}

/// What the kernel says.
struct Raw {
    watch: i32,
    flags: ReadFlags,
    cookie: u32,
    name: Option<OsString>,
}

/// Something on its way to a watcher.
struct Pending {
    watcher: Rc<Watcher>,
    what: What,
}

enum What {
    Event(PathBuf, EventType),
    /// From here on events are missing.
    Lost(ConnectError),
}

/// A directory on its way from one name to another, if the other one is watched as well.
struct Moving {
    cookie: u32,
    from: Vec<(Rc<Watcher>, PathBuf)>,
}

impl Hub {
    #[expect(unsafe_code, reason = "tokio cannot know that a descriptor stays the same one")]
    pub(super) fn new() -> Result<Rc<Self>, ConnectError> {
        let opened =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
                Errno::MFILE | Errno::NFILE => {
                    exhausted("the sandbox has used up its inotify instances (fs.inotify.max_user_instances)")
                }
                errno => ConnectError::new(Code::Internal, format!("cannot watch: {errno}")),
            })?;
        // SAFETY: an `OwnedFd` names one open descriptor for as long as it lives, and nobody takes it out of the
        // `AsyncFd` again.
        let inotify = unsafe { AsyncFd::register(opened) };
        let inotify = inotify.map_err(|error| {
            ConnectError::new(Code::Internal, format!("cannot watch: {}", io::Error::from(error)))
        })?;
        Ok(Rc::new(Self { inotify, nodes: RefCell::default() }))
    }

    /// Begins to watch for `watcher`; whatever happens from now on is told.
    pub(super) async fn add(&self, watcher: &Rc<Watcher>) -> Result<(), ConnectError> {
        let result = self.enter(watcher, PathBuf::new(), None).await;
        if result.is_err() {
            self.remove(watcher);
        }
        result
    }

    pub(super) fn remove(&self, watcher: &Rc<Watcher>) {
        self.leave(|place| Rc::ptr_eq(&place.watcher, watcher));
    }

    /// Until dropped.
    pub(super) async fn run(self: Rc<Self>) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut moving = Vec::new();
        loop {
            let Ok(mut ready) = self.inotify.readable().await else { return };
            let mut batch = Vec::new();
            let drained = match read(self.inotify.get_ref(), &mut buffer, &mut batch) {
                Ok(()) => false,
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    true
                }
                Err(Errno::INTR) => false,
                Err(_) => return,
            };
            let mut pending = Vec::new();
            for raw in batch {
                self.take(&raw, &mut moving, &mut pending).await;
            }
            deliver(pending).await;
            if drained {
                self.settle(&mut moving);
            }
        }
    }

    /// The kernel has nothing more to say for now: what moved away stays away, and what was listed is old news.
    fn settle(&self, moving: &mut Vec<Moving>) {
        for (watcher, from) in moving.drain(..).flat_map(|moving| moving.from) {
            self.leave_below(&watcher, &from);
        }
        for place in self.nodes.borrow_mut().values_mut().flat_map(|node| &mut node.places) {
            place.listed = HashSet::new();
        }
    }

    /// Makes one of the kernel's events one of each watcher of its directory.
    async fn take(&self, raw: &Raw, moving: &mut Vec<Moving>, pending: &mut Vec<Pending>) {
        if raw.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.begin_again(pending).await;
            return;
        }
        if raw.flags.contains(ReadFlags::IGNORED) {
            self.nodes.borrow_mut().remove(&raw.watch);
            return;
        }
        let Some(name) = &raw.name else {
            self.take_own(raw, pending);
            return;
        };
        let Some(event_type) = event_type(raw.flags) else { return };
        let mut known = self.places(raw.watch, name, event_type);
        if !raw.flags.contains(ReadFlags::ISDIR) {
            let what = |name| What::Event(name, event_type);
            pending.extend(known.into_iter().map(|(watcher, name)| Pending { watcher, what: what(name) }));
            return;
        }
        let told = |(watcher, name): &(Rc<Watcher>, PathBuf)| Pending {
            watcher: Rc::clone(watcher),
            what: What::Event(name.clone(), event_type),
        };
        pending.extend(known.iter().map(told));
        known.retain(|(watcher, _)| watcher.recursive);
        if raw.flags.contains(ReadFlags::MOVED_FROM) {
            moving.push(Moving { cookie: raw.cookie, from: known });
        } else if raw.flags.contains(ReadFlags::MOVED_TO) {
            let here = moving.iter_mut().find(|moving| moving.cookie == raw.cookie);
            let mut from = here.map(|moving| std::mem::take(&mut moving.from)).unwrap_or_default();
            for (watcher, to) in known {
                match from.iter().position(|(other, _)| Rc::ptr_eq(other, &watcher)) {
                    // Its watches go with it, under the new name.
                    Some(at) => self.rename_below(&watcher, &from.swap_remove(at).1, &to),
                    None => self.enter_new(&watcher, to, false, pending).await,
                }
            }
            for (watcher, from) in from {
                self.leave_below(&watcher, &from);
            }
        } else if raw.flags.contains(ReadFlags::CREATE) {
            for (watcher, at) in known {
                self.enter_new(&watcher, at, true, pending).await;
            }
        }
    }

    /// The kernel had more to say than it could keep. What is missing may be new directories: trees are gone through
    /// once more.
    async fn begin_again(&self, pending: &mut Vec<Pending>) {
        let watchers: Vec<Rc<Watcher>> = {
            let nodes = self.nodes.borrow();
            let places = nodes.values().flat_map(|node| &node.places).filter(|place| place.is_root());
            places.map(|place| Rc::clone(&place.watcher)).collect()
        };
        for watcher in watchers {
            let why = lost("changes came faster than they could be read");
            pending.push(Pending { watcher: Rc::clone(&watcher), what: What::Lost(why) });
            if watcher.recursive {
                self.remove(&watcher);
                self.enter_new(&watcher, PathBuf::new(), false, pending).await;
            }
        }
    }

    /// An event of a watched directory itself. Those below the root are told by the directory above.
    fn take_own(&self, raw: &Raw, pending: &mut Vec<Pending>) {
        let event_type = if raw.flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT) {
            EventType::Remove
        } else if raw.flags.contains(ReadFlags::MOVE_SELF) {
            EventType::Rename
        } else if raw.flags.contains(ReadFlags::ATTRIB) {
            EventType::Chmod
        } else {
            return;
        };
        let nodes = self.nodes.borrow();
        let roots =
            nodes.get(&raw.watch).into_iter().flat_map(|node| &node.places).filter(|place| place.is_root());
        pending.extend(roots.map(|place| Pending {
            watcher: Rc::clone(&place.watcher),
            what: What::Event(PathBuf::from("."), event_type),
        }));
    }

    /// The watchers that are to be told of `name` in this directory, and what they call it.
    fn places(&self, watch: i32, name: &OsStr, event_type: EventType) -> Vec<(Rc<Watcher>, PathBuf)> {
        let mut nodes = self.nodes.borrow_mut();
        let Some(node) = nodes.get_mut(&watch) else { return Vec::new() };
        let fresh = |place: &mut Place| match event_type {
            EventType::Create => !place.listed.remove(name),
            EventType::Remove | EventType::Rename => {
                place.listed.remove(name);
                true
            }
            _ => true,
        };
        let places = node.places.iter_mut();
        places
            .filter_map(|place| fresh(place).then(|| (Rc::clone(&place.watcher), place.at.join(name))))
            .collect()
    }

    /// A directory that has come into a watched tree; what is in it is told if it is a new one.
    async fn enter_new(&self, watcher: &Rc<Watcher>, at: PathBuf, tell: bool, pending: &mut Vec<Pending>) {
        let result = self.enter(watcher, at, tell.then_some(&mut *pending)).await;
        if let Err(why) = result {
            pending.push(Pending { watcher: Rc::clone(watcher), what: What::Lost(why) });
        }
    }

    /// Watches the directory, and those below it for a recursive watcher. Each watch comes before the listing, so that
    /// between them nothing is missed. What is found is told where `told` is given: the directory is new.
    async fn enter(
        &self,
        watcher: &Rc<Watcher>,
        at: PathBuf,
        mut told: Option<&mut Vec<Pending>>,
    ) -> Result<(), ConnectError> {
        let mut ahead = vec![at];
        while let Some(at) = ahead.pop() {
            let Some(watch) = self.watch(watcher, &at)? else { continue };
            if !watcher.recursive {
                continue;
            }
            let path = watcher.root.join(&at);
            let (path, with_others) = if at.as_os_str().is_empty() {
                // The root may be a link; what it leads to is meant.
                (path.join("."), told.is_some())
            } else {
                (path, told.is_some())
            };
            let scanned = pool::run(move || tree::scan(&path, with_others)).await;
            let Ok(Ok(found)) = scanned else {
                // Gone again, or something else by now.
                continue;
            };
            let enters = match found.kind {
                Kind::Ordinary => true,
                Kind::MadeUp => at.as_os_str().is_empty(),
                Kind::Network => watcher.allow_network || at.as_os_str().is_empty(),
            };
            if !enters {
                self.leave(|place| Rc::ptr_eq(&place.watcher, watcher) && place.at == at);
                continue;
            }
            if found.cut_off {
                return Err(exhausted("a directory has too many entries to be looked through"));
            }
            if let Some(told) = told.as_deref_mut() {
                let names = found.directories.iter().chain(&found.others);
                told.extend(names.clone().map(|name| Pending {
                    watcher: Rc::clone(watcher),
                    what: What::Event(at.join(name), EventType::Create),
                }));
                self.remember(watch, watcher, names);
            }
            ahead.extend(found.directories.iter().map(|name| at.join(name)));
        }
        Ok(())
    }

    /// Adds one watch. `None` where there is nothing new to watch: the directory has gone, or is watched already.
    fn watch(&self, watcher: &Rc<Watcher>, at: &Path) -> Result<Option<i32>, ConnectError> {
        let root = at.as_os_str().is_empty();
        let mut nodes = self.nodes.borrow_mut();
        if nodes.len() >= MAX_DIRECTORIES {
            let message = format!("more than {MAX_DIRECTORIES} directories are to be watched");
            return Err(exhausted(message));
        }
        let flags = if root { ALL } else { ALL | WatchFlags::DONT_FOLLOW };
        let watch = match inotify::add_watch(self.inotify.get_ref(), watcher.root.join(at), flags) {
            Ok(watch) => watch,
            Err(Errno::NOSPC) => {
                return Err(exhausted(
                    "the sandbox has used up its inotify watches (fs.inotify.max_user_watches)",
                ));
            }
            Err(Errno::NOMEM) => return Err(exhausted("no memory for more watched directories")),
            Err(Errno::NAMETOOLONG) => return Err(exhausted("a directory is too deep to be watched")),
            Err(errno) if root => {
                let path = watcher.root.display();
                return Err(ConnectError::new(Code::NotFound, format!("path not found: {path}: {errno}")));
            }
            Err(_) => return Ok(None),
        };
        let node = nodes.entry(watch).or_default();
        // The same directory by another way, as below a mount of itself: once is enough, and ends circles.
        if node.places.iter().any(|place| Rc::ptr_eq(&place.watcher, watcher)) {
            return Ok(None);
        }
        let place = Place { watcher: Rc::clone(watcher), at: at.to_owned(), listed: HashSet::new() };
        node.places.push(place);
        Ok(Some(watch))
    }

    fn remember<'a>(&self, watch: i32, watcher: &Rc<Watcher>, names: impl Iterator<Item = &'a OsString>) {
        let mut nodes = self.nodes.borrow_mut();
        let places = nodes.get_mut(&watch).into_iter().flat_map(|node| &mut node.places);
        if let Some(place) = places.into_iter().find(|place| Rc::ptr_eq(&place.watcher, watcher)) {
            place.listed.extend(names.cloned());
        }
    }

    fn rename_below(&self, watcher: &Rc<Watcher>, from: &Path, to: &Path) {
        for place in self.nodes.borrow_mut().values_mut().flat_map(|node| &mut node.places) {
            if Rc::ptr_eq(&place.watcher, watcher)
                && let Ok(rest) = place.at.strip_prefix(from)
            {
                // Joining nothing would add a slash.
                place.at = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }

    fn leave_below(&self, watcher: &Rc<Watcher>, from: &Path) {
        self.leave(|place| Rc::ptr_eq(&place.watcher, watcher) && place.at.starts_with(from));
    }

    /// Gives up places, and the watches that nobody is left at.
    fn leave(&self, left: impl Fn(&Place) -> bool) {
        self.nodes.borrow_mut().retain(|watch, node| {
            node.places.retain(|place| !left(place));
            if node.places.is_empty() {
                // Its directory may have gone, and the watch with it.
                let _ = inotify::remove_watch(self.inotify.get_ref(), *watch);
            }
            !node.places.is_empty()
        });
    }
}

impl Place {
    fn is_root(&self) -> bool {
        self.at.as_os_str().is_empty()
    }
}

/// One read, decoded.
fn read(inotify: &OwnedFd, buffer: &mut [MaybeUninit<u8>], batch: &mut Vec<Raw>) -> rustix::io::Result<()> {
    let mut reader = Reader::new(inotify, buffer);
    loop {
        let event = reader.next()?;
        batch.push(Raw {
            watch: event.wd(),
            flags: event.events(),
            cookie: event.cookie(),
            name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
        });
        if reader.is_buffer_empty() {
            return Ok(());
        }
    }
}

fn event_type(flags: ReadFlags) -> Option<EventType> {
    let types = [
        (ReadFlags::CREATE | ReadFlags::MOVED_TO, EventType::Create),
        (ReadFlags::DELETE, EventType::Remove),
        (ReadFlags::MOVED_FROM, EventType::Rename),
        (ReadFlags::MODIFY, EventType::Write),
        (ReadFlags::ATTRIB, EventType::Chmod),
    ];
    types.into_iter().find_map(|(any, event_type)| flags.intersects(any).then_some(event_type))
}

/// Queues events, in their order. Entries are described on the pool, all at once.
async fn deliver(pending: Vec<Pending>) {
    let asked = |pending: &Pending| match &pending.what {
        What::Event(_, EventType::Remove | EventType::Rename) | What::Lost(_) => None,
        What::Event(name, _) => pending.watcher.include_entry.then(|| pending.watcher.root.join(name)),
    };
    let paths: Vec<Option<PathBuf>> = pending.iter().map(asked).collect();
    let mut entries = Vec::new();
    if paths.iter().any(Option::is_some) {
        let described = pool::run(move || {
            let names = Names::read();
            // What has gone meanwhile is not described.
            let describe = |path: Option<PathBuf>| path.and_then(|path| describe(&path, &names).ok());
            paths.into_iter().map(describe).collect::<Vec<_>>()
        });
        entries = described.await.unwrap_or_default();
    }
    let mut entries = entries.into_iter();
    for Pending { watcher, what } in pending {
        let entry = entries.next().flatten();
        match what {
            What::Event(name, event_type) => {
                let name = name.to_string_lossy().into_owned();
                let Ok(bytes) = serde_json::to_vec(&FilesystemEvent { name, event_type, entry }) else {
                    continue;
                };
                watcher.queue.push(bytes, || lost("they were taken too slowly"));
            }
            What::Lost(why) => watcher.queue.lose(why),
        }
    }
}

fn lost(why: &str) -> ConnectError {
    ConnectError::new(Code::DataLoss, format!("events were lost: {why}"))
}

fn exhausted(message: impl Into<String>) -> ConnectError {
    ConnectError::new(Code::ResourceExhausted, message)
}
