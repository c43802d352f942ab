//! Paths as clients write them: absolute, from `~`, relative to the home, or empty for the working directory.

use sandscope_agent_protocol::{Code, ConnectError};

use crate::user::User;

/// The absolute path that `path` means to `user`, without `.`, `..` and doubled slashes.
pub(crate) fn resolve(path: &str, user: &User, workdir: &str) -> Result<String, ConnectError> {
    if path.contains('\0') {
        return Err(ConnectError::new(Code::InvalidArgument, "a path cannot contain a zero byte"));
    }
    let home = user.home.as_str();
    Ok(match path {
        "" if workdir.starts_with('/') => clean(workdir),
        "" => clean(&format!("{home}/{workdir}")),
        "~" => clean(home),
        _ => match (path.strip_prefix("~/"), path.as_bytes()[0]) {
            (Some(rest), _) => clean(&format!("{home}/{rest}")),
            (None, b'~') => {
                let message = format!("cannot expand the home of another user in '{path}'");
                return Err(ConnectError::new(Code::InvalidArgument, message));
            }
            (None, b'/') => clean(path),
            (None, _) => clean(&format!("{home}/{path}")),
        },
    })
}

/// Removes `.`, `..` and doubled slashes from an absolute path, without looking at the file system.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last component; `/` for the root.
pub(crate) fn name(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user() -> User {
        User { name: "user".to_owned(), uid: 1, gid: 1, groups: vec![1], home: "/home/user".to_owned() }
    }

    #[test]
    fn every_way_to_write_a_path() {
        for (path, resolved) in [
            ("", "/work"),
            ("~", "/home/user"),
            ("~/a/../b", "/home/user/b"),
            ("a.txt", "/home/user/a.txt"),
            ("./a//b/.", "/home/user/a/b"),
            ("/x/../../y", "/y"),
            ("/", "/"),
            ("a~", "/home/user/a~"),
        ] {
            assert_eq!(resolve(path, &user(), "/work").unwrap(), resolved, "{path:?}");
        }
        assert_eq!(resolve("", &user(), "w").unwrap(), "/home/user/w");
        assert_eq!(resolve("~root/x", &user(), "/").unwrap_err().code, Code::InvalidArgument);
        assert_eq!(resolve("a\0b", &user(), "/").unwrap_err().code, Code::InvalidArgument);
        assert_eq!((name("/a/b"), name("/")), ("b", "/"));
    }

    proptest! {
        #[test]
        fn the_result_is_absolute_and_clean(path in "[a~./\u{e9} ]{0,20}") {
            if let Ok(resolved) = resolve(&path, &user(), "/") {
                prop_assert!(resolved.starts_with('/'));
                prop_assert!(resolved == "/" || !resolved.ends_with('/'));
                prop_assert!(resolved[1..].split('/').all(|part| part != "." && part != ".."));
                prop_assert!(!resolved.contains("//"));
                prop_assert_eq!(clean(&resolved), resolved);
            }
        }
    }
}
