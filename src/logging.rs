//! Where log lines go: to the journal with their fields when the journal reads our standard error,
//! else as text for people.
//!
//! `RUST_LOG` chooses what is logged, as in `RUST_LOG=debug` or `RUST_LOG=serialgate::bridge=trace`;
//! without it, `info` and above.

use std::io::{self, IsTerminal};

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The journal's name for us.
const IDENTIFIER: &str = "serialgate";

/// Begins to log.
///
/// # Errors
/// Where this process logs already.
pub fn init() -> Result<(), TryInitError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let journal = if stderr_is_journal() { tracing_journald::layer().ok() } else { None };
    let text = journal.is_none().then(|| {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colours)
            .with_target(false)
            // Its complaints would go to standard error too, and panic where that is a closed pipe.
            .log_internal_errors(false)
    });
    // Our own field names (port, device, bridge) are what people search the journal for.
    let journal =
        journal.map(|layer| layer.with_syslog_identifier(IDENTIFIER.to_owned()).with_field_prefix(None));
    let journal = journal.map(|layer| layer.with_priority_mappings(priorities()));
    tracing_subscriber::registry().with(filter).with(journal).with(text).try_init()
}

/// Information is nothing that calls for attention, so it is no notice.
fn priorities() -> PriorityMappings {
    PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() }
}

/// Whether systemd connected standard error to the journal (systemd.exec(5), `JOURNAL_STREAM`).
fn stderr_is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    nix::sys::stat::fstat(io::stderr()).is_ok_and(|stat| names(&stream, stat.st_dev, stat.st_ino))
}

/// Whether `stream` (`device:inode`) names that file. The variable is inherited, so it alone proves
/// nothing: a child of a service may have its standard error elsewhere.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(d, i)| d.parse::<u64>() == Ok(device) && i.parse::<u64>() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        for (stream, expected) in [
            ("9:1234", true),
            ("9:1235", false),
            ("8:1234", false),
            ("", false),
            ("9", false),
            ("9:1234:5", false),
        ] {
            assert_eq!(names(stream, 9, 1234), expected, "{stream:?}");
        }
    }
}
