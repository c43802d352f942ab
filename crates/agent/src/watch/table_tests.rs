use std::path::{Path, PathBuf};

use tokio::task::LocalSet;

use super::*;
use crate::pool;
use crate::watch::hub::MAX_DIRECTORIES;
use crate::watch::queue::Queue;

fn watcher(root: &Path, recursive: bool, include_entry: bool) -> Watcher {
    Watcher {
        root: PathBuf::from(root),
        recursive,
        include_entry,
        allow_network: false,
        queue: Queue::default(),
    }
}

/// Reads events until `count` are there.
async fn events(watching: &Watching, count: usize) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let told = std::future::poll_fn(|context| watching.watcher.queue.poll(context));
        let told = tokio::time::timeout(Duration::from_secs(30), told).await;
        match told.unwrap_or_else(|_| panic!("only {seen:?}")) {
            super::super::queue::Item::Event(bytes) => {
                let event: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                let word = event["type"].as_str().unwrap().trim_start_matches("EVENT_TYPE_").to_owned();
                seen.push((word, event["name"].as_str().unwrap().to_owned()));
            }
            super::super::queue::Item::Lost(why) => seen.push(("LOST".to_owned(), why.message)),
        }
    }
    seen
}

fn pairs(events: &[(String, String)]) -> Vec<(&str, &str)> {
    events.iter().map(|(word, name)| (word.as_str(), name.as_str())).collect()
}

async fn scene(recursive: bool) -> (tempfile::TempDir, Rc<Watches>, Watching) {
    // Another test may have been first.
    let _ = pool::start();
    let root = tempfile::tempdir().unwrap();
    let watches = Rc::<Watches>::default();
    std::fs::create_dir_all(root.path().join("a/b")).unwrap();
    let watching = watches.begin(watcher(root.path(), recursive, false)).await.unwrap();
    (root, watches, watching)
}

