//! The table.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) sent: usize,
    pub(crate) arrived: usize,
    pub(crate) copies: usize,
}

impl Lost {
    fn words(self) -> String {
        let Self { sent, arrived, copies } = self;
        let copies = if copies > 0 { format!(" +{copies}") } else { String::new() };
        if arrived == sent { format!("{sent}{copies}") } else { format!("**{arrived} of {sent}**{copies}") }
    }

    fn is_whole(self) -> bool {
        self.arrived == self.sent
    }
}

/// What one case gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Result {
    pub(crate) connects: bool,
    /// By QoS.
    pub(crate) up: [Option<Lost>; 3],
    pub(crate) down: [Option<Lost>; 3],
    /// From `mosquitto_pub` to `mosquitto_sub` over the broker alone.
    pub(crate) control: [Option<Lost>; 3],
    pub(crate) under_load: Option<Lost>,
    pub(crate) resumed: Option<Lost>,
    pub(crate) will: bool,
    pub(crate) works: bool,
    /// The broker fails with nothing of ours in between: it panics, or leaves `mosquitto_pub` without an answer.
    pub(crate) broker_fails: bool,
    pub(crate) notes: Vec<String>,
}

impl Result {
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Nothing of QoS 1 and, where the broker has it, 2 is missing, unless the broker loses such messages
    /// with nothing of ours in between. QoS 0 may be lost, by its nature.
    pub(crate) fn judge(&mut self, max_qos: usize, keeps_sessions: bool) {
        let whole = |lost: &Option<Lost>| lost.is_some_and(Lost::is_whole);
        let resumed = whole(&self.resumed) || !keeps_sessions;
        self.works = self.connects && whole(&self.under_load) && resumed && self.will;
        if !keeps_sessions {
            self.note("the broker keeps no sessions");
        }
        for qos in 1..=max_qos {
            if let Some(control) = self.control[qos].filter(|control| !control.is_whole()) {
                let Lost { arrived, sent, .. } = control;
                self.note(format!("of QoS {qos} the broker by itself delivers {arrived} of {sent}"));
            } else {
                self.works &= whole(&self.up[qos]) && whole(&self.down[qos]);
            }
        }
    }

    pub(crate) fn words(&self) -> String {
        let result = match (self.works, self.broker_fails) {
            (true, _) => "works",
            (false, true) => "the broker fails",
            (false, false) => "**fails**",
        };
        let notes = self.notes.iter().map(|note| note.replace('|', "/"));
        [result.to_owned()].into_iter().chain(notes).collect::<Vec<_>>().join("; ")
    }
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) broker: String,
    pub(crate) version: String,
    pub(crate) protocol: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) result: Result,
}

impl Row {
    pub(crate) fn not_started(broker: &str, error: &str) -> Self {
        let mut result = Result::default();
        result.note(format!("the broker does not start here: {error}"));
        Self { broker: broker.into(), version: String::new(), protocol: "", transport: "", result }
    }
}

pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| broker | version | MQTT | transport | up, QoS 0 / 1 / 2 | down, QoS 0 / 1 / 2 | 10 cuts under load | session resumed | will | result |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let of = |lost: &Option<Lost>| lost.map_or_else(|| "-".to_owned(), Lost::words);
    let all = |lost: &[Option<Lost>; 3]| lost.iter().map(of).collect::<Vec<_>>().join(" / ");
    for Row { broker, version, protocol, transport, result } in rows {
        let will = if result.will { "yes" } else { "-" };
        writeln!(
            text,
            "| {broker} | {version} | {protocol} | {transport} | {} | {} | {} | {} | {will} | {} |",
            all(&result.up),
            all(&result.down),
            of(&result.under_load),
            of(&result.resumed),
            result.words(),
        )
        .unwrap();
    }
    text
}

/// Puts the table between the marks in the document at `path`.
pub(crate) fn write(path: &Path, table: &str) -> io::Result<()> {
    const MARKS: (&str, &str) = ("<!-- table -->\n", "<!-- end of table -->\n");
    let document = fs::read_to_string(path)?;
    let parts = document.split_once(MARKS.0).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(MARKS.1)?;
        Some((before, behind))
    });
    let (before, behind) = parts.ok_or_else(|| io::Error::other("there are no marks for the table"))?;
    fs::write(path, format!("{before}{}{table}{}{behind}", MARKS.0, MARKS.1))
}
