//! Completions for bash, zsh and fish.

use std::process::Command;

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use serialgate::command::Line;

use super::{Files, keep, root};

const FOLDER: &str = "completions";

#[test]
fn the_completions_are_kept() {
    let mut files = Files::new();
    for (shell, end) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let mut text = Vec::new();
        generate(shell, &mut Line::command(), "serialgate", &mut text);
        files.insert(format!("serialgate.{end}"), String::from_utf8(text).unwrap());
    }
    keep(FOLDER, &files);
}

/// What `shell` says to `arguments`.
fn ask(shell: &str, arguments: &[&str]) -> String {
    let output = Command::new(shell).args(arguments).current_dir(root().join(FOLDER)).output();
    let output = output.unwrap_or_else(|error| panic!("{shell}: {error}"));
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && complained.is_empty(), "{shell}: {complained}");
    said.into_owned()
}

#[test]
fn bash_completes() {
    let complete = "source serialgate.bash; COMP_WORDS=(serialgate queue pu); COMP_CWORD=2; \
                    _serialgate serialgate pu queue; echo ${COMPREPLY[@]}";
    assert_eq!(ask("bash", &["--norc", "-c", complete]).trim(), "purge");
}

#[test]
fn fish_completes() {
    let complete = "source serialgate.fish; complete --do-complete 'serialgate queue pu'";
    let said = ask("fish", &["--no-config", "-c", complete]);
    assert!(said.starts_with("purge\t"), "{said}");
}

#[test]
fn zsh_takes_it() {
    ask("zsh", &["--no-rcs", "--no-exec", "serialgate.zsh"]);
}
