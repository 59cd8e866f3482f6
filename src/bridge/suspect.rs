//! Which message makes a broker close the connection, if one does.
//!
//! A broker of MQTT 3.1.1 cannot say that it does not like a message: it closes the connection, and
//! does so again each time the message is sent. (So do brokers of 5.0, some with a DISCONNECT.)
//!
//! Whether it is the message or the link cannot be seen from one close. So the bridge looks closer when
//! the broker has closed [`CLOSES`] times in a row with the same message in front. In *careful* mode one
//! message is in flight at a time. A connection begins with a quiet time that ends with a PINGREQ and
//! its PINGRESP, and there is one more before a message that is suspected. A *strike* is a close by the
//! peer with the message alone in flight, sent right behind a quiet time and closed within 1/20 of that
//! time. [`STRIKES`] in a row condemn the message.
//!
//! Why ordinary faults condemn nothing: a link or a broker that goes down by itself does so in the quiet
//! time rather than in the twentieth of it that follows, and each end that is no strike begins the count
//! anew. At whatever rate connections end by themselves, the chance that one ends in just that part is
//! at most e^-20x (1 - e^-x) < 0.018 for all x, and that of three in a row one in 180 000. It does not
//! depend on how large or how slow the message is: one that takes longer than the close did is given a
//! longer quiet time, and no strike until then.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many closes in a row with the same message in front begin careful mode.
pub(super) const CLOSES: u32 = 3;
/// So many strikes in a row condemn a message.
pub(super) const STRIKES: u32 = 3;
/// A close within this part of the quiet time before it may be a strike.
const PART: u32 = 20;
/// Shortest quiet time.
const QUIET_MIN: Duration = Duration::from_secs(1);
/// A close that comes later than this is no answer to the message. Bounds the quiet time.
const SOON: Duration = Duration::from_secs(30);
/// Careful mode ends when so many more rows than were in flight have been taken.
const MORE: usize = 10;
/// So many rows of one topic condemned in a row speak against the topic.
const ROWS_OF_A_TOPIC: u32 = 3;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The row at this position.
    Row(u64),
    /// What is said on this topic.
    Word(Arc<str>),
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// The other side closed it, with no reason or one that a message can give.
    pub(super) by_peer: bool,
    /// What was in flight for longest.
    pub(super) oldest: Option<Item>,
    /// How much was in flight.
    pub(super) in_flight: usize,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// As much as there is room for.
    Full,
    /// One message, when nothing is in flight.
    One,
    /// Nothing yet; a PINGREQ now.
    Ping,
    /// Nothing yet.
    Quiet,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Full,
    /// The broker has closed so often with this in front.
    Watching(Item, u32),
    Careful(Careful),
}

#[derive(Debug)]
struct Careful {
    gate: Gate,
    /// The message in flight was sent then, right behind a quiet time if that is there.
    sent: Option<(Instant, Option<Duration>)>,
    suspected: Option<Suspected>,
    /// Rows to be taken before careful mode ends.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Nothing is sent.
    Quiet {
        since: Instant,
        until: Instant,
    },
    /// PINGREQ was sent when so many PINGRESP had come.
    Pinged {
        since: Instant,
        pongs: u64,
    },
    /// The quiet time lasted so long, and nothing was sent since.
    Fresh(Duration),
    Open,
}

#[derive(Clone, Debug)]
struct Suspected {
    item: Item,
    strikes: u32,
    /// From sending to closing, at most.
    slowest: Duration,
}

/// What the bridge has found out over its connections.
#[derive(Debug, Default)]
pub(super) struct Suspect {
    mode: Mode,
    /// Rows of one topic that were condemned one after the other.
    run: Option<(Arc<str>, u32)>,
}

impl Careful {
    /// `fraction`, 0..1, is random: no fault that comes at a fixed time is to meet the end of it.
    fn be_quiet(&mut self, now: Instant, fraction: f64) {
        let slowest = self.suspected.as_ref().map_or(Duration::ZERO, |suspected| suspected.slowest);
        // Half as much again: the next close may take a little longer.
        let least = (slowest * PART * 3 / 2).max(QUIET_MIN);
        self.gate = Gate::Quiet { since: now, until: now + least.mul_f64(1.0 + fraction.clamp(0.0, 1.0)) };
        self.sent = None;
    }

    fn suspects(&self, item: &Item) -> bool {
        self.suspected.as_ref().is_some_and(|suspected| suspected.item == *item)
    }
}

