//! Just enough of a reader of Rust to know what a file uses: comments, texts and test code are left
//! out, and every path is spelled out, `use` trees and the names they bring in included.

use std::collections::HashMap;

/// One token and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What a token is. Numbers count as words, texts and lifetimes do not count at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, keyword or number.
    Word(String),
    /// `::`
    Colons,
    /// Any other character that is not space.
    Mark(char),
}

/// A path as it is written, its first segment resolved through the file's imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsedPath {
    pub(crate) line: usize,
    /// `["crate", "queue", "Queue"]`; `["*"]` at the end for a glob.
    pub(crate) segments: Vec<String>,
}

/// What one file holds besides its tests.
#[derive(Debug)]
pub(crate) struct Source {
    /// Lines without test code.
    pub(crate) lines: usize,
    pub(crate) tokens: Vec<Token>,
    pub(crate) paths: Vec<UsedPath>,
    /// Modules in files of their own that exist for tests only.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn read(text: &str) -> Self {
        let all = tokens(text);
        let Split { tokens, test_lines, test_modules } = without_tests(&all);
        let paths = paths(&tokens);
        Self { lines: text.lines().count() - test_lines, tokens, paths, test_modules }
    }

    /// The lines in which `words` follow each other.
    pub(crate) fn lines_with(&self, words: &[&str]) -> Vec<usize> {
        let wanted: Vec<Token> = words.iter().flat_map(|word| tokens(word)).collect();
        let same = |window: &&[Token]| window.iter().zip(&wanted).all(|(a, b)| a.kind == b.kind);
        self.tokens.windows(wanted.len()).filter(same).map(|window| window[0].line).collect()
    }
}

/// Splits `text` into tokens.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut i, mut line, mut tokens) = (0, 1, Vec::new());
    while i < chars.len() {
        let start = i;
        i = match (at(i), at(i + 1)) {
            ('/', '/') => skip_while(&chars, i, |c| c != '\n'),
            ('/', '*') => skip_block_comment(&chars, i),
            ('"', _) => skip_text(&chars, i),
            ('r', '"' | '#') if raw_hashes(&chars, i + 1).is_some() => skip_raw_text(&chars, i + 1),
            ('b' | 'c', 'r') if raw_hashes(&chars, i + 2).is_some() => skip_raw_text(&chars, i + 2),
            ('b' | 'c', '"') => skip_text(&chars, i + 1),
            ('b', '\'') => skip_char(&chars, i + 1),
            ('\'', _) => skip_char(&chars, i),
            (':', ':') => {
                tokens.push(Token { line, kind: Kind::Colons });
                i + 2
            }
            (c, _) if c.is_alphanumeric() || c == '_' => {
                let end = skip_while(&chars, i, |c| c.is_alphanumeric() || c == '_');
                tokens.push(Token { line, kind: Kind::Word(chars[i..end].iter().collect()) });
                end
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(Token { line, kind: Kind::Mark(c) });
                }
                i + 1
            }
        };
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn skip_while(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    let length = chars[from..].iter().take_while(|c| wanted(**c)).count();
    from + length
}

