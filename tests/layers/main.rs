//! Holds the rules of the house: who may use whom, who reads the clock, how long a file may be.
//!
//! ```text
//! pure     decide                      no runtime, no files, no clock, no logs
//! config   the YAML as types           pure
//! services clock, status, logging …    pure, config
//! parts    one task each               pure, config, services, the queue; never each other
//! wiring   main, command, gateway      everything
//! ```
//! The tables below say which module is what. A module that they do not know fails the test: say
//! there where it belongs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod planted;
mod source;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use source::{Source, UsedPath};

/// Most lines of a file, its tests not counted.
const MAX_LINES: usize = 400;

/// What a module may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// Decides: everything it knows comes in as an argument.
    Pure,
    /// The configuration as types.
    Config,
    /// Used by all parts, uses none.
    Service,
    /// Runs: a task, or a thread. Named by its first module.
    Part,
    /// Puts the parts together.
    Wiring,
}

/// Where each module belongs. The longest name that fits counts, and speaks for what is below it;
/// a part is named by its first segment alone.
const LAYERS: &[(&str, Layer)] = &[
    ("backoff", Layer::Pure),
    ("call", Layer::Pure),
    ("format", Layer::Pure),
    ("reading", Layer::Pure),
    ("render", Layer::Pure),
    ("topic", Layer::Pure),
    ("wire", Layer::Pure),
    ("mqtt", Layer::Pure),
    ("password", Layer::Pure),
    ("watchdog", Layer::Pure),
    ("config", Layer::Config),
    ("clock", Layer::Service),
    ("control", Layer::Service),
    ("flow", Layer::Service),
    ("logging", Layer::Service),
    ("notify", Layer::Service),
    ("pulse", Layer::Service),
    ("signal", Layer::Service),
    ("status", Layer::Service),
    ("transport", Layer::Service),
    ("queue", Layer::Part),
    ("queue::chunk", Layer::Pure),
    ("queue::core", Layer::Pure),
    ("queue::cursor", Layer::Pure),
    ("queue::gaps", Layer::Pure),
    ("queue::held", Layer::Pure),
    ("queue::ranges", Layer::Pure),
    ("queue::job", Layer::Pure),
    ("queue::letters", Layer::Pure),
    ("queue::operate", Layer::Pure),
    ("queue::portable", Layer::Pure),
    ("queue::salvage", Layer::Part),
    ("queue::salvage::index", Layer::Pure),
    ("queue::salvage::log", Layer::Pure),
    ("queue::salvage::page", Layer::Pure),
    ("queue::salvage::tally", Layer::Pure),
    ("queue::types", Layer::Pure),
    ("port", Layer::Part),
    ("port::chatter", Layer::Pure),
    ("broker", Layer::Part),
    ("broker::access", Layer::Pure),
    ("broker::aliases", Layer::Pure),
    ("broker::buffers", Layer::Pure),
    ("broker::door::crowd", Layer::Pure),
    ("broker::door::refusals", Layer::Pure),
    ("broker::end", Layer::Pure),
    ("broker::filter", Layer::Pure),
    ("broker::journal", Layer::Pure),
    ("broker::load", Layer::Pure),
    ("broker::losses", Layer::Pure),
    ("broker::message", Layer::Pure),
    ("broker::pool", Layer::Pure),
    ("broker::remote", Layer::Pure),
    ("broker::retained", Layer::Pure),
    ("broker::routing", Layer::Pure),
    ("broker::session", Layer::Pure),
    ("broker::state::weights", Layer::Pure),
    ("broker::sys", Layer::Pure),
    ("broker::traffic", Layer::Pure),
    ("broker::trie", Layer::Pure),
    ("publisher", Layer::Part),
    ("bridge", Layer::Part),
    ("bridge::aliases", Layer::Pure),
    ("bridge::alive", Layer::Pure),
    ("bridge::batch", Layer::Pure),
    ("bridge::carry", Layer::Pure),
    ("bridge::downlink", Layer::Pure),
    ("bridge::echo", Layer::Pure),
    ("bridge::eta", Layer::Pure),
    ("bridge::flights", Layer::Pure),
    ("bridge::hold", Layer::Pure),
    ("bridge::lost", Layer::Pure),
    ("bridge::quarantine", Layer::Pure),
    ("bridge::pace", Layer::Pure),
    ("bridge::session", Layer::Pure),
    ("bridge::subscribe", Layer::Pure),
    ("bridge::suspect", Layer::Pure),
    ("bridge::takeover", Layer::Pure),
    ("bridge::version", Layer::Pure),
    ("bridge::words", Layer::Pure),
    ("sim", Layer::Part),
    ("command", Layer::Wiring),
    ("gateway", Layer::Wiring),
    ("main", Layer::Wiring),
    ("lib", Layer::Wiring),
];

