//! What is printed and written: one section with one table per measurement.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

/// The top of the document. Each benchmark writes a part of its own below it.
const HEAD: &str = "\
# Benchmarks

`make bench` repeats all of this and writes this file. Each part says how to run it alone.
";

/// One measurement: words about it, and its table.
#[derive(Debug)]
pub(crate) struct Section {
    title: &'static str,
    text: String,
    rows: Vec<Vec<String>>,
}

impl Section {
    pub(crate) fn new<const N: usize>(title: &'static str, text: impl Into<String>, head: [&str; N]) -> Self {
        Self { title, text: text.into(), rows: vec![head.map(str::to_owned).into()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n\n{}\n", self.title, self.text)?;
        for (index, cells) in self.rows.iter().enumerate() {
            writeln!(f, "| {} |", cells.join(" | "))?;
            if index == 0 {
                writeln!(f, "|{}", "---|".repeat(cells.len()))?;
            }
        }
        Ok(())
    }
}

/// Whether a target was met, in a word.
pub(crate) fn verdict(met: bool) -> String {
    if met { "met" } else { "**missed**" }.to_owned()
}

/// Writes `text` as the part `name` of the document at `path`; the other parts stay as they are.
pub(crate) fn write_part(path: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
        old => old.with_context(|| path.display().to_string())?,
    };
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let part = format!("{begin}{}\n{end}", text.trim_end());
    let new = match (old.split_once(&begin), old.split_once(&end)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{part}{after}"),
        _ => format!("{}\n\n{part}", old.trim_end()),
    };
    fs::write(path, new).with_context(|| path.display().to_string())
}

/// A number with about three digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short(pub(crate) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.0.abs() {
            0.0 | 100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        write!(f, "{:.decimals$}", self.0)
    }
}
