//! The configuration: `/etc/serialgate/serialgate.yaml` as types.
//!
//! [`Config::load`] reads a file, [`Config::default`] is what an empty file means. Whoever holds a
//! [`Config`] may rely on it: names are slugs, filters are valid, quantities are within their
//! limits, nothing contradicts anything. A file that breaks any of that is refused as a whole, with
//! every mistake listed as `file:line:column: what, why, what to write instead`; keys that nobody
//! knows are mistakes too, so that a slip of the finger is never a default.
//!
//! ```text
//! text ──tree──> places and values ──port, queue, broker, bridge──> Config
//!                                          └── read: keys, problems, did you mean
//! ```

mod bridge;
mod broker;
mod port;
mod queue;
mod read;
mod route;
mod secret;
mod sending;
mod tree;
pub mod units;
mod values;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use self::bridge::{
    Authority, Bridge, Endpoint, Identity, Order, Password, Proxy, Sas, Scheme, Tls, Url,
};
pub use self::broker::{Broker, Limits, Listener, ServerTls, User};
pub use self::port::{Format, Port};
pub use self::queue::{COMMIT_WITHIN, Durability, MAX_AGE, MAX_READINGS, MAX_SIZE, Queue, WhenFull};
use self::read::{Problems, Table, Wrong};
pub use self::secret::{Secret, SecretError};
pub use self::sending::{Batch, Compression, Rate};
use self::tree::{Node, Place};
use crate::topic;

/// Where the configuration is looked for first.
pub const DEFAULT_PATH: &str = "/etc/serialgate/serialgate.yaml";

/// Largest file, in bytes.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Keys of later versions.
const LATER: [&str; 4] = ["devices", "home_assistant", "output", "web"];

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The gateway's name in topics: a slug.
    pub gateway: String,
    /// The first level of our own topics: a slug.
    pub base: String,
    /// The serial lines.
    pub ports: Vec<Port>,
    /// The store-and-forward queue.
    pub queue: Queue,
    /// The local broker.
    pub broker: Broker,
    /// The links to other brokers.
    pub bridges: Vec<Bridge>,
    /// How commands reach the daemon.
    pub control: Control,
}

/// How commands reach the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The control socket, where the usual place does not fit.
    pub socket: Option<PathBuf>,
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// What is wrong, why, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read {
        /// Its name.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file has mistakes: all of them, in the order of the file.
    Invalid(Vec<Problem>),
}

impl fmt::Display for ConfigError {
    /// One line for each mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, source } => write!(
                f,
                "{}: the configuration cannot be read: {source}; name another one with --config FILE",
                file.display()
            ),
            Self::Invalid(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Invalid(_) => None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gateway: host_name(),
            base: "serialgate".to_owned(),
            ports: Vec::new(),
            queue: Queue::default(),
            broker: Broker::default(),
            bridges: Vec::new(),
            control: Control::default(),
        }
    }
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Where the file cannot be read or has mistakes.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_file(path).map_err(|source| ConfigError::Read { file: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads `text`, the content of `file`. Relative paths in it are meant from the folder of `file`.
    ///
    /// # Errors
    /// All mistakes, in the order of the file.
    pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let folder = file.as_ref().parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut config = match tree::parse(text) {
            Ok(root) => Self::read(&root, folder, &mut problems),
            Err(error) => {
                problems.add(error.place, &Wrong::new(error.message, error.instead));
                Self::default()
            }
        };
        let problems = problems.sorted();
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(with_file(problems, file.as_ref())));
        }
        config.resolve(folder);
        Ok(config)
    }

    fn read(root: &Node, folder: &Path, problems: &mut Problems) -> Self {
        let mut config = Self::default();
        let Some(mut table) = Table::open("the configuration", root, problems) else { return config };
        table.set("gateway", &mut config.gateway, problems, values::slug);
        table.set("base", &mut config.base, problems, values::slug);
        config.ports = Port::read_all(&mut table, problems);
        config.queue = Queue::read(&mut table, problems);
        config.broker = Broker::read(&mut table, &config.queue.path, folder, problems);
        config.bridges = Bridge::read_all(&mut table, problems);
        config.control = Control::read(&mut table, problems);
        table.close(&LATER, problems);
        config
    }

    /// Makes relative paths begin at `folder`.
    fn resolve(&mut self, folder: &Path) {
        let bridges = self.bridges.iter_mut().flat_map(Bridge::files);
        let own = self.broker.files().chain([&mut self.queue.path]).chain(&mut self.control.socket);
        for path in bridges.chain(own) {
            *path = folder.join(&*path);
        }
    }

    /// The file that keeps the local broker's sessions and retained messages.
    #[must_use]
    pub fn broker_file(&self) -> PathBuf {
        self.broker.file(&self.queue.path)
    }
}

impl Control {
    fn read(root: &mut Table<'_>, problems: &mut Problems) -> Self {
        let mut control = Self::default();
        let Some(node) = root.node("control") else { return control };
        let Some(mut table) = Table::open("`control`", node, problems) else { return control };
        table.set("socket", &mut control.socket, problems, |text| values::file(text).map(Some));
        table.close(&[], problems);
        control
    }
}

fn with_file(problems: Vec<(Place, String)>, file: &Path) -> Vec<Problem> {
    let file = file.display().to_string();
    let problem = |(place, message): (Place, String)| Problem {
        file: file.clone(),
        line: place.line,
        column: place.column,
        message,
    };
    problems.into_iter().map(problem).collect()
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    if text.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {}", units::print_size(1 << 20))));
    }
    Ok(text)
}

/// The first part of the host name as a slug.
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let first = name.split('.').next().unwrap_or_default();
    topic::slug(first).unwrap_or_else(|| "gateway".to_owned())
}

#[cfg(test)]
mod tests;
