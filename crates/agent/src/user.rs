//! Users and groups, read from the sandbox's own `/etc/passwd` and `/etc/group`: a static binary has no name
//! service, and the files are small. A root file system without the first one still has `root` and `user`.

use std::collections::HashMap;
use std::io;

use crate::small_file;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const MAX_BYTES: u64 = 1024 * 1024;

/// The users of a root file system that names none.
const WITHOUT_FILE: &str = "root:x:0:0::/root:\nuser:x:1000:1000::/home/user:\n";

/// What the kernel takes.
const MAX_GROUPS: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the primary one included.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Why there is no user to be had of a name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("invalid username: '{0}'")]
    Unknown(String),
    #[error("the user '{name}' has no valid {which} in {PASSWD}: it must be a number below {NO_ID}")]
    Id { name: String, which: &'static str },
    #[error("cannot read the users: {0}")]
    Unreadable(#[from] io::Error),
}

/// To the kernel this number means that an id stays as it is: whoever had it would stay root.
const NO_ID: u32 = u32::MAX;

/// An id as the files have it.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != NO_ID)
}

/// The user called `name`, as the files say now.
///
/// # Errors
///
/// The files name no such user, or give it an id that is none, or cannot be read.
pub(crate) fn find(name: &str) -> Result<User, UserError> {
    Ok(with_groups(parse_user(&passwd()?, name)?))
}

/// The first user with this id, if the files name one.
///
/// # Errors
///
/// As of [`find`].
pub(crate) fn find_id(uid: u32) -> Result<Option<User>, UserError> {
    let passwd = passwd()?;
    let Some(name) = parse_names(&passwd).remove(&uid) else { return Ok(None) };
    let user = parse_user(&passwd, &name)?;
    // Of several lines with this name another may come first.
    Ok((user.uid == uid).then(|| with_groups(user)))
}

fn passwd() -> io::Result<String> {
    match small_file::read(PASSWD, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(WITHOUT_FILE.to_owned()),
        read => read,
    }
}

fn with_groups(mut user: User) -> User {
    // No groups file, no further groups.
    let group = small_file::read(GROUP, MAX_BYTES).unwrap_or_default();
    user.groups.extend(parse_memberships(&group, &user.name).filter(|gid| *gid != user.gid).take(MAX_GROUPS));
    user
}

fn parse_user(passwd: &str, name: &str) -> Result<User, UserError> {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if name.is_empty() || fields.next()? != name {
            return None;
        }
        let (_password, uid, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let (_comment, home) = (fields.next()?, fields.next()?);
        Some((uid, gid, home))
    });
    let (uid, gid, home) = found.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    let invalid = |which| UserError::Id { name: name.to_owned(), which };
    let uid = id(uid).ok_or_else(|| invalid("user id"))?;
    let gid = id(gid).ok_or_else(|| invalid("group id"))?;
    let home = if home.starts_with('/') { home } else { "/" };
    Ok(User { name: name.to_owned(), uid, gid, groups: vec![gid], home: home.to_owned() })
}

fn parse_memberships<'a>(group: &'a str, name: &'a str) -> impl Iterator<Item = u32> + 'a {
    group.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let (_group, _password, gid, members) =
            (fields.next()?, fields.next()?, id(fields.next()?)?, fields.next()?);
        members.split(',').any(|member| member.trim() == name).then_some(gid)
    })
}

/// Names of ids, for listings. Read once per request.
pub(crate) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    pub(crate) fn read() -> Self {
        let names =
            |path| small_file::read(path, MAX_BYTES).map(|text| parse_names(&text)).unwrap_or_default();
        Self { users: names(PASSWD), groups: names(GROUP) }
    }

    pub(crate) fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    pub(crate) fn group(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
    }
}

/// Both files have the name first and the id third; the first line of an id wins.
fn parse_names(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(found)) = (fields.next(), fields.next(), fields.next().and_then(id))
        {
            names.entry(found).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# nothing\nuser:x:1000:1001:,,,:/home/user:/bin/bash\n\
                          odd:x:many:1:x:/:/bin/sh\nnowhere:x:7:7:::\n";
    const GROUP: &str = "root:x:0:\nsudo:x:27:user,other\nuser:x:1001:\ndocker:x:99: user\nbad\n";

    #[test]
    fn users_as_the_file_says() {
        let user = parse_user(PASSWD, "user").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (1000, 1001, "/home/user"));
        assert_eq!(parse_user(PASSWD, "nowhere").unwrap().home, "/");
        for name in ["", "use", "# nothing", "x"] {
            let error = parse_user(PASSWD, name).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid username: '{name}'"));
        }
    }

    #[test]
    fn ids_that_are_none_are_refused_by_name() {
        for odd in ["4294967295", "-1", "-0", "4294967296", "99999999999999999999", "many", "", " 1", "0x0"] {
            let file = format!("u:x:{odd}:1:x:/:/bin/sh\ng:x:1:{odd}:x:/:/bin/sh\nu:x:1:1:x:/:/bin/sh\n");
            for (name, which) in [("u", "user id"), ("g", "group id")] {
                let error = parse_user(&file, name).unwrap_err().to_string();
                let words = format!(
                    "the user '{name}' has no valid {which} in /etc/passwd: it must be a number below"
                );
                assert!(error.starts_with(&words), "{odd}: {error}");
            }
            assert_eq!(
                parse_memberships(&format!("x:x:{odd}:u\ny:x:7:u\n"), "u").collect::<Vec<_>>(),
                [7],
                "{odd}"
            );
        }
        assert_eq!(parse_user("u:x:4294967294:0:x:/:/bin/sh\n", "u").unwrap().uid, 4_294_967_294);
    }

    #[test]
    fn users_without_a_file() {
        assert_eq!(parse_user(WITHOUT_FILE, "root").unwrap().uid, 0);
        assert_eq!(parse_user(WITHOUT_FILE, "user").unwrap().home, "/home/user");
    }

    #[test]
    fn groups_that_name_the_user() {
        assert_eq!(parse_memberships(GROUP, "user").collect::<Vec<_>>(), [27, 99]);
        assert_eq!(parse_memberships(GROUP, "root").count(), 0);
    }

    #[test]
    fn names_of_ids() {
        let names = Names { users: parse_names(PASSWD), groups: parse_names(GROUP) };
        assert_eq!(names.user(1000), "user");
        assert_eq!(names.user(4), "4");
        assert_eq!(names.group(27), "sudo");
    }
}
