//! Man pages: one for the program, one for each command.
//!
//! Synopsis, options and commands are clap's. The rest is what `--help` says behind them: paragraphs
//! that begin with "Example" and "Exit code" have sections of their own, and what stands below a word
//! with a colon is a section of that name.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use clap_mangen::Man;
use serialgate::command::Line;

use super::roff::{Page, bold};
use super::{Files, keep, manual, root};

const FOLDER: &str = "docs/man";

/// What the program reads and writes.
const FILES: &[(&str, &str)] = &[
    ("/etc/serialgate/serialgate.yaml", "The configuration; see `serialgate.yaml`(5)."),
    (
        "/etc/serialgate/secrets/",
        "Passwords and keys that the configuration names, each in a file of its own.",
    ),
    (
        "/var/lib/serialgate/queue.db",
        "The queue: readings, messages and events that wait for a bridge. `queue.db-wal` and `queue.db-shm` belong \
         to it.",
    ),
    ("/var/lib/serialgate/broker.db", "Sessions and retained messages of the local broker."),
    ("/run/serialgate/control.sock", "Where the daemon listens for the other commands."),
];

/// What the program reads from its environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "RUST_LOG",
        "What `serialgate run` logs: `error`, `warn`, `info` (the default), `debug` or `trace`, or a list by part \
         as in `info,serialgate::bridge=debug`.",
    ),
    ("NO_COLOR", "Set to anything, logs at a terminal have no colours."),
    (
        "CREDENTIALS_DIRECTORY",
        "Where systemd has put the credentials of the service, for passwords of the form `{credential: NAME}`.",
    ),
    (
        "XDG_RUNTIME_DIR",
        "Where there is no /run/serialgate, the control socket is `$XDG_RUNTIME_DIR/serialgate/control.sock`.",
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd. Where it names standard error, logs go to the journal with their fields.",
    ),
];

/// The program, whole, as the pages show it.
fn program() -> clap::Command {
    let mut line = Line::command().disable_help_subcommand(true);
    line.build();
    line
}

/// The name of the page of `command`.
fn name_of(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// The pages of `command` and of all below it.
fn add(command: &clap::Command, files: &mut Files) {
    let name = name_of(command);
    files.insert(format!("{name}.1"), page(command));
    for command in command.get_subcommands() {
        add(command, files);
    }
}

/// What `--help` says behind the options, by its paragraphs.
#[derive(Default)]
struct Words {
    notes: Vec<String>,
    /// Heading and lines.
    lists: Vec<(String, Vec<String>)>,
    examples: Vec<String>,
    /// Code and meaning.
    exits: Vec<(String, String)>,
}

impl Words {
    fn of(command: &clap::Command) -> Self {
        let mut words = Self::default();
        let text = command.get_after_long_help().or(command.get_after_help());
        let text = text.map(ToString::to_string).unwrap_or_default();
        for paragraph in text.split("\n\n").map(str::trim_end) {
            let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
            let lines =
                || rest.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned()).collect();
            match first.strip_suffix(':') {
                Some("Example" | "Examples") => words.examples = lines(),
                Some(heading) if !heading.contains(' ') => words.lists.push((heading.to_owned(), lines())),
                _ if first.starts_with("Exit code") => words.exits = exits(paragraph),
                _ => words.notes.push(paragraph.to_owned()),
            }
        }
        words
    }
}

/// `Exit code 0: done. 64: the line is wrong.`, by its codes.
fn exits(text: &str) -> Vec<(String, String)> {
    let mut exits: Vec<(String, String)> = Vec::new();
    for word in text.split_whitespace().skip(2) {
        let code = word.strip_suffix(':').filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        match (code, exits.last_mut()) {
            (Some(code), _) => exits.push((code.to_owned(), String::new())),
            (None, Some((_, meaning))) => *meaning = format!("{meaning} {word}").trim_start().to_owned(),
            (None, None) => panic!("no code before {word} in {text}"),
        }
    }
    for (_, meaning) in &mut exits {
        meaning[..1].make_ascii_uppercase();
    }
    exits
}

