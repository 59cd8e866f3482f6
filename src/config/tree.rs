//! YAML as a tree that remembers where everything stands: the only user of the YAML crate.
//!
//! The sections read this tree rather than letting serde fill their structs, because serde stops at
//! the first mistake and forgets the place of every value. A person who edits a file on a headless
//! box should see all mistakes at once, each with its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

/// Deepest nesting; the configuration itself needs 5 levels.
const MAX_DEPTH: usize = 32;

/// Most values in a file, those that aliases repeat included.
const MAX_NODES: usize = 50_000;

/// A place in the file, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    /// The first character of the file.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(location: Location) -> Self {
        // The parser counts both from 1 and says 0 where it does not know.
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a value can be. Whether a text is a number is for its reader to say.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Nothing,
    /// A text, a number or a truth value: as written, without quotes.
    Text(String),
    /// `[a, b]`, or lines that begin with `-`.
    List(Vec<Node>),
    /// `key: value`, in the order of the file; keys may repeat.
    Mapping(Vec<(Node, Node)>),
}

/// Why a text is not YAML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) instead: &'static str,
}

/// Parses `text`, which is one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // YAML 1.2: `yes`, `no`, `on` and `off` are texts.
        strict_booleans: true,
        // Repeated keys and odd numbers come through, so that the readers can say what is wrong.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(locate(raw, text)),
        Err(error) => Err(syntax_error(&error)),
    }
}

fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    let place = error.location().map_or(Place::START, Place::of);
    let (message, instead) = match error {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            ("a second document begins here".to_owned(), "keep one, without `---` between")
        }
        serde_saphyr::Error::UnknownAnchor { .. } => (
            "this refers to an anchor that is not there".to_owned(),
            "put a text that begins with * in quotes",
        ),
        other => {
            let mut message = other.render_with_formatter(&UserMessageFormatter);
            // The crate ends its messages with the place, which we print in front.
            message.truncate(message.rfind(" at line ").unwrap_or(message.len()));
            (message, "check the indentation (spaces, never tabs), the brackets and the quotes here")
        }
    };
    SyntaxError { place, message, instead }
}

/// A value as the YAML crate hands it over.
enum Raw {
    Nothing,
    /// A plain scalar that looks like a number or truth value. Its text stands in the source:
    /// `0012` must not become 12.
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn locate(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Nothing => Value::Nothing,
        Raw::Plain => Value::Text(slice(source, raw.defined).to_owned()),
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| locate(item, source)).collect()),
        Raw::Mapping(entries) => Value::Mapping(
            entries.into_iter().map(|(key, value)| (locate(key, source), locate(value, source))).collect(),
        ),
    };
    Node { place: Place::of(raw.referenced), value }
}

fn slice(source: &str, location: Location) -> &str {
    let span = location.span();
    let range = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    range.and_then(|range| source.get(range)).unwrap_or_default().trim_end()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}
