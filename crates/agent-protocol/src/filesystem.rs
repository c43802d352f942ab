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
}

/// `Stat`, `MakeDir`, `Remove`: a path and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathRequest {
    /// Absolute, `~…`, or relative to the user's home.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub path: String,
}

/// `Move`.
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

/// `ListDir`.
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