fn skip_block_comment(chars: &[char], from: usize) -> usize {
    let (mut i, mut depth) = (from, 0);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// From the quote to behind the closing one.
fn skip_text(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// How many `#` stand at `from` before a quote.
fn raw_hashes(chars: &[char], from: usize) -> Option<usize> {
    let end = skip_while(chars, from.min(chars.len()), |c| c == '#');
    (chars.get(end) == Some(&'"')).then_some(end - from)
}

fn skip_raw_text(chars: &[char], from: usize) -> usize {
    let hashes = raw_hashes(chars, from).unwrap_or(0);
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let start = from + hashes + 1;
    let found = chars[start..].windows(end.len()).position(|window| window == end);
    found.map_or(chars.len(), |length| start + length + end.len())
}

/// A character, or only the quote of a lifetime.
fn skip_char(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => {
            let end = skip_while(chars, (from + 3).min(chars.len()), |c| c != '\'');
            (end + 1).min(chars.len())
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

/// A file without its tests.
struct Split {
    tokens: Vec<Token>,
    test_lines: usize,
    test_modules: Vec<String>,
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(all: &[Token]) -> Split {
    let marker: Vec<Kind> = tokens("#[cfg(test)]").into_iter().map(|token| token.kind).collect();
    let mut split = Split { tokens: Vec::new(), test_lines: 0, test_modules: Vec::new() };
    let mut i = 0;
    while i < all.len() {
        let here = all[i..].iter().take(marker.len()).map(|token| &token.kind);
        if !here.eq(&marker) {
            split.tokens.push(all[i].clone());
            i += 1;
            continue;
        }
        let item = i + marker.len();
        let end = item_end(all, item);
        split.test_lines += all[end - 1].line - all[i].line + 1;
        if let [.., Token { kind: Kind::Word(module), .. }, Token { kind: Kind::Mark(';'), .. }] =
            &all[item..end]
        {
            split.test_modules.push(module.clone());
        }
        i = end;
    }
    split
}

/// Behind the `;` or the closing brace of the item at `from`.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(from) {
        match token.kind {
            Kind::Mark('{' | '(' | '[') => depth += 1,
            Kind::Mark(')' | ']') => depth = depth.saturating_sub(1),
            Kind::Mark('}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i + 1;
                }
            }
            Kind::Mark(';') if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// All paths of two segments and more, and all that `use` brings in.
fn paths(tokens: &[Token]) -> Vec<UsedPath> {
    let mut imports: Vec<(String, UsedPath)> = Vec::new();
    let mut inline = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let line = tokens[i].line;
        match &tokens[i].kind {
            Kind::Word(word) if word == "use" => {
                let mut found = Vec::new();
                i = use_tree(tokens, i + 1, &[], &mut found);
                imports.extend(found.into_iter().map(|(name, segments)| (name, UsedPath { line, segments })));
            }
            Kind::Word(word) if word == "pub" => {
                // `pub(in crate::a)` says who may see something; it uses nothing.
                let is_within = matches!(tokens.get(i + 2).map(|token| &token.kind), Some(Kind::Word(word)) if word == "in");
                let end = |token: &Token| matches!(token.kind, Kind::Mark(')'));
                i += if is_within { 1 + tokens[i..].iter().position(end).unwrap_or(0) } else { 1 };
            }
            Kind::Word(_) => {
                let mut segments = Vec::new();
                i = path(tokens, i, &mut segments);
                if segments.len() > 1 {
                    inline.push(UsedPath { line, segments });
                }
            }
            _ => i += 1,
        }
    }
    let known: HashMap<&str, &[String]> =
        imports.iter().map(|(name, path)| (name.as_str(), path.segments.as_slice())).collect();
    for path in &mut inline {
        if let Some(full) = known.get(path.segments[0].as_str()) {
            path.segments.splice(..1, full.iter().cloned());
        }
    }
    inline.extend(imports.into_iter().map(|(_, path)| path));
    inline
}

/// Words joined by `::`.
fn path(tokens: &[Token], from: usize, segments: &mut Vec<String>) -> usize {
    let mut i = from;
    while let Some(Kind::Word(word)) = tokens.get(i).map(|token| &token.kind) {
        segments.push(word.clone());
        i += 1;
        let joined = tokens.get(i).is_some_and(|token| token.kind == Kind::Colons)
            && matches!(tokens.get(i + 1).map(|token| &token.kind), Some(Kind::Word(_)));
        if !joined {
            break;
        }
        i += 1;
    }
    i
}

/// The tree at `from`, under `prefix`: the name that each leaf brings in, and its path. A `self`
/// stands for the prefix. Gives the place behind it.
fn use_tree(
    tokens: &[Token],
    from: usize,
    prefix: &[String],
    found: &mut Vec<(String, Vec<String>)>,
) -> usize {
    let kind = |i: usize| tokens.get(i).map(|token| &token.kind);
    let mut segments = prefix.to_vec();
    let mut i = from;
    loop {
        match kind(i) {
            Some(Kind::Word(word)) if word == "self" && !segments.is_empty() => {}
            Some(Kind::Word(word)) => segments.push(word.clone()),
            Some(Kind::Mark('*')) => segments.push("*".to_owned()),
            Some(Kind::Mark('{')) => {
                i += 1;
                while kind(i).is_some_and(|kind| *kind != Kind::Mark('}')) {
                    i = use_tree(tokens, i, &segments, found);
                    i += usize::from(kind(i) == Some(&Kind::Mark(',')));
                }
                return i + 1;
            }
            _ => return i + 1,
        }
        i += 1;
        if kind(i) == Some(&Kind::Colons) {
            i += 1;
            continue;
        }
        let mut name = segments.last().cloned().unwrap_or_default();
        if kind(i) == Some(&Kind::Word("as".to_owned())) {
            if let Some(Kind::Word(word)) = kind(i + 1) {
                name.clone_from(word);
            }
            i += 2;
        }
        found.push((name, segments));
        return i;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(text: &str) -> Vec<String> {
        let mut paths: Vec<String> =
            Source::read(text).paths.iter().map(|path| path.segments.join("::")).collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_use_tree_is_spelled_out() {
        assert_eq!(
            used("use crate::{a, b::{self, C as D, e::*}}; use std::fmt;"),
            ["crate::a", "crate::b", "crate::b::C", "crate::b::e::*", "std::fmt"]
        );
    }

    #[test]
    fn a_name_that_was_brought_in_stands_for_its_path() {
        assert_eq!(
            used("use crate::status; use std::time as t; fn f() { t::Instant::now(); status::Queue {} }"),
            ["crate::status", "crate::status::Queue", "std::time", "std::time::Instant::now"]
        );
    }

    #[test]
    fn a_visibility_is_no_use() {
        let text = "pub(in crate::a) struct X; pub(crate) struct Y(pub b::C); impl X { pub(in super::d) fn e(f: g::H) {} }";
        assert_eq!(used(text), ["b::C", "g::H"]);
    }

    #[test]
    fn comments_texts_and_tests_do_not_count() {
        let text = r##"
            // a::b
            /* a::b /* a::b */ a::b */
            /// a::b
            const X: &str = "a::b \" a::b";
            const Y: &[u8] = br#"a::b " a::b"#;
            const Z: (char, char, char) = ('"', '\'', '\\');
            fn f<'a>(x: &'a str) -> &'a str { c::d(x) }
            #[cfg(test)]
            mod tests { fn g() { a::b(); } }
            #[cfg(test)]
            mod more;
            fn h() { e::f(); }
        "##;
        assert_eq!(used(text), ["c::d", "e::f"]);
        assert_eq!(Source::read(text).test_modules, ["more"]);
    }

    #[test]
    fn lines_are_counted_without_tests() {
        let source = Source::read("fn f() {\n}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n");
        assert_eq!(source.lines, 2);
        assert_eq!(Source::read("a\nb::c\n").paths[0].line, 2);
    }

    #[test]
    fn words_are_found_wherever_they_stand() {
        let source = Source::read("fn f() {\n  Instant :: now();\n  // Instant::now()\n}");
        assert_eq!(source.lines_with(&["Instant::now"]), [2]);
    }
}
