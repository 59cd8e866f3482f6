//! The table of keys says what the daemon reads: neither knows a key, a word or a limit that the other
//! does not know. And so does the schema, as an editor understands it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serialgate::config::Config;

use super::editor::Editor;
use super::root;
use super::trials::{self, STRANGER, Said, Trial};

/// What the first line of a configuration has to say so that editors find the schema.
const MODELINE: &str = "# yaml-language-server: $schema=/usr/share/serialgate/serialgate.schema.json";

/// The words in backticks behind `intro` in `text`.
fn listed(text: &str, intro: &str) -> Option<BTreeSet<String>> {
    let (_, list) = text.split_once(intro)?;
    let line = list.lines().next()?;
    Some(line.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// How the daemon's reader and the table differ about `trial`.
fn difference(trial: &Trial) -> Option<String> {
    let read = |text: &str| Config::parse(text, "s.yaml").map_err(|error| error.to_string());
    let (config, error) = match read(&trial.text) {
        Ok(config) => (Some(config), String::new()),
        Err(error) => (None, error),
    };
    if config.is_some() != trial.is_right {
        return Some(format!("is {}: {error}", if trial.is_right { "refused" } else { "accepted" }));
    }
    match &trial.said {
        Said::Anything => None,
        Said::Words(words) => (!error.contains(words)).then(|| format!("should say {words}: {error}")),
        Said::Keys(keys) => {
            let known = listed(&error, &format!("has no key `{STRANGER}`; the keys here are "));
            (known != Some(set(keys)))
                .then(|| format!("the daemon knows {known:?}, the table {keys:?}: {error}"))
        }
        Said::Choices(words) => {
            let known = listed(&error, &format!("there is no `{STRANGER}`; write "));
            known
                .filter(|known| *known != set(words))
                .map(|known| format!("the daemon knows {known:?}, the table {words:?}"))
        }
        Said::SameAs(other) => match read(other) {
            Ok(other) if Some(&other) == config.as_ref() => None,
            Ok(_) => Some(format!("is not the default: {other}")),
            Err(error) => Some(format!("{other}: {error}")),
        },
    }
}

#[test]
fn the_daemon_reads_what_the_table_says() {
    let trials = trials::all();
    assert!(trials.len() > 500, "only {} trials", trials.len());
    let differences: Vec<String> = trials
        .iter()
        .filter_map(|trial| difference(trial).map(|what| format!("{}\n  {what}", short(&trial.text))))
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

#[test]
fn an_editor_says_the_same_as_the_daemon() {
    let trials: Vec<Trial> =
        trials::all().into_iter().filter(|trial| trial.is_right || trial.by_schema).collect();
    let mut editor = Editor::start();
    let complaints = editor.complaints(trials.iter().map(|trial| trial.text.as_str()));
    let mut differences = Vec::new();
    for (trial, complaints) in trials.iter().zip(complaints) {
        if complaints.is_empty() != trial.is_right {
            differences.push(format!(
                "{}\n  right: {}, editor: {complaints:?}",
                short(&trial.text),
                trial.is_right
            ));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// The configurations that are shipped.
fn shipped() -> Vec<PathBuf> {
    let config = root().join("config");
    let examples = fs::read_dir(config.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = examples.collect();
    files.sort();
    files.push(config.join("serialgate.yaml"));
    files
}

#[test]
fn an_editor_likes_what_is_shipped() {
    let files = shipped();
    assert!(files.len() > 5, "{files:?}");
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let complaints = Editor::start().complaints(texts.iter().map(String::as_str));
    for ((file, text), complaints) in files.iter().zip(&texts).zip(complaints) {
        assert_eq!(text.lines().next(), Some(MODELINE), "{}", file.display());
        assert!(complaints.is_empty(), "{}: {complaints:?}", file.display());
    }
}
