//! The link against a model board and a model queue, over a line that loses frames, under a random
//! script of outages: what was promised must hold whatever happens.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;
use serialgate_wire::{
    Class, Data, Decoder, Describe, Exponent, Hello, Int, ItemWriter, MAX_WIRE, Message, Value,
};

use super::session::ahead;
use super::*;
use crate::queue::Resume;
use crate::reading::MessageId;

const UID: [u8; 8] = *b"modelbrd";

/// A board that follows the rules of wire v1, "Device".
struct Board {
    boot: u32,
    booted_ms: u32,
    /// Numbers and times of the readings it holds.
    ring: VecDeque<(u32, u32)>,
    capacity: usize,
    next: u32,
    /// The next one to send.
    sent: u32,
    dropped: u32,
    ready: bool,
    rto_ms: u32,
    sent_ms: u32,
    hello_ms: u32,
}

impl Board {
    fn new(boot: u32, now_ms: u32, capacity: usize, first: u32) -> Self {
        Self {
            boot,
            booted_ms: now_ms,
            ring: VecDeque::new(),
            capacity,
            next: first,
            sent: first,
            dropped: 0,
            ready: false,
            rto_ms: 1_000,
            sent_ms: now_ms,
            hello_ms: now_ms.wrapping_sub(60_001),
        }
    }

    fn oldest(&self) -> u32 {
        self.ring.front().map_or(self.next, |(number, _)| *number)
    }

    fn pop(&mut self) {
        if let Some((number, _)) = self.ring.pop_front()
            && self.sent == number
        {
            self.sent = number.wrapping_add(1);
        }
    }

    fn sample(&mut self, now_ms: u32) {
        if self.ring.len() == self.capacity {
            self.pop();
            self.dropped += 1;
        }
        self.ring.push_back((self.next, now_ms - self.booted_ms));
        self.next = self.next.wrapping_add(1);
    }

    /// At most one frame, as a UART sends one after the other.
    fn poll(&mut self, now_ms: u32) -> Option<Vec<u8>> {
        if now_ms.wrapping_sub(self.hello_ms) > if self.ready { 60_000 } else { 5_000 } {
            return Some(self.hello(now_ms));
        }
        let oldest = self.oldest();
        if oldest != self.sent && now_ms.wrapping_sub(self.sent_ms) > self.rto_ms {
            self.sent = oldest;
            self.ready = self.rto_ms < 4_000;
            self.rto_ms = (self.rto_ms * 2).min(32_000);
            self.sent_ms = now_ms;
        }
        let index = self.sent.wrapping_sub(oldest) as usize;
        let &(number, t_ms) = self.ring.get(index)?;
        if index > 0 && !self.ready {
            return None;
        }
        if index == 0 {
            self.sent_ms = now_ms;
        }
        self.sent = self.sent.wrapping_add(1);
        let mut room = [0; 16];
        let mut items = ItemWriter::new(&mut room);
        items.push(0, Value::decimal(Int::U32(number), Exponent::ZERO)).unwrap();
        Some(self.encode(&Message::Data(Data {
            seq: low16(number),
            oldest: index == 0,
            no_ack: false,
            t_ms,
            items: items.finish(),
        })))
    }

