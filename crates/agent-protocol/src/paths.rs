//! Paths as clients write them: absolute, from `~`, relative to the home, or empty for the working directory.

/// Why a path means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The kernel takes none.
    #[error("a path cannot contain a zero byte")]
    ZeroByte,
    /// The path begins with `~name`.
    #[error("cannot expand the home of another user in '{0}'")]
    OtherHome(String),
}

/// The absolute path that `path` means to a user with this home and working directory, without `.`, `..` and doubled
/// slashes.
///
/// # Errors
///
/// The path has a zero byte, or names the home of another user.
pub fn resolve(path: &str, home: &str, workdir: &str) -> Result<String, PathError> {
    if path.contains('\0') {
        return Err(PathError::ZeroByte);
    }
    Ok(match path {
        "" if workdir.starts_with('/') => clean(workdir),
        "" => clean(&format!("{home}/{workdir}")),
        "~" => clean(home),
        _ => match (path.strip_prefix("~/"), path.as_bytes()[0]) {
            (Some(rest), _) => clean(&format!("{home}/{rest}")),
            (None, b'~') => return Err(PathError::OtherHome(path.to_owned())),
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
pub fn name(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            assert_eq!(resolve(path, "/home/user", "/work").unwrap(), resolved, "{path:?}");
        }
        assert_eq!(resolve("", "/home/user", "w").unwrap(), "/home/user/w");
        assert_eq!(resolve("~root/x", "/", "/"), Err(PathError::OtherHome("~root/x".to_owned())));
        assert_eq!(resolve("a\0b", "/", "/"), Err(PathError::ZeroByte));
        assert_eq!((name("/a/b"), name("/")), ("b", "/"));
    }

    proptest! {
        #[test]
        fn the_result_is_absolute_and_clean(path in "[a~./\u{e9} ]{0,20}") {
            if let Ok(resolved) = resolve(&path, "/home/user", "/") {
                prop_assert!(resolved.starts_with('/'));
                prop_assert!(resolved == "/" || !resolved.ends_with('/'));
                prop_assert!(resolved[1..].split('/').all(|part| part != "." && part != ".."));
                prop_assert!(!resolved.contains("//"));
                prop_assert_eq!(clean(&resolved), resolved);
            }
        }
    }
}
