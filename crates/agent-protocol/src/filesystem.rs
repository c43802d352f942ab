//! Messages of `filesystem.Filesystem`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::proto_json::{int64, is_default, null_default};

/// The service's path prefix.
pub const SERVICE: &str = "filesystem.Filesystem";

/// What a path names. For a symbolic link: what the link leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileType {
    /// Neither of the others, or a link that leads nowhere.
    #[default]
    #[serde(rename = "FILE_TYPE_UNSPECIFIED")]
    Unspecified,
    /// A regular file.
    #[serde(rename = "FILE_TYPE_FILE")]
    File,
    /// A directory.
    #[serde(rename = "FILE_TYPE_DIRECTORY")]
    Directory,
    /// A symbolic link that leads nowhere.
    #[serde(rename = "FILE_TYPE_SYMLINK")]
    Symlink,
}

/// One entry of the file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EntryInfo {
    /// Last component of the path.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub name: String,
    /// What it is.
    #[serde(rename = "type", deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub file_type: FileType,
    /// Absolute path.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub path: String,
    /// Size in bytes.
    #[serde(with = "int64", skip_serializing_if = "is_default")]
    pub size: i64,
    /// Permission bits.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub mode: u32,
    /// The same for people, like `-rw-r--r--`.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub permissions: String,
    /// User's name, or its number where it has none.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub owner: String,
    /// Group's name, or its number where it has none.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub group: String,
    /// Last change of the contents, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_time: Option<String>,
    /// Where a symbolic link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlink_target: Option<String>,
    /// What a writer attached to the file.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
    /// Whether the path itself is a symbolic link.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub is_symlink: bool,
}

/// `Stat`, `MakeDir`, `Remove`: a path and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathRequest {
    /// Absolute, `~…`, or relative to the user's home.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub path: String,
}

/// The message of `Move`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MoveRequest {
    /// What to move.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub source: String,
    /// Where to.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub destination: String,
}

/// The message of `ListDir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListDirRequest {
    /// Absolute, `~…`, or relative to the user's home.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub path: String,
    /// How many levels; 0 means 1.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub depth: u32,
}

/// Answer of `Stat`, `MakeDir` and `Move`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryResponse {
    /// The entry as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryInfo>,
}

/// Answer of `ListDir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListDirResponse {
    /// In the order of their paths.
    #[serde(skip_serializing_if = "is_default")]
    pub entries: Vec<EntryInfo>,
}

/// `WatchDir` and `CreateWatcher`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WatchRequest {
    /// Absolute, `~…`, or relative to the user's home.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub path: String,
    /// Whether the directories below count as well.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub recursive: bool,
    /// Whether events describe what is at the path then.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub include_entry: bool,
    /// Whether a network file system may be watched. Its events are unreliable.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub allow_network_mounts: bool,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// Nobody knows.
    #[default]
    #[serde(rename = "EVENT_TYPE_UNSPECIFIED")]
    Unspecified,
    /// It appeared: made, or moved to here.
    #[serde(rename = "EVENT_TYPE_CREATE")]
    Create,
    /// Its contents changed.
    #[serde(rename = "EVENT_TYPE_WRITE")]
    Write,
    /// It was removed.
    #[serde(rename = "EVENT_TYPE_REMOVE")]
    Remove,
    /// It was moved away from here.
    #[serde(rename = "EVENT_TYPE_RENAME")]
    Rename,
    /// Its permissions, owner or other attributes changed.
    #[serde(rename = "EVENT_TYPE_CHMOD")]
    Chmod,
}

/// One change below a watched directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesystemEvent {
    /// Path relative to the watched directory; `.` for the directory itself.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub name: String,
    /// What happened.
    #[serde(rename = "type", deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub event_type: EventType,
    /// What was at the path then, if that was asked for and something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryInfo>,
}

/// A message of the `WatchDir` stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchDirResponse {
    /// The stream reports changes from now on. Always first.
    Start {},
    /// Something changed.
    Filesystem(Box<FilesystemEvent>),
    /// Nothing new.
    Keepalive {},
}

/// Answer of `CreateWatcher`; also `GetWatcherEvents` and `RemoveWatcher`, which name a watcher and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Watcher {
    /// `w` and twenty characters.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub watcher_id: String,
}

/// Answer of `GetWatcherEvents`: what changed since the last call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatcherEvents {
    /// In the order in which it happened.
    #[serde(skip_serializing_if = "is_default")]
    pub events: Vec<FilesystemEvent>,
}
