//! Small configurations, made from the table of keys: each value that it allows, and the ones next to
//! those. The daemon's reader and the schema must say the same of them.

use serialgate::config::units;

use super::keys::{Absent, Group, Key, Kind, ROOT};

/// A key, or a word, that does not exist.
pub(crate) const STRANGER: &str = "zzzzzzzz";

/// One configuration, and what is to be said of it.
pub(crate) struct Trial {
    pub(crate) text: String,
    pub(crate) is_right: bool,
    /// What the reader must say besides.
    pub(crate) said: Said,
    /// Whether a schema can express it.
    pub(crate) by_schema: bool,
}

/// What the reader must say of a configuration.
pub(crate) enum Said {
    Anything,
    /// These words among others.
    Words(String),
    /// That exactly these keys exist where a stranger is.
    Keys(Vec<&'static str>),
    /// That exactly these words are allowed, where it lists them.
    Choices(Vec<&'static str>),
    /// The same as of another configuration, which leaves a default unsaid.
    SameAs(String),
}

/// Puts a value at its place in a whole configuration.
type Place<'a> = &'a dyn Fn(&str) -> String;

/// All of them.
pub(crate) fn all() -> Vec<Trial> {
    let mut trials = Trials(Vec::new());
    trials.group(&ROOT, &str::to_owned);
    trials.0
}

struct Trials(Vec<Trial>);

impl Trials {
    fn add(&mut self, text: String, is_right: bool, said: Said) {
        self.0.push(Trial { text, is_right, said, by_schema: true });
    }

    fn right(&mut self, text: String) {
        self.add(text, true, Said::Anything);
    }

    fn wrong(&mut self, text: String) {
        self.add(text, false, Said::Anything);
    }

    /// The keys of `group`, which stands at `place`.
    fn group(&mut self, group: &'static Group, place: Place<'_>) {
        let names = group.keys.iter().map(|key| key.name).collect();
        self.add(place(&mapping(group, &[(STRANGER, "1")], "")), false, Said::Keys(names));
        for key in group.keys {
            if key.default == Absent::Required {
                let said = Said::Words(format!("no `{}`", key.name));
                self.add(place(&mapping(group, &[], key.name)), false, said);
            }
            if let Some(other) = key.needs {
                let alone = mapping(group, &[(key.name, &sample(&key.kind))], other);
                self.wrong(place(&alone));
            }
            if let Absent::Value(default) = key.default {
                let unsaid = place(&mapping(group, key.beside, key.name));
                self.add(place(&with(group, key, default)), true, Said::SameAs(unsaid));
            }
            let place = |value: &str| place(&with(group, key, value));
            self.kind(&key.kind, &place);
            self.others(&key.kind, &place);
        }
    }

    /// What is right at `place`, and what is just not.
    fn kind(&mut self, kind: &'static Kind, place: Place<'_>) {
        match kind {
            Kind::Text { right, wrong, .. } => {
                right.iter().for_each(|text| self.right(place(&quoted(text))));
                wrong.iter().for_each(|text| self.wrong(place(&quoted(text))));
            }
            Kind::Choice(words) => {
                for (word, _) in *words {
                    self.right(place(word));
                    self.right(place(&quoted(word)));
                }
                let words = words.iter().map(|(word, _)| *word).collect();
                self.add(place(STRANGER), false, Said::Choices(words));
            }
            Kind::Truth => {
                self.right(place("true"));
                self.right(place("false"));
                self.add(place("yes"), false, Said::Choices(vec!["true", "false"]));
            }
            Kind::Number { from, to } => self.range(*from..=*to, 1, place, |number| number.to_string()),
            Kind::Duration { from, to } => {
                let [from, to] = [from, to].map(|end| units::parse_duration(end).unwrap());
                let milliseconds = |end: std::time::Duration| u64::try_from(end.as_millis()).unwrap();
                let before = self.0.len();
                self.range(milliseconds(from)..=milliseconds(to), 1, place, |number| format!("{number}ms"));
                self.beyond_schemas(before);
                self.wrong(place("250"));
                self.wrong(place("'250'"));
                self.wrong(place("5 weeks"));
            }
            Kind::Size { from, to } => {
                let [from, to] = [from, to].map(|end| units::parse_size(end).unwrap());
                let before = self.0.len();
                self.range(from..=to, 1, place, |number| format!("{number}B"));
                self.beyond_schemas(before);
                self.wrong(place("1024"));
                self.wrong(place("5 MiX"));
            }
            Kind::Zero => self.right(place("0")),
            Kind::Group(group) => self.group(group, place),
            Kind::List { of, least, most } => self.list(of, *least, *most, place),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| self.kind(kind, place)),
        }
    }

    /// Both ends of `range`, and `step` beyond them.
    fn range(
        &mut self,
        range: std::ops::RangeInclusive<u64>,
        step: u64,
        place: Place<'_>,
        print: impl Fn(u64) -> String,
    ) {
        self.right(place(&print(*range.start())));
        self.right(place(&print(*range.end())));
        self.wrong(place(&print(range.end() + step)));
        if let Some(below) = range.start().checked_sub(step) {
            self.wrong(place(&print(below)));
        }
    }

    /// A schema knows no quantities: those that are wrong among the trials from `first` on look right
    /// to it.
    fn beyond_schemas(&mut self, first: usize) {
        self.0[first..].iter_mut().for_each(|trial| trial.by_schema = trial.is_right);
    }

    fn list(&mut self, of: &'static Kind, least: usize, most: usize, place: Place<'_>) {
        self.add(place("[]"), least == 0, Said::Anything);
        let one = sample(of);
        let many = vec![one.as_str(); most + 1].join(", ");
        self.add(place(&format!("[{many}]")), false, Said::Words(format!("{most} is the limit")));
        self.kind(of, &|item| place(&format!("[{item}]")));
        self.others(of, &|item| place(&format!("[{item}]")));
    }

    /// Values of other kinds than `kind`.
    fn others(&mut self, kind: &Kind, place: Place<'_>) {
        let takes = |wanted: &dyn Fn(&Kind) -> bool| match kind {
            Kind::Either(kinds) => kinds.iter().any(wanted),
            kind => wanted(kind),
        };
        if !takes(&|kind| matches!(kind, Kind::Group(_))) {
            self.wrong(place(&format!("{{{STRANGER}: 1}}")));
        }
        if !takes(&|kind| matches!(kind, Kind::List { .. })) {
            self.wrong(place("[[]]"));
        }
        if takes(&|kind| matches!(kind, Kind::Group(_) | Kind::List { .. })) {
            let scalars = takes(&|kind| !matches!(kind, Kind::Group(_) | Kind::List { .. }));
            if !scalars {
                self.wrong(place(STRANGER));
            }
        }
    }
}

/// `group` with `key` set to `value`, and with what that needs.
fn with(group: &Group, key: &Key, value: &str) -> String {
    let needed = key.needs.map(|other| (other, sample(&named(group, other).kind)));
    let mut pairs = key.beside.to_vec();
    pairs.extend(needed.iter().map(|(other, value)| (*other, value.as_str())));
    pairs.push((key.name, value));
    mapping(group, &pairs, "")
}

fn named<'a>(group: &'a Group, name: &str) -> &'a Key {
    group.keys.iter().find(|key| key.name == name).unwrap()
}

