//! What a board's channels are called: asking for it, and keeping it.
//!
//! A board describes its channels one by one when it is asked, and its HELLO carries a check sum
//! over all descriptions. So they are asked for once per board and firmware.

use std::sync::Arc;

use serialgate_wire::{Class, Describe};

use crate::reading::Uid;

/// Longest channel name or unit that is kept, in bytes; the rest is cut off.
pub const NAME_MAX: usize = 64;
/// Seconds between two requests for the same channel, in microseconds.
const RETRY_US: i64 = 1_000_000;
/// Without an answer for so long names are made up, in microseconds.
const GIVE_UP_US: i64 = 3_000_000;
/// Schemas kept; beyond that the one kept longest is forgotten.
const CACHE_MAX: usize = 16;

/// The channels of a board, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema(Vec<Channel>);

/// What a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: Arc<str>,
    /// Unit of its values, as in SenML or UCUM; empty for none or unknown.
    pub unit: Arc<str>,
    /// `gauge`, `counter`, `state` or `event`; `None` where unknown.
    pub class: Option<&'static str>,
    /// The `fmt` byte that its values mostly have; 0 where unknown.
    pub fmt: u8,
    /// Whether it can be set.
    pub writable: bool,
}

impl Schema {
    /// Channels `ch0`, `ch1`, … of which nothing is known.
    #[must_use]
    pub fn made_up(channels: u8) -> Self {
        Self::of((0..channels).map(Channel::made_up).collect())
    }

    /// These channels.
    #[must_use]
    pub fn of(channels: Vec<Channel>) -> Self {
        Self(channels)
    }

    /// The channels.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.0
    }

    /// The name of channel `number`.
    #[must_use]
    pub fn name(&self, number: u8) -> Arc<str> {
        self.0
            .get(usize::from(number))
            .map_or_else(|| Channel::made_up(number).name, |channel| Arc::clone(&channel.name))
    }
}

impl Channel {
    fn made_up(number: u8) -> Self {
        Self { name: format!("ch{number}").into(), unit: "".into(), class: None, fmt: 0, writable: false }
    }

    fn described(describe: &Describe<'_>) -> Self {
        let name = clean(describe.name);
        Self {
            name: if name.is_empty() { Self::made_up(describe.channel).name } else { name.into() },
            unit: clean(describe.unit).into(),
            class: match describe.class {
                Class::Gauge => Some("gauge"),
                Class::Counter => Some("counter"),
                Class::State => Some("state"),
                Class::Event => Some("event"),
                Class::Other(_) => None,
            },
            fmt: describe.fmt,
            writable: describe.writable,
        }
    }
}

/// `text` without control characters and at most [`NAME_MAX`] bytes long.
fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(NAME_MAX);
    text.get(..end).unwrap_or_default().replace(char::is_control, "_")
}

/// Asks for the channels, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    channels: u8,
    found: Vec<Channel>,
    ask_at_us: i64,
    give_up_at_us: i64,
}

/// What an [`Inquiry`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not there yet.
    Open,
    /// All channels are known.
    Complete(Schema),
    /// The board does not answer.
    GivenUp,
}

impl Inquiry {
    /// Asks for `channels` channels, at once.
    #[must_use]
    pub fn new(channels: u8, now_us: i64) -> Self {
        Self { channels, found: Vec::new(), ask_at_us: now_us, give_up_at_us: now_us + GIVE_UP_US }
    }

    /// The channel to ask for now, if it is time.
    pub fn ask(&mut self, now_us: i64) -> Option<u8> {
        let channel = u8::try_from(self.found.len()).ok()?;
        (channel < self.channels && now_us >= self.ask_at_us).then(|| {
            self.ask_at_us = now_us + RETRY_US;
            channel
        })
    }

    /// Takes a description. The next channel, if any, is due at once.
    pub fn answer(&mut self, describe: &Describe<'_>, now_us: i64) -> Outcome {
        if usize::from(describe.channel) == self.found.len() {
            self.found.push(Channel::described(describe));
            self.ask_at_us = now_us;
            self.give_up_at_us = now_us + GIVE_UP_US;
        }
        self.outcome(now_us)
    }

    /// How it stands.
    pub fn outcome(&mut self, now_us: i64) -> Outcome {
        if self.found.len() >= usize::from(self.channels) {
            Outcome::Complete(Schema::of(std::mem::take(&mut self.found)))
        } else if now_us >= self.give_up_at_us {
            Outcome::GivenUp
        } else {
            Outcome::Open
        }
    }

    /// When there is something to do without an answer.
    #[must_use]
    pub fn wake_at_us(&self) -> i64 {
        self.ask_at_us.min(self.give_up_at_us)
    }
}

/// Schemas by board and check sum.
#[derive(Clone, Debug, Default)]
pub struct Cache(Vec<(Uid, u32, Arc<Schema>)>);

impl Cache {
    /// The schema of board `uid` with that check sum.
    #[must_use]
    pub fn get(&self, uid: &Uid, crc: u32) -> Option<Arc<Schema>> {
        self.0.iter().find(|(u, c, _)| u == uid && *c == crc).map(|(_, _, schema)| Arc::clone(schema))
    }

    /// Keeps a schema.
    pub fn put(&mut self, uid: &Uid, crc: u32, schema: Arc<Schema>) {
        self.0.retain(|(u, c, _)| u != uid || *c != crc);
        if self.0.len() == CACHE_MAX {
            self.0.remove(0);
        }
        self.0.push((uid.clone(), crc, schema));
    }
}
