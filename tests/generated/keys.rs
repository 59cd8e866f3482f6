//! Every key of the configuration: its kind, its default, and what it is for. The JSON Schema and
//! serialgate.yaml(5) are made from this table; `agreement` holds it to what the daemon reads.

mod bridge;
mod local;

pub(crate) use local::ROOT;

/// A mapping in the file.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    pub(crate) keys: &'static [Key],
    /// Exactly one of the keys is there, rather than any.
    pub(crate) is_choice: bool,
}

/// A key of a mapping.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    pub(crate) default: Absent,
    /// Another key of the mapping that must be there with it.
    pub(crate) needs: Option<&'static str>,
    /// What else a mapping has where this key is tried out at its limits.
    pub(crate) beside: &'static [(&'static str, &'static str)],
}

/// What holds without the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// There is nothing to say, because the kind does.
    Unsaid,
    /// The key must be there.
    Required,
    /// This, as one would write it.
    Value(&'static str),
    /// Something that is no value, in words.
    Words(&'static str),
}

/// What stands behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A text: what it is called, the pattern that it fits, some that are right, some that are not.
    Text {
        noun: &'static str,
        pattern: &'static str,
        right: &'static [&'static str],
        wrong: &'static [&'static str],
    },
    /// One of some words, each with its meaning.
    Choice(&'static [(&'static str, &'static str)]),
    Truth,
    Number {
        from: u64,
        to: u64,
    },
    Duration {
        from: &'static str,
        to: &'static str,
    },
    Size {
        from: &'static str,
        to: &'static str,
    },
    /// The number zero.
    Zero,
    Group(Group),
    List {
        of: &'static Kind,
        least: usize,
        most: usize,
    },
    /// Any of these.
    Either(&'static [Kind]),
}

const fn key(name: &'static str, kind: Kind, default: Absent, about: &'static str) -> Key {
    Key { name, kind, about, default, needs: None, beside: &[] }
}

impl Key {
    const fn needs(self, other: &'static str) -> Self {
        Self { needs: Some(other), ..self }
    }

    const fn beside(self, keys: &'static [(&'static str, &'static str)]) -> Self {
        Self { beside: keys, ..self }
    }
}

const fn group(keys: &'static [Key]) -> Kind {
    Kind::Group(Group { keys, is_choice: false })
}

const NAME: Kind = Kind::Text {
    noun: "NAME",
    pattern: "^[a-z0-9_-]{1,64}$",
    right: &["greenhouse", "site-1_b"],
    wrong: &["Green House", ""],
};

/// A text of one line.
const fn line(noun: &'static str, right: &'static [&'static str]) -> Kind {
    Kind::Text { noun, pattern: "^[^\\x00-\\x1f]+$", right, wrong: &[""] }
}

const fn file(right: &'static [&'static str]) -> Kind {
    Kind::Text { noun: "FILE", pattern: "^[^\\x00-\\x1f]*[^/\\x00-\\x1f]$", right, wrong: &["secrets/", ""] }
}

const FILTER: Kind = Kind::Text {
    noun: "FILTER",
    pattern: "^(\\+|[^+#]*)(/(\\+|[^+#]*))*(#)?$",
    right: &["sensors/#", "sensors/+/temp", "#"],
    wrong: &["a/b+"],
};
