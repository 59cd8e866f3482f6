//! serialgate.yaml(5): the configuration's manual, from the same table as its schema.

use super::keys::{Absent, Group, Key, Kind, ROOT};
use super::roff::Page;
use super::schema;

pub(crate) const NAME: &str = "serialgate.yaml.5";

/// A small file that is whole.
const EXAMPLE: &str = "\
gateway: greenhouse
ports:
  - path: /dev/serial/by-id/usb-Arduino_*
queue:
  max_age: 90d
bridges:
  - name: cloud
    url: mqtts://abc123.s1.eu.hivemq.cloud
    username: greenhouse
    password: {file: secrets/cloud}";

pub(crate) fn page() -> String {
    let mut page = Page::new("serialgate.yaml", "5");
    page.section("NAME");
    page.raw("serialgate.yaml \\- configuration of the gateway Serialgate\n");
    page.section("SYNOPSIS");
    page.text("/etc/serialgate/serialgate.yaml");
    page.section("DESCRIPTION");
    for paragraph in [
        "A YAML file. Every key has a default, and an empty file is a right one. Keys that nobody knows are mistakes, so \
         that a slip of the finger is never a default; a file with a mistake is refused as a whole. `serialgate check` \
         lists every mistake with its place and what to write instead, and says in words what a right file means.",
        "After a change, `systemctl reload serialgate` has the daemon take over `ports` and `broker`, and read certificates \
         again, without cutting anybody off. Changes of the other keys wait for `systemctl restart serialgate`, and the \
         journal says so. A file with mistakes changes nothing; the mistakes stand in the journal.",
        "A DURATION is a whole number and one of `ms`, `s`, `min`, `h` and `d`, as in `250ms`. A SIZE is a whole number \
         and one of `B`, `KiB`, `MiB`, `GiB` and `TiB`, as in `1GiB`. A NAME that stands in topics has 1 to 64 of a-z, \
         0-9, `_` and `-`. A FILE with a relative path begins at the folder of the configuration.",
        "Editors that speak to yaml-language-server complete and explain the keys, by the first line of the file: \
         `# yaml-language-server: $schema=/usr/share/serialgate/serialgate.schema.json`",
    ] {
        page.paragraph(paragraph);
    }
    page.section("KEYS");
    keys(&ROOT, &mut page);
    below(&ROOT, "", &mut page);
    page.section("EXAMPLES");
    page.example(EXAMPLE.lines());
    page.paragraph("More are in /usr/share/doc/serialgate/examples.");
    page.section("SEE ALSO");
    page.text("`serialgate`(1), `serialgate-check`(1), `serialgate-init`(1), `serialgate-run`(1)");
    page.finish()
}

fn keys(group: &Group, page: &mut Page) {
    if group.is_choice && group.keys.len() > 1 {
        page.paragraph("Exactly one of these keys:");
    }
    for key in group.keys {
        item(key, page);
    }
}

fn item(key: &Key, page: &mut Page) {
    page.item(&format!("{}: {}", key.name, noun(&key.kind)), key.about);
    for (word, meaning) in words(&key.kind) {
        page.more(&format!("`{word}`: {meaning}."));
    }
    let needs = key.needs.map(|other| format!("Not without `{other}`."));
    let facts = [schema::limits(&key.kind), needs, schema::default(key)];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if !facts.is_empty() {
        page.more(&facts.join(" "));
    }
}

fn words(kind: &Kind) -> &'static [(&'static str, &'static str)] {
    if let Kind::Choice(words) = kind { words } else { &[] }
}

/// What a value is called: `DURATION`.
fn noun(kind: &Kind) -> String {
    match kind {
        Kind::Text { noun, .. } => (*noun).to_owned(),
        Kind::Choice(words) => words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" | "),
        Kind::Truth => "true | false".to_owned(),
        Kind::Number { .. } => "NUMBER".to_owned(),
        Kind::Duration { .. } => "DURATION".to_owned(),
        Kind::Size { .. } => "SIZE".to_owned(),
        Kind::Zero => "0".to_owned(),
        Kind::Group(_) => "{...}".to_owned(),
        Kind::List { of, .. } => format!("[{}, ...]", noun(of)),
        Kind::Either(kinds) => {
            let mut nouns: Vec<String> = kinds.iter().map(noun).collect();
            nouns.dedup();
            nouns.join(" | ")
        }
    }
}

/// A section for each group of keys in `group`, named by the way there.
fn below(group: &Group, way: &str, page: &mut Page) {
    for key in group.keys {
        let way = if way.is_empty() { key.name.to_owned() } else { format!("{way}.{}", key.name) };
        sections(&key.kind, &way, page);
    }
}

fn sections(kind: &Kind, way: &str, page: &mut Page) {
    match kind {
        Kind::Group(group) => {
            page.subsection(way);
            keys(group, page);
            below(group, way, page);
        }
        Kind::List { of, .. } => sections(of, &format!("{way}[]"), page),
        Kind::Either(kinds) => kinds.iter().for_each(|kind| sections(kind, way, page)),
        _ => {}
    }
}

#[test]
fn the_example_is_right() {
    let config = serialgate::config::Config::parse(EXAMPLE, "/etc/serialgate/serialgate.yaml");
    assert!(config.is_ok(), "{config:?}");
}

#[test]
fn every_key_of_the_table_stands_in_the_shipped_file() {
    let shipped = include_str!("../../config/serialgate.yaml");
    fn look(kind: &Kind, shipped: &str) {
        match kind {
            Kind::Group(group) => all(group, shipped),
            Kind::List { of, .. } => look(of, shipped),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| look(kind, shipped)),
            _ => {}
        }
    }
    fn all(group: &Group, shipped: &str) {
        for key in group.keys {
            assert!(shipped.contains(key.name), "config/serialgate.yaml does not tell of `{}`", key.name);
            assert!(!key.about.is_empty() && key.about.ends_with('.'), "{}", key.name);
            assert!(
                key.default != Absent::Unsaid || group.is_choice || matches!(key.kind, Kind::Group(_)),
                "{} has no default",
                key.name
            );
            look(&key.kind, shipped);
        }
    }
    all(&ROOT, shipped);
}