/// Plain data of services and of the queue, which pure code may handle.
const PLAIN_DATA: &[&str] = &[
    "clock::Offset",
    "clock::Wall",
    "flow::Passed",
    "queue::Full",
    "queue::Resume",
    "queue::Safe",
    "queue::Taken",
    "queue::acks::Due",
    "queue::acks::Verdict",
    "status::BridgeState",
    "status::DeadLetters",
    "status::Dropped",
    "status::PortState",
    "status::Queue",
    "status::QueueState",
];

/// What pure code must not touch. The type `Instant` may come in as an argument; asking for the
/// present one is in [`CLOCK`].
const IMPURE: &[&str] = &[
    "fastrand",
    "nix",
    "rusqlite",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "tokio",
    "tokio_serial",
    "tracing",
];

/// How one reads the clock.
const CLOCK: &[&str] = &["Instant::now", "SystemTime::now", ".elapsed("];

/// Crates that only one place may use, so that it alone changes with them.
const OWNERS: &[(&str, &[&str])] = &[
    ("argon2", &["password"]),
    ("clap", &["command", "main"]),
    ("glob", &["config", "port"]),
    ("ratatui", &["command"]),
    ("rmqtt_codec", &["mqtt::codec"]),
    ("rusqlite", &["broker::store", "queue::store", "queue::schema"]),
    ("rustls_native_certs", &["transport"]),
    ("serde_saphyr", &["config"]),
    ("strsim", &["config"]),
    ("tokio_rustls", &["transport"]),
    ("tokio_serial", &["port"]),
    ("tokio_tungstenite", &["transport"]),
    ("tracing_journald", &["logging"]),
    ("tracing_subscriber", &["logging"]),
    ("x509_cert", &["transport"]),
];

/// What nobody writes here, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("macro_rules!", "write a function"),
    ("async_trait", "write a function or an enum"),
    ("unbounded_channel", "give the channel a bound"),
    ("static mut", "pass a handle"),
    ("#[allow(", "write #[expect(…, reason = \"…\")]"),
];

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, "", &mut files);
    assert!(files.len() > 20, "only {} sources found below {}", files.len(), root.display());
    let tests: Vec<String> = files.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    let is_test = |file: &str| tests.iter().any(|test| below(&module_of(file), test));
    let code = files.iter().filter(|(file, _)| !is_test(file));
    let violations: Vec<String> = code.flat_map(|(file, text)| check(file, text)).collect();
    let list = violations.iter().fold(String::new(), |mut list, violation| {
        let _ = writeln!(list, "  {violation}");
        list
    });
    assert!(violations.is_empty(), "{} violations:\n{list}", violations.len());
}