impl Suspect {
    /// The broker accepted a connection.
    pub(super) fn connected(&mut self, now: Instant, fraction: f64) {
        if let Mode::Careful(careful) = &mut self.mode {
            careful.be_quiet(now, fraction);
        }
    }

    /// What may be sent, when `pongs` PINGRESP have come on this connection.
    pub(super) fn pace(&mut self, pongs: u64, now: Instant) -> Allowed {
        let Mode::Careful(careful) = &mut self.mode else { return Allowed::Full };
        match careful.gate {
            Gate::Quiet { since, until } if now >= until => {
                careful.gate = Gate::Pinged { since, pongs };
                Allowed::Ping
            }
            Gate::Pinged { since, pongs: before } if pongs > before => {
                careful.gate = Gate::Fresh(now.saturating_duration_since(since));
                Allowed::One
            }
            Gate::Quiet { .. } | Gate::Pinged { .. } => Allowed::Quiet,
            Gate::Fresh(_) | Gate::Open => Allowed::One,
        }
    }

    /// When the quiet time is over.
    pub(super) fn quiet_until(&self) -> Option<Instant> {
        match &self.mode {
            Mode::Careful(Careful { gate: Gate::Quiet { until, .. }, .. }) => Some(*until),
            Mode::Careful(_) | Mode::Full | Mode::Watching(..) => None,
        }
    }

    /// Whether one message is sent at a time.
    pub(super) fn is_careful(&self) -> bool {
        matches!(self.mode, Mode::Careful(_))
    }

    /// Whether a retained word is what is to be sent first.
    pub(super) fn suspects_words(&self) -> bool {
        let Mode::Careful(Careful { suspected: Some(suspected), .. }) = &self.mode else { return false };
        matches!(suspected.item, Item::Word(_))
    }

    /// In careful mode, `item` is about to be sent. `false`: there must be a quiet time first.
    pub(super) fn may_send(&mut self, item: &Item, now: Instant, fraction: f64) -> bool {
        let Mode::Careful(careful) = &mut self.mode else { return true };
        if careful.gate == Gate::Open && careful.suspects(item) {
            careful.be_quiet(now, fraction);
        }
        matches!(careful.gate, Gate::Fresh(_) | Gate::Open)
    }

    /// It was sent, and is alone in flight.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Mode::Careful(careful) = &mut self.mode {
            let quiet = if let Gate::Fresh(quiet) = careful.gate { Some(quiet) } else { None };
            careful.sent = Some((now, quiet));
            careful.gate = Gate::Open;
        }
    }

    /// The broker answered the row at `position`, whatever it said. Gives whether careful mode is over.
    pub(super) fn answered(&mut self, position: u64) -> bool {
        self.run = None;
        let row = Item::Row(position);
        let careful = match &mut self.mode {
            Mode::Careful(careful) => careful,
            Mode::Watching(item, _) => {
                if *item == row {
                    self.mode = Mode::Full;
                }
                return false;
            }
            Mode::Full => return false,
        };
        // A word that is suspected goes before all rows: it was answered as well.
        let other = |suspected: &Suspected| suspected.item != row && matches!(suspected.item, Item::Row(_));
        careful.suspected = careful.suspected.take().filter(other);
        careful.left = careful.left.saturating_sub(1);
        let over = careful.left == 0 && careful.suspected.is_none();
        if over {
            self.mode = Mode::Full;
        }
        over
    }

    /// A connection ended. Gives the message that is condemned, if one is.
    pub(super) fn ended(&mut self, ended: &Ended, now: Instant) -> Option<Item> {
        let closes = match std::mem::take(&mut self.mode) {
            Mode::Full => 0,
            Mode::Watching(item, closes) => {
                if Some(&item) == ended.oldest.as_ref() {
                    closes
                } else {
                    0
                }
            }
            Mode::Careful(mut careful) => {
                let condemned = careful.examine(ended, now);
                self.mode = Mode::Careful(careful);
                return condemned;
            }
        };
        let item = ended.oldest.clone().filter(|_| ended.by_peer)?;
        self.mode = if closes + 1 < CLOSES {
            Mode::Watching(item, closes + 1)
        } else {
            Mode::Careful(Careful {
                gate: Gate::Open,
                sent: None,
                suspected: None,
                left: ended.in_flight + MORE,
            })
        };
        None
    }

    /// A row on `topic` was condemned. Gives whether that speaks against the topic.
    pub(super) fn condemned(&mut self, topic: &Arc<str>) -> bool {
        let before = self.run.take().filter(|(before, _)| before == topic).map_or(0, |(_, count)| count);
        let over = before + 1 >= ROWS_OF_A_TOPIC;
        self.run = (!over).then(|| (Arc::clone(topic), before + 1));
        over
    }
}