    fn hear(&mut self, message: &Message<'_>, boot8: u8, now_ms: u32) -> Option<Vec<u8>> {
        match message {
            Message::HelloReq => Some(self.hello(now_ms)),
            Message::DescribeReq(request) => Some(self.encode(&Message::Describe(Describe {
                seq: request.seq,
                channel: request.channel,
                fmt: 0x80,
                class: Class::Counter,
                writable: false,
                unit: "",
                name: "number",
                more: &[],
            }))),
            Message::Ack(ack) if boot8 == low8(self.boot) => {
                let count = ack.next.wrapping_sub(low16(self.oldest()));
                if usize::from(count) <= self.ring.len() {
                    if count > 0 || !self.ready {
                        self.rto_ms = 1_000;
                        self.sent_ms = now_ms;
                    }
                    self.ready = true;
                    (0..count).for_each(|_| self.pop());
                    if ack.rewind {
                        self.sent = self.oldest();
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn hello(&mut self, now_ms: u32) -> Vec<u8> {
        self.hello_ms = now_ms;
        self.encode(&Message::Hello(Hello {
            minor: 0,
            caps: 0,
            boot: self.boot,
            uptime_ms: now_ms - self.booted_ms,
            oldest: self.oldest(),
            next: self.next,
            dropped: self.dropped,
            rxmax: 64,
            channels: 1,
            schema_crc: 7,
            uid: &UID,
            firmware: "model 1",
        }))
    }

    fn encode(&self, message: &Message<'_>) -> Vec<u8> {
        message.encode(low8(self.boot), &mut [0; MAX_WIRE]).unwrap().to_vec()
    }
}

/// What the queue holds.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Reading { boot: u32, number: u32 },
    Gap { boot: u32, from: u32, to: u32, lost: u32 },
}

#[derive(Default)]
struct Queue {
    /// In order; those from `volatile` on would go in a crash.
    entries: Vec<Entry>,
    volatile: usize,
    /// Readings whose tickets are not resolved, and how many entries there were with them.
    tickets: VecDeque<(u32, usize)>,
    marks: Vec<(u32, Resume)>,
    saved_marks: Vec<(u32, Resume)>,
    full: bool,
}

impl Queue {
    fn mark(&self, boot: u32) -> Option<Resume> {
        self.marks.iter().find(|(b, _)| *b == boot).map(|(_, mark)| *mark)
    }

    fn set_mark(&mut self, boot: u32, mark: Resume) {
        self.marks.retain(|(b, _)| *b != boot);
        self.marks.push((boot, mark));
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Sample(u8),
    Run {
        ms: u16,
    },
    Noise {
        percent: u8,
    },
    Close,
    Open,
    /// The cloud acknowledges so many entries.
    Deliver(u8),
    /// The disk has all of them.
    Commit,
    Full(bool),
    /// The daemon is killed and started again.
    Kill,
    /// The first unresolved ticket will never resolve.
    FailTicket,
    /// The board boots anew; what it held is gone.
    Reboot,
}

struct World {
    now_ms: u32,
    board: Board,
    link: Link,
    open: bool,
    queue: Queue,
    decoder: Decoder,
    boot_decoder: Decoder,
    /// Which boot's readings are safe up to where, as all ports of the daemon know it.
    registry: Option<(u32, u32)>,
    lost_percent: u8,
    random: u64,
    killed: bool,
}

impl World {
    fn new(capacity: usize, first: u32, seed: u64) -> Self {
        Self {
            now_ms: 100_000,
            board: Board::new(1, 90_000, capacity, first),
            link: Link::new(None),
            open: false,
            queue: Queue::default(),
            decoder: Decoder::new(),
            boot_decoder: Decoder::new(),
            registry: None,
            lost_percent: 0,
            random: seed | 1,
            killed: false,
        }
    }

    fn now(&self) -> Stamp {
        Stamp::this_boot(i64::from(self.now_ms) * 1_000)
    }

    fn loses(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100 < u64::from(self.lost_percent)
    }

    fn run(&mut self, ms: u32) {
        for _ in 0..ms / 10 {
            self.now_ms += 10;
            if let Some(bytes) = self.board.poll(self.now_ms) {
                self.host_hears(&bytes);
            }
            if self.link.wake_at_us().is_some_and(|at| self.now().us >= at) {
                self.link.tick(self.now());
                self.act();
            }
        }
    }

    fn host_hears(&mut self, bytes: &[u8]) {
        if !self.open || self.loses() {
            return;
        }
        let now = self.now();
        for &byte in bytes {
            let Some(Ok(frame)) = self.decoder.feed(byte) else { continue };
            let (queue, registry) = (&self.queue, self.registry);
            let heard = self.link.frame(&frame, now, |_, boot| {
                let safe = registry.filter(|(b, _)| *b == boot).map(|(_, safe)| safe);
                queue.mark(boot).map(|resume| Known { resume, safe: Some(safe.unwrap_or(resume.next)) })
            });
            assert_eq!(heard, Heard::Good);
        }
        self.act();
    }

    fn board_hears(&mut self, bytes: &[u8]) {
        if self.loses() {
            return;
        }
        for &byte in bytes {
            let Some(Ok(frame)) = self.boot_decoder.feed(byte) else { continue };
            let message = Message::parse(&frame).unwrap();
            if let Some(answer) = self.board.hear(&message, frame.boot8, self.now_ms) {
                self.host_hears(&answer);
                return;
            }
        }
    }

    fn act(&mut self) {
        self.registry = self.link.safe_mark().map(|(_, boot, safe)| (boot, safe)).or(self.registry);
        while let Some(action) = self.link.next_action() {
            match action {
                Action::Send(boot8, message) => {
                    if let Message::Ack(ack) = message {
                        self.check_ack(boot8, ack);
                    }
                    let bytes = message.encode(boot8, &mut [0; MAX_WIRE]).unwrap().to_vec();
                    self.board_hears(&bytes);
                }
                Action::Accept(accept) if self.queue.full => self.link.refused(accept.number, self.now()),
                Action::Accept(Accept { number, what: Accepted::Reading(reading), .. }) => {
                    let MessageId::Board { boot, seq, .. } = reading.id else { panic!("not from a board") };
                    assert_eq!((seq, reading.seq), (number, u64::from(number)));
                    assert!(["number", "ch0"].contains(&&*reading.values[0].0));
                    self.queue.entries.push(Entry::Reading { boot, number });
                    self.queue.tickets.push_back((number, self.queue.entries.len()));
                    let dropped = self.queue.mark(boot).map_or(0, |mark| mark.dropped);
                    self.queue.set_mark(boot, Resume { next: number.wrapping_add(1), dropped });
                }
                Action::Accept(accept) => panic!("no frame was malformed: {accept:?}"),
                Action::Gap { from, .. } if self.queue.full => self.link.refused_gap(from, self.now()),
                Action::Gap { from, to, lost, .. } => {
                    self.queue.entries.push(Entry::Gap { boot: self.board.boot, from, to, lost });
                }
                Action::Remember { boot, resume, .. } => self.queue.set_mark(boot, resume),
                Action::Forget => self.queue.tickets.clear(),
                Action::Call { .. } | Action::Answer(..) => panic!("nobody called: {action:?}"),
                Action::Online(_) | Action::Offline(_) | Action::Describe(_) | Action::Log(_) => {}
                Action::Note(note) => assert_eq!(note, Note::Nameless, "on a line as bad as this"),
            }
        }
    }

    /// What an ACK lets the board forget must be safe.
    fn check_ack(&self, boot8: u8, ack: Ack) {
        if boot8 != low8(self.board.boot) {
            return;
        }
        let count = usize::from(ack.next.wrapping_sub(low16(self.board.oldest())));
        if count > self.board.ring.len() {
            return;
        }
        let safe = &self.queue.entries[..self.queue.volatile];
        for &(number, _) in self.board.ring.iter().take(count) {
            let entry = Entry::Reading { boot: self.board.boot, number };
            assert!(safe.contains(&entry), "{number} is acknowledged and not safe");
        }
    }

    fn resolve(&mut self, entries: usize) {
        self.queue.volatile = self.queue.volatile.max(entries);
        let mut last = None;
        while let Some(&(number, at)) = self.queue.tickets.front()
            && at <= self.queue.volatile
        {
            self.queue.tickets.pop_front();
            last = Some(number);
        }
        if let Some(number) = last {
            self.link.safe(number);
            self.act();
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Sample(count) => (0..count).for_each(|_| {
                self.board.sample(self.now_ms);
                self.run(10);
            }),
            Step::Run { ms } => self.run(ms.into()),
            Step::Noise { percent } => self.lost_percent = percent,
            Step::Close if self.open => {
                self.open = false;
                self.link.closed();
                self.act();
            }
            Step::Open if !self.open => {
                self.open = true;
                self.decoder = Decoder::new();
                self.link.opened(self.now());
                self.act();
            }
            Step::Close | Step::Open => {}
            Step::Deliver(count) => {
                let entries = self.queue.volatile + usize::from(count);
                self.resolve(entries.min(self.queue.entries.len()));
            }
            Step::Commit => {
                self.queue.saved_marks = self.queue.marks.clone();
                self.resolve(self.queue.entries.len());
            }
            Step::Full(full) => self.queue.full = full,
            Step::Kill => {
                self.killed = true;
                self.queue.entries.truncate(self.queue.volatile);
                self.queue.tickets.clear();
                self.queue.marks = self.queue.saved_marks.clone();
                self.link = Link::new(None);
                self.registry = None;
                self.decoder = Decoder::new();
                if self.open {
                    self.link.opened(self.now());
                    self.act();
                }
            }
            Step::FailTicket if self.queue.full => {}
            Step::FailTicket => {
                if let Some((number, at)) = self.queue.tickets.pop_front() {
                    self.killed = true;
                    self.queue.entries.remove(at - 1);
                    self.queue.tickets.iter_mut().for_each(|(_, at)| *at -= 1);
                    self.link.lost(number, self.now());
                    self.act();
                }
            }
            Step::Reboot => {
                let boot = self.board.boot.wrapping_mul(3).wrapping_add(11);
                self.board = Board::new(boot, self.now_ms, self.board.capacity, 0);
            }
        }
    }

    /// Everything recovers, and the board gets rid of all it holds.
    fn settle(&mut self) {
        self.queue.full = false;
        self.lost_percent = 0;
        self.step(&Step::Open);
        self.run(6_000);
        for _ in 0..400 {
            self.run(500);
            self.step(&Step::Commit);
            if self.board.ring.is_empty() {
                return;
            }
        }
        panic!("still held: {:?}", self.board.ring);
    }

    /// Every number below the mark is there once and in order, or in a gap; gaps count exactly.
    fn check(&self, first: u32) {
        for &(boot, mark) in &self.queue.marks {
            let first = if boot == 1 { first } else { 0 };
            let mut seen = BTreeSet::new();
            let (mut last, mut missing, mut lost) = (None, 0usize, 0usize);
            for entry in &self.queue.entries {
                match *entry {
                    Entry::Reading { boot: b, number } if b == boot => {
                        let fresh = seen.insert(number.wrapping_sub(first));
                        assert!(fresh || self.killed, "{boot}: {number} twice");
                        let in_order = last.is_none_or(|last| ahead(number, last) > 0);
                        assert!(in_order || self.killed, "{boot}: {number} after {last:?}");
                        last = Some(number);
                    }
                    Entry::Gap { boot: b, lost: l, .. } if b == boot => lost += l as usize,
                    _ => {}
                }
            }
            for number in 0..mark.next.wrapping_sub(first) {
                missing += usize::from(!seen.contains(&number));
            }
            if self.killed {
                assert!(lost >= missing, "{boot}: {missing} missing, {lost} reported");
            } else {
                assert_eq!(lost, missing, "{boot}: gaps are exact");
                let all = usize::try_from(mark.next.wrapping_sub(first)).unwrap();
                assert_eq!(seen.len() + missing, all, "{boot}");
            }
        }
        let mark = self.queue.mark(self.board.boot).unwrap();
        assert_eq!(mark.next, self.board.next, "all were taken or told");
    }
}

fn steps(crashes: &'static [Step]) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u8..40).prop_map(Step::Sample),
        6 => (10u16..8_000).prop_map(|ms| Step::Run { ms }),
        2 => prop_oneof![Just(0), 1u8..40].prop_map(|percent| Step::Noise { percent }),
        1 => Just(Step::Close),
        3 => Just(Step::Open),
        4 => (1u8..30).prop_map(Step::Deliver),
        2 => Just(Step::Commit),
        1 => any::<bool>().prop_map(Step::Full),
        2 => prop::sample::select(crashes),
    ];
    prop::collection::vec(step, 1..60)
}

fn play(steps: &[Step], capacity: usize, first: u32, seed: u64) {
    let mut world = World::new(capacity, first, seed);
    if first > 0 {
        // A board that has wrapped has been heard before.
        world.step(&Step::Open);
        world.run(1_000);
    }
    steps.iter().for_each(|step| world.step(step));
    world.settle();
    world.check(first);
}

proptest! {
    #[test]
    fn every_reading_is_taken_once_in_order_or_told_as_lost(
        steps in steps(&[Step::Commit]),
        capacity in 4usize..60,
        first in prop_oneof![Just(0), Just(65_500), Just(u32::MAX - 20)],
        seed: u64,
    ) {
        play(&steps, capacity, first, seed);
    }

    #[test]
    fn crashes_and_reboots_lose_nothing_silently(
        steps in steps(&[Step::Kill, Step::Reboot]),
        capacity in 4usize..60,
        seed: u64,
    ) {
        play(&steps, capacity, 0, seed);
    }

    #[test]
    fn what_never_became_safe_comes_again(
        steps in steps(&[Step::Kill, Step::FailTicket]),
        capacity in 4usize..60,
        seed: u64,
    ) {
        play(&steps, capacity, 0, seed);
    }
}

#[test]
fn an_outage_longer_than_half_the_number_space_is_told_exactly() {
    let mut world = World::new(50, 0, 1);
    world.step(&Step::Open);
    world.run(1_000);
    world.step(&Step::Sample(10));
    world.step(&Step::Commit);
    world.step(&Step::Close);
    for _ in 0..40_000 {
        world.board.sample(world.now_ms);
        world.now_ms += 10;
    }
    world.settle();
    world.check(0);
    let gaps: Vec<_> = world.queue.entries.iter().filter(|e| matches!(e, Entry::Gap { .. })).collect();
    assert_eq!(gaps, [&Entry::Gap { boot: 1, from: 10, to: 39_959, lost: 39_950 }]);
}
