//! Paths: which ones a caller may name, and which ones no program may come near.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What a path has to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file or a directory.
    Any,
    /// A file.
    File,
    /// A directory.
    Directory,
}

impl Kind {
    /// Reads a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "any" => Some(Self::Any),
            "file" => Some(Self::File),
            "directory" => Some(Self::Directory),
            _ => None,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Any => "expected a file or a directory below one of the server's roots",
            Self::File => "expected a file below one of the server's roots",
            Self::Directory => "expected a directory below one of the server's roots",
        }
    }

    fn fits(self, path: &Path) -> bool {
        match self {
            Self::Any => path.is_file() || path.is_dir(),
            Self::File => path.is_file(),
            Self::Directory => path.is_dir(),
        }
    }
}

/// The path that a caller's text leads to, links and `..` resolved, when it lies below one of
/// `roots`, which are resolved themselves. A relative one begins at the first root that has it.
///
/// What is elsewhere and what does not exist cannot be told apart.
fn resolved(text: &str, kind: Kind, roots: &[PathBuf]) -> Option<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let below = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    let real = |path: PathBuf| path.canonicalize().ok();
    let found = match Path::new(text).is_absolute() {
        true => real(PathBuf::from(text)),
        false => roots.iter().find_map(|root| real(root.join(text))),
    };
    // What follows is handed over as text.
    found.filter(|path| below(path) && kind.fits(path) && path.to_str().is_some())
}

/// Puts what paths lead to in the place of what the caller wrote.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) naming the inputs that lead nowhere
/// below `roots`.
pub(super) fn resolve(
    inputs: &mut Map<String, Value>,
    kinds: &[(String, Kind)],
    roots: &[PathBuf],
) -> Result<()> {
    for (name, kind) in kinds {
        let Some(value) = inputs.get_mut(name) else { continue };
        let texts = match value {
            Value::Array(items) => items.as_mut_slice(),
            one @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => std::slice::from_mut(one),
        };
        for text in texts {
            let path = text.as_str().and_then(|text| resolved(text, *kind, roots));
            let path = path.as_deref().and_then(Path::to_str).ok_or_else(|| {
                let message = "a path leads nowhere that commands may read";
                Error::invalid(message).detail(name, kind.expected())
            })?;
            *text = path.into();
        }
    }
    Ok(())
}

/// A directory or file that has to be there, links resolved.
///
/// # Errors
/// What is wrong with it, for the operator.
pub(super) fn real(path: &Path) -> Result<PathBuf, String> {
    if !path.is_absolute() {
        return Err(format!("`{}`: expected an absolute path", path.display()));
    }
    let real = path.canonicalize().map_err(|error| format!("`{}`: {error}", path.display()))?;
    match real.to_str() {
        Some(_) => Ok(real),
        None => Err(format!("`{}`: expected a path in UTF-8", path.display())),
    }
}

/// Says which of `open` would let a program come to one of `closed`.
///
/// # Errors
/// The first that would, for the operator.
pub(super) fn keep_apart(open: &[PathBuf], closed: &[PathBuf]) -> Result<(), String> {
    for secret in closed {
        let secret = secret.canonicalize().unwrap_or_else(|_| secret.clone());
        for path in open {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            if secret.starts_with(&path) || path.starts_with(&secret) {
                return Err(format!(
                    "commands may read `{}`, and `{}` is not for them: keep one outside of the \
                     other",
                    path.display(),
                    secret.display()
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_and_dots_do_not_lead_out_of_the_roots() {
        let place = tempfile::tempdir().unwrap();
        let (root, secret) = (place.path().join("root"), place.path().join("secret"));
        fs::create_dir_all(root.join("inner")).unwrap();
        fs::write(root.join("inner/file"), "").unwrap();
        fs::write(&secret, "").unwrap();
        symlink(&secret, root.join("link")).unwrap();
        symlink(root.join("inner"), root.join("inside")).unwrap();
        let roots = [root.canonicalize().unwrap()];
        let found = |text: &str, kind| resolved(text, kind, &roots);
        let inner = roots[0].join("inner");
        assert_eq!(found("inner", Kind::Any), Some(inner.clone()));
        assert_eq!(found("inside", Kind::Directory), Some(inner.clone()));
        assert_eq!(found(inner.to_str().unwrap(), Kind::Any), Some(inner));
        assert_eq!(found("inner", Kind::File), None);
        for out in ["link", "../secret", "inner/../../secret", "/", "/etc", "", "nothing", "a\0b"] {
            assert_eq!(found(out, Kind::Any), None, "{out}");
        }
        assert_eq!(found(secret.to_str().unwrap(), Kind::Any), None);
        let beside = place.path().join("root-beside");
        fs::create_dir(&beside).unwrap();
        assert_eq!(found(beside.to_str().unwrap(), Kind::Any), None);
    }

    #[test]
    fn what_is_closed_lies_neither_below_nor_above_what_is_open() {
        let apart = |open: &str, closed: &str| {
            keep_apart(&[PathBuf::from(open)], &[PathBuf::from(closed)]).is_ok()
        };
        assert!(apart("/usr", "/var/lib/skill"));
        assert!(!apart("/var", "/var/lib/skill"));
        assert!(!apart("/var/lib/skill/integrations", "/var/lib/skill"));
        assert!(apart("/var/lib/skill-code", "/var/lib/skill"));
    }
}