/// `group` with `pairs`, and with all that is required except `left_out`.
fn mapping(group: &Group, pairs: &[(&str, &str)], left_out: &str) -> String {
    let has = |name: &str| pairs.iter().any(|(given, _)| *given == name);
    let mut texts = Vec::new();
    for (n, key) in group.keys.iter().enumerate() {
        let is_chosen = group.is_choice && n == 0 && (pairs.is_empty() || has(STRANGER));
        let is_required = key.default == Absent::Required || is_chosen;
        if is_required && !has(key.name) && key.name != left_out {
            texts.push(format!("{}: {}", key.name, sample(&key.kind)));
        }
    }
    texts.extend(pairs.iter().map(|(name, value)| format!("{name}: {value}")));
    format!("{{{}}}", texts.join(", "))
}

/// A value that is right.
fn sample(kind: &Kind) -> String {
    match kind {
        Kind::Text { right, .. } => quoted(right[0]),
        Kind::Choice(words) => words[0].0.to_owned(),
        Kind::Truth => "true".to_owned(),
        Kind::Number { from, .. } => from.to_string(),
        Kind::Duration { from, .. } | Kind::Size { from, .. } => (*from).to_owned(),
        Kind::Zero => "0".to_owned(),
        Kind::Group(group) => mapping(group, &[], ""),
        Kind::List { of, .. } => format!("[{}]", sample(of)),
        Kind::Either(kinds) => sample(&kinds[0]),
    }
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}