impl Careful {
    fn examine(&mut self, ended: &Ended, now: Instant) -> Option<Item> {
        self.left = self.left.max(MORE);
        let before = self.suspected.take();
        let item = ended.oldest.clone().filter(|_| ended.by_peer && ended.in_flight == 1)?;
        let (sent, quiet) = self.sent?;
        let took = now.saturating_duration_since(sent);
        if took > SOON {
            return None;
        }
        let before = before.filter(|before| before.item == item);
        let struck = quiet.is_some_and(|quiet| took * PART <= quiet);
        let strikes = if struck { before.as_ref().map_or(0, |before| before.strikes) + 1 } else { 0 };
        if strikes >= STRIKES {
            return Some(item);
        }
        let slowest = before.map_or(took, |before| before.slowest.max(took));
        self.suspected = Some(Suspected { item, strikes, slowest });
        None
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    /// A bridge that sends rows through `suspect`, on a link that a test makes up; time is simulated.
    struct Link {
        suspect: Suspect,
        now: Instant,
        rng: Rng,
        /// The first row that was not taken.
        next: u64,
        condemned: Vec<u64>,
    }

    impl Link {
        fn new(seed: u64) -> Self {
            let (suspect, rng) = (Suspect::default(), Rng::with_seed(seed));
            Self { suspect, now: Instant::now(), rng, next: 0, condemned: Vec::new() }
        }

        /// One connection that dies by itself after `life`. A row takes `answer` to be answered, and the
        /// broker closes at once on those that are `poison`. `by_peer`: whether it dies by a close.
        fn connect(&mut self, life: Duration, answer: Duration, by_peer: bool, poison: impl Fn(u64) -> bool) {
            let dies = self.now + life;
            self.suspect.connected(self.now, self.rng.f64());
            let mut pongs = 0;
            let (window, closed) = loop {
                let row = Item::Row(self.next);
                match self.suspect.pace(pongs, self.now) {
                    Allowed::Quiet => self.now = self.suspect.quiet_until().unwrap_or(self.now),
                    Allowed::Ping => {
                        self.now += RTT;
                        pongs += 1;
                    }
                    Allowed::One if !self.suspect.may_send(&row, self.now, self.rng.f64()) => {}
                    Allowed::One | Allowed::Full => {
                        self.suspect.sent(self.now);
                        let careful = self.suspect.is_careful();
                        let window = if careful { 1 } else { 100 };
                        if (self.next..self.next + window).any(&poison) {
                            self.now += RTT;
                            break (window, true);
                        }
                        if self.now + answer > dies {
                            break (window, false);
                        }
                        self.now += answer;
                        if !careful && dies - self.now > answer * 100 && life < LONG {
                            // The same over and over.
                            self.now = dies - answer * self.rng.u32(0..100);
                        }
                        for _ in 0..window {
                            self.suspect.answered(self.next);
                            self.next += 1;
                        }
                    }
                }
                if self.now > dies {
                    break (0, false);
                }
            };
            if !closed {
                self.now = dies;
            }
            let in_flight = usize::try_from(window).unwrap();
            let oldest = (window > 0).then_some(Item::Row(self.next));
            let ended = Ended { by_peer: by_peer || closed, oldest, in_flight };
            if let Some(Item::Row(position)) = self.suspect.ended(&ended, self.now) {
                self.condemned.push(position);
                assert_eq!(position, self.next);
                self.next += 1;
            }
            self.now += Duration::from_secs(1);
        }
    }

    const LONG: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn the_row_on_which_the_broker_closes_is_found_and_the_rest_flows() {
        let mut link = Link::new(1);
        let poison = |condemned: &[u64], row: u64| row == 142 && !condemned.contains(&row);
        for _ in 0..CLOSES + STRIKES + 3 {
            let condemned = link.condemned.clone();
            if link.next < 500 {
                let life =
                    if link.next < 140 || condemned.is_empty() { LONG } else { Duration::from_secs(60) };
                link.connect(life, RTT, true, |row| poison(&condemned, row) || row > 600);
            }
        }
        assert_eq!(link.condemned, [142]);
        assert!(link.next > 500);
    }

    #[test]
    fn a_link_that_dies_at_random_condemns_nothing() {
        // From links that hardly hold to such as hold for long, and answers from quick to slow.
        let mut connections = 0;
        for seed in 0..300 {
            let mut link = Link::new(seed);
            let mean = 10f64.powf(link.rng.f64() * 5.0 - 2.0);
            let answer = Duration::from_secs_f64(10f64.powf(link.rng.f64() * 4.0 - 2.5));
            let by_peer = link.rng.f64();
            for _ in 0..200 {
                let life = Duration::from_secs_f64(-mean * link.rng.f64().max(1e-9).ln());
                let closes = link.rng.f64() <= by_peer;
                // Some are met in the worst way: with a row in flight that is not answered.
                link.connect(life.min(Duration::from_secs(300)), answer, closes, |_| false);
                connections += 1;
            }
            assert_eq!(
                link.condemned,
                Vec::<u64>::new(),
                "seed {seed}: {mean} s a connection, {answer:?} an answer"
            );
        }
        assert_eq!(connections, 60_000);
    }

    fn closed(item: Option<Item>, in_flight: usize) -> Ended {
        Ended { by_peer: true, oldest: item, in_flight }
    }

    /// Through the quiet time, and a row sent behind it that is closed on after `took`.
    fn strike(suspect: &mut Suspect, item: &Item, now: &mut Instant, took: Duration) -> Option<Item> {
        suspect.connected(*now, 0.0);
        *now = suspect.quiet_until().unwrap();
        assert_eq!(suspect.pace(0, *now), Allowed::Ping);
        assert_eq!(suspect.pace(0, *now), Allowed::Quiet);
        assert_eq!(suspect.pace(1, *now), Allowed::One);
        assert!(suspect.may_send(item, *now, 0.0));
        suspect.sent(*now);
        *now += took;
        suspect.ended(&closed(Some(item.clone()), 1), *now)
    }

    fn careful(item: &Item, now: Instant) -> Suspect {
        let mut suspect = Suspect::default();
        for _ in 0..CLOSES {
            assert!(!suspect.is_careful());
            assert_eq!(suspect.ended(&closed(Some(item.clone()), 50), now), None);
        }
        assert!(suspect.is_careful());
        suspect
    }

    #[test]
    fn any_end_that_is_no_strike_begins_the_count_anew() {
        let (mut now, item) = (Instant::now(), Item::Row(7));
        let ends = [
            closed(None, 0),
            Ended { by_peer: false, ..closed(Some(item.clone()), 1) },
            closed(Some(Item::Row(8)), 1),
        ];
        for end in ends {
            let mut suspect = careful(&item, now);
            for _ in 0..STRIKES - 1 {
                assert_eq!(strike(&mut suspect, &item, &mut now, RTT), None);
            }
            suspect.connected(now, 0.0);
            assert_eq!(suspect.ended(&end, now), None);
            for _ in 0..STRIKES - 1 {
                assert_eq!(strike(&mut suspect, &item, &mut now, RTT), None, "{end:?}");
            }
            assert_eq!(strike(&mut suspect, &item, &mut now, RTT), Some(item.clone()));
        }
    }

    #[test]
    fn a_slow_close_counts_behind_a_quiet_time_that_is_long_enough() {
        let (mut now, item) = (Instant::now(), Item::Word("a".into()));
        let mut suspect = careful(&item, now);
        let took = Duration::from_secs(2);
        assert_eq!(strike(&mut suspect, &item, &mut now, took), None, "no strike yet");
        assert!(suspect.suspects_words());
        for _ in 0..STRIKES - 1 {
            let begun = now;
            assert_eq!(strike(&mut suspect, &item, &mut now, took), None);
            assert!(now - begun >= took * PART);
        }
        assert_eq!(strike(&mut suspect, &item, &mut now, took), Some(item));
    }

    #[test]
    fn rows_of_one_topic_in_a_row_speak_against_it() {
        let mut suspect = Suspect::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert!(!suspect.condemned(&a) && !suspect.condemned(&a) && !suspect.condemned(&b));
        assert!(!suspect.condemned(&a) && !suspect.condemned(&a) && suspect.condemned(&a));
        suspect.condemned(&a);
        suspect.answered(1);
        assert!(!suspect.condemned(&a) && !suspect.condemned(&a) && suspect.condemned(&a));
    }
}