/// All `.rs` files below `folder`, as path below `src/` and text.
fn collect(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = format!("{name}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The modules below that of `file` that exist for tests only.
fn test_modules(file: &str, text: &str) -> Vec<String> {
    let parent: Vec<&str> =
        module_of(file).into_iter().filter(|name| !["lib", "main"].contains(name)).collect();
    let tests = Source::read(text).test_modules;
    tests.iter().map(|test| [parent.as_slice(), &[test.as_str()]].concat().join("::")).collect()
}

/// What is wrong with one file, a line each: `src/topic.rs:3: …`.
fn check(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    let source = Source::read(text);
    let mut violations = Vec::new();
    let mut violation = |line: usize, what: String| violations.push(format!("src/{file}:{line}: {what}"));
    if source.lines > MAX_LINES {
        let what = format!("{} lines without tests; {MAX_LINES} is the limit, so split it", source.lines);
        violation(MAX_LINES, what);
    }
    for (words, instead) in BANNED {
        for line in source.lines_with(&[words]) {
            violation(line, format!("`{words}` is not used here; {instead}"));
        }
    }
    let Some(layer) = layer_of(&module) else {
        let what = format!(
            "no layer is known for the module `{}`; add it to LAYERS in tests/layers",
            module.join("::")
        );
        violation(1, what);
        return violations;
    };
    if layer == Layer::Pure {
        for words in CLOCK {
            for line in source.lines_with(&[words]) {
                violation(
                    line,
                    format!("`{words}` reads the clock in pure code; take the time as an argument"),
                );
            }
        }
    }
    for path in &source.paths {
        if let Some(what) = check_path(&module, layer, path) {
            violation(path.line, what);
        }
    }
    violations.sort();
    violations.dedup();
    violations
}

/// `mqtt/session.rs` as `["mqtt", "session"]`.
fn module_of(file: &str) -> Vec<&str> {
    file.trim_end_matches(".rs").split('/').collect()
}

fn layer_of(module: &[&str]) -> Option<Layer> {
    (1..=module.len()).rev().find_map(|length| {
        let name = module[..length].join("::");
        LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
    })
}

/// What is wrong with the use of `path` in `module`.
fn check_path(module: &[&str], layer: Layer, path: &UsedPath) -> Option<String> {
    let target = absolute(module, &path.segments);
    let shown = path.segments.join("::");
    let Some(target) = target else {
        let written: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let owner = OWNERS.iter().find(|(name, _)| *name == written[0]);
        if let Some((name, owners)) =
            owner.filter(|(_, owners)| !owners.iter().any(|owner| below(module, owner)))
        {
            return Some(format!("`{shown}`: only {} may use `{name}`", owners.join(" and ")));
        }
        let impure = IMPURE.iter().find(|name| below(&written, name));
        return impure
            .filter(|_| layer == Layer::Pure)
            .map(|name| format!("`{shown}`: pure code must not use `{name}`; let the caller do it"));
    };
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    let other = layer_of(&target)?;
    let (own, theirs) = (module[0], target[0]);
    let may = match layer {
        Layer::Wiring => true,
        Layer::Pure => matches!(other, Layer::Pure | Layer::Config) || plain_data(&target),
        Layer::Config => matches!(other, Layer::Pure | Layer::Config),
        Layer::Service => matches!(other, Layer::Pure | Layer::Config | Layer::Service),
        Layer::Part => own == theirs || theirs == "queue" || !matches!(other, Layer::Part | Layer::Wiring),
    };
    let sideways = is_part(own) && is_part(theirs) && own != theirs && theirs != "queue";
    if sideways {
        Some(format!(
            "`{shown}`: the parts `{own}` and `{theirs}` must not know each other; gateway.rs wires them"
        ))
    } else if may {
        None
    } else if layer == Layer::Pure {
        Some(format!("`{shown}`: pure code must not use the {} `{theirs}`; pass plain data", word(other)))
    } else {
        Some(format!("`{shown}`: the {} `{own}` must not use the {} `{theirs}`", word(layer), word(other)))
    }
}

/// The path from the crate's root, where it leads into our own crate.
fn absolute(module: &[&str], path: &[String]) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    match path.first().map(String::as_str) {
        Some("crate" | "serialgate") => Some(path[1..].to_vec()),
        Some("self") => {
            Some(module.iter().map(|&segment| segment.to_owned()).chain(path[1..].iter().cloned()).collect())
        }
        Some("super") => {
            let parent = &module[..module.len().saturating_sub(supers)];
            Some(
                parent
                    .iter()
                    .map(|&segment| segment.to_owned())
                    .chain(path[supers..].iter().cloned())
                    .collect(),
            )
        }
        _ => None,
    }
}

/// Whether `path` is `name` or something in it.
fn below(path: &[&str], name: &str) -> bool {
    let name: Vec<&str> = name.split("::").collect();
    path.starts_with(&name) || (path.last() == Some(&"*") && name.starts_with(&path[..path.len() - 1]))
}

/// Whether `path` is plain data of a service, or the service's module brought in by name.
fn plain_data(path: &[&str]) -> bool {
    PLAIN_DATA.iter().any(|data| below(path, data) || data.split("::").collect::<Vec<_>>().starts_with(path))
        && path.last() != Some(&"*")
}

fn is_part(name: &str) -> bool {
    layer_of(&[name]) == Some(Layer::Part)
}

fn word(layer: Layer) -> &'static str {
    match layer {
        Layer::Pure => "pure module",
        Layer::Config => "configuration",
        Layer::Service => "service",
        Layer::Part => "part",
        Layer::Wiring => "wiring",
    }
}