fn page(command: &clap::Command) -> String {
    let name = name_of(command);
    let (man, words) = (Man::new(command.clone()), Words::of(command));
    let clap = |render: &dyn Fn(&mut Vec<u8>)| {
        let mut text = Vec::new();
        render(&mut text);
        backticks(&String::from_utf8(text).unwrap())
    };
    let mut page = Page::new(name, "1");
    page.section("NAME");
    let about = command.get_about().unwrap().to_string();
    page.raw(&format!("{} \\- {}\n", name.replace('-', "\\-"), bold(about.trim_end_matches('.'))));
    page.raw(&clap(&|text| man.render_synopsis_section(text).unwrap()));
    page.section("DESCRIPTION");
    let long = command.get_long_about().map_or(about, ToString::to_string);
    for paragraph in long.split("\n\n").skip(usize::from(long.contains("\n\n"))) {
        page.paragraph(paragraph);
    }
    for note in &words.notes {
        page.paragraph(note);
    }
    if command.has_subcommands() {
        page.section("COMMANDS");
        for below in command.get_subcommands() {
            page.item(&format!("{}(1)", name_of(below)), &below.get_about().unwrap().to_string());
        }
    }
    page.raw(&clap(&|text| man.render_options_section(text).unwrap()));
    for (heading, lines) in &words.lists {
        page.section(&heading.to_uppercase());
        page.example(lines.iter().map(String::as_str));
    }
    page.section("EXIT STATUS");
    for (code, meaning) in &words.exits {
        page.item(code, meaning);
    }
    if ["serialgate", "serialgate-run"].contains(&name) {
        for (heading, items) in [("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)] {
            page.section(heading);
            items.iter().for_each(|(term, text)| page.item(term, text));
        }
    }
    page.section("EXAMPLES");
    page.example(words.examples.iter().map(String::as_str));
    page.section("SEE ALSO");
    page.raw(&see_also(command));
    page.finish()
}

/// The pages around that of `command`.
fn see_also(command: &clap::Command) -> String {
    let own = name_of(command);
    let mut names: Vec<String> = Vec::new();
    let mut above = own;
    while let Some((parent, _)) = above.rsplit_once('-') {
        names.push(parent.to_owned());
        above = parent;
    }
    names.retain(|name| name != "serialgate-queue-dead");
    let mut shown: Vec<String> = names.iter().rev().map(|name| format!("{name}(1)")).collect();
    shown.extend(["serialgate.yaml(5)", "journalctl(1)", "mosquitto_sub(1)"].map(str::to_owned));
    let bold = |name: &String| {
        let (name, section) = name.split_once('(').unwrap();
        format!("\\fB{}\\fR({section}", name.replace('-', "\\-"))
    };
    shown.iter().map(bold).collect::<Vec<_>>().join(",\n") + "\n"
}

/// Words in backticks in bold, in what clap wrote.
fn backticks(text: &str) -> String {
    text.split('`').enumerate().fold(String::new(), |text, (n, part)| match n {
        0 => part.to_owned(),
        n if n % 2 == 1 => format!("{text}\\fB{part}"),
        _ => format!("{text}\\fR{part}"),
    })
}

#[test]
fn the_man_pages_are_kept() {
    let mut files = Files::new();
    add(&program(), &mut files);
    assert!(files.contains_key("serialgate-queue-dead-letters-retry.1"));
    files.insert(manual::NAME.to_owned(), manual::page());
    keep(FOLDER, &files);
}

#[test]
fn every_page_has_an_example_and_exit_codes() {
    fn look(command: &clap::Command) {
        let (name, words) = (name_of(command), Words::of(command));
        let line = command.get_bin_name().unwrap_or(name);
        assert!(words.examples.iter().any(|example| example.starts_with(line)), "{name}: no example");
        assert_eq!(words.exits.first().map(|(code, _)| code.as_str()), Some("0"), "{name}: no exit codes");
        command.get_subcommands().for_each(look);
    }
    look(&program());
}

/// The way that Debian's lintian looks at pages.
fn warnings(page: &Path) -> String {
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
    man.env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", "").env("MANWIDTH", "80").stdout(Stdio::null());
    let output = man.output().unwrap();
    assert!(output.status.success(), "man: {}", output.status);
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn man_has_nothing_to_complain_about() {
    for page in fs::read_dir(root().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(warnings(&page), "", "{}", page.display());
    }
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(wrong.path(), ".TH X 1\n.SH NAME\nx \\- y\n.foo\n").unwrap();
    assert!(warnings(wrong.path()).contains("foo"), "man does not warn here");
}
