//! What was set as a goal, and whether it was reached.

use crate::section::{Section, Short, verdict};

/// Which side of the bar is the good one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug, Default)]
pub(crate) struct Targets(Vec<(String, f64, Bar)>);

impl Targets {
    pub(crate) fn add(&mut self, what: impl Into<String>, value: f64, bar: Bar) {
        self.0.push((what.into(), value, bar));
    }

    pub(crate) fn section(&self) -> Section {
        let mut section = Section::new(
            "Targets",
            "The raw log is the one that is overwritten in place, without packing.",
            ["", "measured", "target", ""],
        );
        for (what, value, bar) in &self.0 {
            let (sign, limit, met) = match bar {
                Bar::AtMost(limit) => ("<=", limit, value <= limit),
                Bar::AtLeast(limit) => (">=", limit, value >= limit),
            };
            section.row([what.clone(), Short(*value).to_string(), format!("{sign} {limit}"), verdict(met)]);
        }
        section
    }
}
