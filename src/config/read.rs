//! Reading the tree: every mistake is noted with its place, and reading goes on.
//!
//! A section opens its mapping as a [`Table`], takes the keys it knows, and closes it; what nobody
//! took is an unknown key. A value that is wrong leaves the default in its place, so that the rest
//! can be checked; the caller refuses the whole file if there are any [`Problems`].

use super::tree::{Node, Place, Value};
use super::units::UnitError;

/// The version of this program, for what it cannot do yet.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Most characters of a value that a message repeats.
const MAX_QUOTED_CHARS: usize = 60;

/// What is wrong with a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    what: String,
    instead: String,
}

impl Wrong {
    /// Both parts are fragments: "`fast` is not a whole number", "write `baud: 115200`".
    pub(super) fn new(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { what: what.into(), instead: instead.into() }
    }

    /// As [`Wrong::new`], where `what` is said of `value`: "is not a full path".
    pub(super) fn value(value: &str, what: &str, instead: impl Into<String>) -> Self {
        Self::new(format!("{} {what}", quoted(value)), instead)
    }

    /// `what` belongs to a later version.
    pub(super) fn later(what: &str, instead: impl Into<String>) -> Self {
        Self::new(format!("{what} is not available in this version ({VERSION})"), instead)
    }

    /// `text` is not one of `choices`.
    pub(super) fn choice(text: &str, choices: &[&str]) -> Self {
        let instead = match did_you_mean(text, choices) {
            Some(choice) => format!("did you mean `{choice}`?"),
            None => format!("write {}", listed(choices, "or")),
        };
        Self::new(format!("there is no {}", quoted(text)), instead)
    }

    /// `text` is not a quantity with a unit.
    pub(super) fn unit(text: &str, error: &UnitError, units: &str, example: &str) -> Self {
        Self::value(
            text,
            &error.to_string(),
            format!("write a whole number and one of {units}, such as `{example}`"),
        )
    }
}

/// All that is wrong with a file, with places.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(Place, String)>);

impl Problems {
    /// Notes one.
    pub(super) fn add(&mut self, place: Place, wrong: &Wrong) {
        self.0.push((place, format!("{}; {}", wrong.what, wrong.instead)));
    }

    /// Notes one about the value of `key`.
    pub(super) fn add_for(&mut self, key: &str, place: Place, wrong: &Wrong) {
        self.0.push((place, format!("{key}: {}; {}", wrong.what, wrong.instead)));
    }

    /// All of them, in the order of the file.
    pub(super) fn sorted(mut self) -> Vec<(Place, String)> {
        self.0.sort();
        self.0
    }
}

