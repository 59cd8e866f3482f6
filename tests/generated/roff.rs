//! Text for man pages.

use std::fmt::Write as _;

/// A page that is being written.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    /// Begins with the heading that every page has.
    pub(crate) fn new(name: &str, section: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let name = name.to_uppercase();
        Self(format!(
            ".\\\" Made by `make generate`; what is written here by hand is lost.\n\
             .TH \"{}\" \"{section}\" \"\" \"Serialgate {version}\" \"Serialgate manual\"\n",
            escape(&name)
        ))
    }

    /// A heading of the first level.
    pub(crate) fn section(&mut self, name: &str) {
        self.line(&format!(".SH \"{}\"", escape(name)));
    }

    /// A heading of the second level.
    pub(crate) fn subsection(&mut self, name: &str) {
        self.line(&format!(".SS \"{}\"", escape(name)));
    }

    /// A paragraph.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.line(".PP");
        self.text(text);
    }

    /// A term and what it means.
    pub(crate) fn item(&mut self, term: &str, text: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escape(term)));
        self.text(text);
    }

    /// A further paragraph of an item.
    pub(crate) fn more(&mut self, text: &str) {
        self.line(".IP");
        self.text(text);
    }

    /// Lines as they are.
    pub(crate) fn example<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.line(".PP\n.RS 4\n.nf");
        for line in lines {
            self.line(&at_line_start(&escape(line)));
        }
        self.line(".fi\n.RE");
    }

    /// What a tool wrote.
    pub(crate) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Words, those in backticks in bold.
    pub(crate) fn text(&mut self, text: &str) {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.line(&at_line_start(&bold(&words)));
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").unwrap();
    }
}

/// `text` with what stands in backticks in bold.
pub(crate) fn bold(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(n, part)| if n % 2 == 1 { format!("\\fB{}\\fR", escape(part)) } else { escape(part) })
        .collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            // Else some outputs show typographic ones, which nobody can paste into a shell.
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '…' => escaped.push_str("..."),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A dot at the beginning of a line would be an order.
fn at_line_start(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}