#[tokio::test(flavor = "current_thread")]
async fn changes_of_a_directory_and_not_of_those_below() {
    LocalSet::new()
        .run_until(async {
            let (root, _watches, watching) = scene(false).await;
            let at = |name: &str| root.path().join(name);
            std::fs::write(at("a/unseen"), "x").unwrap();
            std::fs::write(at("f"), "x").unwrap();
            std::fs::rename(at("f"), at("g")).unwrap();
            std::fs::remove_file(at("g")).unwrap();
            std::fs::create_dir(at("d")).unwrap();
            std::fs::set_permissions(at("d"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            std::fs::write(at("d/unseen"), "x").unwrap();
            std::fs::remove_dir_all(root.path()).unwrap();
            let seen = events(&watching, 10).await;
            let first = [("CREATE", "f"), ("WRITE", "f"), ("RENAME", "f"), ("CREATE", "g"), ("REMOVE", "g")];
            assert_eq!(pairs(&seen[..5]), first);
            assert_eq!(pairs(&seen[5..7]), [("CREATE", "d"), ("CHMOD", "d")]);
            assert_eq!(pairs(&seen[9..]), [("REMOVE", ".")], "{seen:?}");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_tree_with_what_becomes_part_of_it() {
    LocalSet::new()
        .run_until(async {
            let (root, _watches, watching) = scene(true).await;
            let at = |name: &str| root.path().join(name);
            std::fs::write(at("a/b/deep"), "").unwrap();
            assert_eq!(pairs(&events(&watching, 1).await), [("CREATE", "a/b/deep")]);

            // Made and filled before anybody can have looked.
            std::fs::create_dir_all(at("n/e/w")).unwrap();
            std::fs::write(at("n/e/w/f"), "").unwrap();
            let mut seen = events(&watching, 4).await;
            seen.sort();
            assert_eq!(
                pairs(&seen),
                [("CREATE", "n"), ("CREATE", "n/e"), ("CREATE", "n/e/w"), ("CREATE", "n/e/w/f")]
            );
            // And watched from then on, without a repeated event.
            std::fs::remove_file(at("n/e/w/f")).unwrap();
            std::fs::write(at("n/e/w/f"), "").unwrap();
            assert_eq!(pairs(&events(&watching, 2).await), [("REMOVE", "n/e/w/f"), ("CREATE", "n/e/w/f")]);

            // Moved within: its watches go with it.
            std::fs::rename(at("n"), at("a/m")).unwrap();
            std::fs::write(at("a/m/e/x"), "").unwrap();
            let seen = events(&watching, 3).await;
            assert_eq!(pairs(&seen), [("RENAME", "n"), ("CREATE", "a/m"), ("CREATE", "a/m/e/x")]);

            // Moved out: what happens there is nobody's business any more. Moved in: it is.
            let outside = tempfile::tempdir_in(root.path().parent().unwrap()).unwrap();
            std::fs::rename(at("a/m"), outside.path().join("m")).unwrap();
            assert_eq!(pairs(&events(&watching, 1).await), [("RENAME", "a/m")]);
            std::fs::write(outside.path().join("m/e/unseen"), "").unwrap();
            std::fs::rename(outside.path().join("m"), at("back")).unwrap();
            assert_eq!(pairs(&events(&watching, 1).await), [("CREATE", "back")]);
            std::fs::create_dir(at("back/e/seen")).unwrap();
            assert_eq!(pairs(&events(&watching, 1).await), [("CREATE", "back/e/seen")]);
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn links_are_not_followed() {
    LocalSet::new()
        .run_until(async {
            let (root, watches, watching) = scene(true).await;
            let other = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(other.path(), root.path().join("link")).unwrap();
            std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
            std::fs::write(other.path().join("unseen"), "").unwrap();
            std::fs::write(root.path().join("end"), "").unwrap();
            let seen = events(&watching, 3).await;
            assert_eq!(pairs(&seen), [("CREATE", "link"), ("CREATE", "a/loop"), ("CREATE", "end")]);
            // A root that is a link means what it leads to.
            let second = watches.begin(watcher(&root.path().join("a/loop"), true, false)).await.unwrap();
            std::fs::write(root.path().join("a/b/f"), "").unwrap();
            assert_eq!(pairs(&events(&second, 1).await), [("CREATE", "a/b/f")]);
            assert_eq!(pairs(&events(&watching, 1).await), [("CREATE", "a/b/f")]);
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn too_many_directories_are_refused_and_leave_nothing() {
    LocalSet::new()
        .run_until(async {
            let (root, watches, watching) = scene(true).await;
            // The watches of the directories there are.
            let used = 3;
            for number in 0..MAX_DIRECTORIES - used {
                std::fs::create_dir(root.path().join(format!("a/{number}"))).unwrap();
            }
            events(&watching, MAX_DIRECTORIES - used).await;
            std::fs::create_dir_all(root.path().join("b/one/more")).unwrap();
            let seen = events(&watching, 2).await;
            assert!(
                seen.iter().any(|(word, why)| word == "LOST" && why.contains("64 directories")),
                "{seen:?}"
            );
            let other = tempfile::tempdir().unwrap();
            let error = watches.begin(watcher(other.path(), false, false)).await.err().unwrap();
            assert_eq!(error.code, Code::ResourceExhausted, "{error}");
            drop(watching);
            assert!(watches.hub.borrow().is_none(), "the kernel's watches are given back");
            drop(watches.begin(watcher(other.path(), false, false)).await.unwrap());
            std::fs::remove_dir_all(root.path()).unwrap();
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn after_more_than_the_kernel_keeps_everything_is_watched_again() {
    LocalSet::new()
        .run_until(async {
            let (root, _watches, watching) = scene(true).await;
            let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
            // Nobody reads while this runs.
            for number in 0..limit.trim().parse::<u32>().unwrap() + 10 {
                std::fs::File::create(root.path().join(number.to_string())).unwrap();
                std::fs::remove_file(root.path().join(number.to_string())).unwrap();
            }
            std::fs::create_dir_all(root.path().join("late/deep")).unwrap();
            let mut lost = false;
            let mut told = false;
            let mut number = 0;
            while !told {
                assert!(number < 3000, "never reported");
                number += 1;
                std::fs::write(root.path().join(format!("late/deep/{number}")), "").unwrap();
                // sleep: the pause between two tries
                tokio::time::sleep(Duration::from_millis(10)).await;
                match watching.watcher.queue.drain() {
                    Ok(events) => {
                        let deep = |event: &Vec<u8>| String::from_utf8_lossy(event).contains("late/deep/");
                        told = events.iter().any(deep);
                    }
                    Err(why) => lost |= why.code == Code::DataLoss,
                }
            }
            assert!(lost, "and nobody said that events are missing");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn watchers_are_counted() {
    LocalSet::new()
        .run_until(async {
            let (root, watches, watching) = scene(false).await;
            let mut kept = vec![watching];
            while kept.len() < MAX_WATCHERS {
                kept.push(watches.begin(watcher(root.path(), false, false)).await.unwrap());
            }
            let error = watches.begin(watcher(root.path(), false, false)).await.err().unwrap();
            assert_eq!(error.code, Code::ResourceExhausted, "{error}");
            kept.pop();
            kept.push(watches.begin(watcher(root.path(), false, true)).await.unwrap());
            std::fs::write(root.path().join("f"), "").unwrap();
            for watching in &kept {
                assert_eq!(pairs(&events(watching, 1).await), [("CREATE", "f")]);
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn watchers_nobody_asks_are_removed() {
    LocalSet::new()
        .run_until(async {
            let (_root, watches, watching) = scene(false).await;
            let id = watches.keep(watching).unwrap();
            assert!(id.len() == 21 && id.starts_with('w'), "{id}");
            tokio::time::sleep(IDLE_LIMIT - Duration::from_secs(1)).await;
            watches.find(&id).unwrap();
            tokio::time::sleep(IDLE_LIMIT - Duration::from_secs(1)).await;
            watches.find(&id).unwrap();
            tokio::time::sleep(IDLE_LIMIT + 2 * SWEEP_EVERY).await;
            assert_eq!(watches.find(&id).err().unwrap().message, format!("watcher with id {id} not found"));
            assert!(watches.hub.borrow().is_none());
            assert_eq!(watches.forget(&id).unwrap_err().code, Code::NotFound);
        })
        .await;
}
