//! Passwords: the configuration says where they are, never what they are.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::read::{Problems, Table, Wrong};
use super::tree::{Node, Value};
use super::values;

/// Longest password, in bytes (MQTT 5.0, 1.5.6).
const MAX_SECRET_BYTES: usize = 65_535;

/// Longest name of a variable or credential, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Where systemd puts the credentials of a service.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where a password comes from. It is read at each connect, so a new one needs no restart, and it
/// is never kept or printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the daemon's environment.
    Env(String),
    /// A systemd credential (`LoadCredential=` of the service).
    Credential(String),
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file cannot be read.
    #[error("the password file {path} cannot be read: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such variable.
    #[error("the password's environment variable {0} is not set, or not UTF-8")]
    Env(String),
    /// The service has no credentials at all.
    #[error(
        "the password is the credential {0}, but systemd passed none: add LoadCredential={0}:PATH to the service"
    )]
    NoCredentials(String),
    /// There is nothing in it.
    #[error("the password from {0} is empty")]
    Empty(String),
}

impl Secret {
    /// Reads the password.
    ///
    /// # Errors
    /// Says what is missing. The text never holds the password.
    pub fn read(&self) -> Result<String, SecretError> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?,
            Self::Credential(name) => {
                let folder = std::env::var_os(CREDENTIALS_DIRECTORY)
                    .ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                read_file(&Path::new(&folder).join(name))?
            }
        };
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(SecretError::Empty(self.source()));
        }
        Ok(line.to_owned())
    }

    /// The file where it stands, if that is where.
    pub(super) fn file(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) | Self::Credential(_) => None,
        }
    }

    /// Where it comes from, in words.
    fn source(&self) -> String {
        match self {
            Self::File(path) => format!("the file {}", path.display()),
            Self::Env(name) => format!("the environment variable {name}"),
            Self::Credential(name) => format!("the credential {name}"),
        }
    }

    /// Reads `{file: PATH}`, `{env: NAME}` or `{credential: NAME}`, a secret of `bridge`.
    pub(super) fn read_from(bridge: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Value::Text(_) | Value::Nothing = node.value {
            // The text is not repeated: it is a password.
            let bridge = if bridge.is_empty() { "cloud" } else { bridge };
            let wrong = Wrong::new(
                "a password does not stand in this file",
                format!(
                    "put it into a file of its own and write `password: {{file: /etc/serialgate/secrets/{bridge}}}`"
                ),
            );
            problems.add_for("password", node.place, &wrong);
            return None;
        }
        let mut table = Table::open("`password`", node, problems)?;
        let (mut file, mut env, mut credential) = (None, None, None);
        table.set("file", &mut file, problems, |text| values::file(text).map(|path| Some(Self::File(path))));
        table.set("env", &mut env, problems, |text| Ok(Some(Self::Env(variable(text)?))));
        table.set("credential", &mut credential, problems, |text| {
            Ok(Some(Self::Credential(credential_name(text)?)))
        });
        let given = ["file", "env", "credential"].iter().filter(|key| table.place_of(key).is_some()).count();
        if given != 1 {
            let what =
                if given == 0 { "nothing says where it comes from" } else { "it comes from several places" };
            let instead = "write one of `{file: PATH}`, `{env: NAME}` and `{credential: NAME}`";
            problems.add_for("password", table.place, &Wrong::new(what, instead));
        }
        table.close(&[], problems);
        file.or(env).or(credential)
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let read = || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_SECRET_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > MAX_SECRET_BYTES {
            return Err(io::Error::other("it is too large for a password"));
        }
        String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
    };
    read().map_err(|source| SecretError::File { path: path.to_owned(), source })
}

fn variable(text: &str) -> Result<String, Wrong> {
    let text = values::line(text, MAX_NAME_BYTES)?;
    if text.contains(['=', '$', ' ']) {
        return Err(Wrong::value(
            &text,
            "is not the name of a variable",
            "write the bare name, as in `{env: CLOUD_PASSWORD}`",
        ));
    }
    Ok(text)
}

fn credential_name(text: &str) -> Result<String, Wrong> {
    let text = values::line(text, MAX_NAME_BYTES)?;
    if text.contains('/') || text.starts_with('.') {
        return Err(Wrong::value(
            &text,
            "is not the name of a credential",
            "write the name that stands in `LoadCredential=NAME:PATH`, or `{file: PATH}`",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud");
        for (content, expected) in [
            ("hunter2\n", Some("hunter2")),
            ("a b \r\nmore\n", Some("a b ")),
            ("x", Some("x")),
            ("", None),
            ("\nx", None),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::File(path.clone()).read().ok().as_deref(), expected, "{content:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = Secret::File("/nowhere/at/all".into()).read().unwrap_err();
        assert!(missing.to_string().contains("/nowhere/at/all"), "{missing}");
        let unset = Secret::Env("SERIALGATE_TEST_UNSET".into()).read().unwrap_err();
        assert!(unset.to_string().contains("SERIALGATE_TEST_UNSET"), "{unset}");
    }

    #[test]
    fn a_file_too_large_for_a_password_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud");
        std::fs::write(&path, vec![b'x'; MAX_SECRET_BYTES + 1]).unwrap();
        assert!(Secret::File(path).read().is_err());
    }
}