/// A mapping that is being read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// Where it begins.
    pub(super) place: Place,
    /// What it is, for messages: "a port".
    name: &'static str,
    entries: Vec<(&'a str, Place, &'a Node)>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// Opens `node`, which is `name`. Nothing at all is an empty mapping.
    pub(super) fn open(name: &'static str, node: &'a Node, problems: &mut Problems) -> Option<Self> {
        let pairs = match &node.value {
            Value::Mapping(pairs) => pairs.as_slice(),
            Value::Nothing => &[],
            other => {
                let what = format!("{name} is a group of keys, and here stands {}", kind(other));
                problems.add(node.place, &Wrong::new(what, "write lines of the form `key: value`"));
                return None;
            }
        };
        let mut entries: Vec<(&str, Place, &Node)> = Vec::new();
        for (key, value) in pairs {
            let Value::Text(text) = &key.value else {
                let wrong = Wrong::new(format!("this key is {}", kind(&key.value)), "write a word");
                problems.add(key.place, &wrong);
                continue;
            };
            if let Some((_, first, _)) = entries.iter().find(|(earlier, ..)| earlier == text) {
                let what = format!("{} stands in {name} already, in line {}", quoted(text), first.line);
                problems.add(key.place, &Wrong::new(what, "keep one of the two"));
                continue;
            }
            entries.push((text, key.place, value));
        }
        Some(Self { place: node.place, name, entries, known: Vec::new() })
    }

    /// The value of `key`, if the key is there.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|(name, ..)| *name == key).map(|(.., node)| *node)
    }

    /// Where the value of `key` stands, if the key is there.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(.., node)| node.place)
    }

    /// Sets `field` from the text of `key`, if the key is there and `parse` likes the text.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        field: &mut T,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) {
        let Some(node) = self.node(key) else { return };
        if let Some(value) = text(key, node, problems, parse) {
            *field = value;
        }
    }

    /// As [`Table::set`]; notes a problem where the key is not there. `example` is a whole line.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        field: &mut T,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) {
        if self.place_of(key).is_none() {
            let wrong = Wrong::new(
                format!("{} has no `{key}`", self.name),
                format!("add a line such as `{example}`"),
            );
            problems.add(self.place, &wrong);
        }
        self.set(key, field, problems, parse);
    }

    /// The items of the list `key`, at most `max` of them; `None` where the key is not there. Nothing
    /// after the key (say, all items are comments) is an empty list.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        max: usize,
        example: &str,
        problems: &mut Problems,
    ) -> Option<&'a [Node]> {
        let node = self.node(key)?;
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Nothing => &[],
            other => {
                let what = format!("here stands {}, not a list", kind(other));
                problems.add_for(key, node.place, &Wrong::new(what, format!("write {example}")));
                return None;
            }
        };
        if let Some(first) = items.get(max) {
            let what = format!("the list has {} items, and {max} is the limit", items.len());
            problems.add_for(key, first.place, &Wrong::new(what, "remove some"));
        }
        Some(items.get(..max).unwrap_or(items))
    }

    /// Notes all keys that nobody took; those in `later` are for a later version.
    pub(super) fn close(self, later: &[&str], problems: &mut Problems) {
        for (key, place, _) in &self.entries {
            if self.known.iter().any(|known| known == key) {
                continue;
            }
            let wrong = if later.contains(key) {
                Wrong::later(&quoted(key), "leave it out")
            } else {
                let instead = match did_you_mean(key, &self.known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("the keys here are {}", listed(&self.known, "and")),
                };
                Wrong::new(format!("{} has no key {}", self.name, quoted(key)), instead)
            };
            problems.add(*place, &wrong);
        }
    }
}

/// Parses the text at `node`, the value of `key`.
pub(super) fn text<T>(
    key: &str,
    node: &Node,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Option<T> {
    let wrong = match &node.value {
        Value::Text(text) => match parse(text) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        },
        Value::Nothing => Wrong::new(
            "nothing stands here",
            "write a value (in quotes if it begins with #), or leave the key out",
        ),
        other => Wrong::new(format!("here stands {}, not a single value", kind(other)), "write one value"),
    };
    problems.add_for(key, node.place, &wrong);
    None
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nothing => "nothing",
        Value::Text(_) => "a single value",
        Value::List(_) => "a list",
        Value::Mapping(_) => "a group of keys",
    }
}

/// A value for a message: one line, not too long, in backticks.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTED_CHARS).flat_map(visible).collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// `c`, or how one writes it where it would break the line.
fn visible(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// `a`, `b` and `c`.
fn listed(words: &[&str], and: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {and} {last}", others.join(", ")),
        None => String::from("nothing"),
    }
}

/// The one of `candidates` that `word` most likely stands for: at most a third of it is different.
fn did_you_mean<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word: String = word.to_ascii_lowercase().replace(['-', ' '], "_");
    let near = candidates.iter().map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate));
    let (distance, best) = near.min()?;
    // `baudrate` for `baud` is a longer form rather than a slip.
    let form = |a: &str, b: &str| a.len().min(b.len()) >= 3 && (a.starts_with(b) || b.starts_with(a));
    let likely = distance <= best.len().div_ceil(3).min(3);
    likely.then_some(best).or_else(|| candidates.iter().find(|candidate| form(&word, candidate)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_repeated_in_one_line() {
        assert_eq!(quoted("a\nb`é"), "`a\\nb`é`");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), MAX_QUOTED_CHARS + 3);
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let keys = ["baud", "device", "device_key", "format", "path"];
        for (word, expected) in [
            ("buad", Some("baud")),
            ("Baud", Some("baud")),
            ("device-key", Some("device_key")),
            ("formt", Some("format")),
            ("baudrate", Some("baud")),
            ("colour", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(word, &keys), expected, "{word}");
        }
    }
}
