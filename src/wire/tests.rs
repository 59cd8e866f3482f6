//! The rules of wire v1, "Host", one by one: what happens, and what the link does about it.

mod calls;

use proptest::prelude::*;
use serialgate_wire::{
    CallResult, Class, Decoder, Describe, DescribeReq, Exponent, Hello, Int, ItemWriter, Items, MAX_WIRE,
    Value,
};

use super::session::Start;
use super::*;
use crate::queue::Resume;
use crate::reading::{self, MessageId, Reading};

const UID: &[u8] = &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
const BOOT: u32 = 0x12A;
const S: i64 = 1_000_000;

const HELLO: Hello<'static> = Hello {
    minor: 1,
    caps: 3,
    boot: BOOT,
    uptime_ms: 10_000,
    oldest: 0,
    next: 0,
    dropped: 0,
    rxmax: 64,
    channels: 2,
    schema_crc: 7,
    uid: UID,
    firmware: "greenhouse 1.0",
};

/// A link, its clock, and what the queue remembers.
struct Rig {
    link: Link,
    us: i64,
    known: Option<Known>,
}

impl Rig {
    /// A link whose port is open.
    fn open() -> Self {
        let mut rig = Self { link: Link::new(None), us: 100 * S, known: None };
        rig.link.opened(rig.now());
        rig.actions();
        rig
    }

    /// A link whose board has said `hello` and described its channels.
    fn flowing(hello: Hello<'_>) -> Self {
        let mut rig = Self::open();
        rig.hear(Message::Hello(hello));
        rig.describe(0, "temp");
        rig.describe(1, "hum");
        rig
    }

    fn now(&self) -> Stamp {
        Stamp::this_boot(self.us)
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.link.next_action()).collect()
    }

    fn hear_from(&mut self, boot8: u8, message: &Message<'_>) -> (Heard, Vec<Action>) {
        let mut buffer = [0; MAX_WIRE];
        let (mut decoder, mut heard) = (Decoder::new(), None);
        for &byte in message.encode(boot8, &mut buffer).unwrap() {
            if let Some(frame) = decoder.feed(byte) {
                heard = Some(self.link.frame(&frame.unwrap(), self.now(), |_, _| self.known));
            }
        }
        (heard.unwrap(), self.actions())
    }

    fn hear(&mut self, message: Message<'_>) -> Vec<Action> {
        let (heard, actions) = self.hear_from(0x2A, &message);
        assert_eq!(heard, Heard::Good);
        actions
    }

    fn describe(&mut self, channel: u8, name: &str) -> Vec<Action> {
        let (class, more) = (Class::Gauge, &[][..]);
        self.hear(Message::Describe(Describe {
            seq: 0,
            channel,
            fmt: 0,
            class,
            writable: false,
            unit: "Cel",
            name,
            more,
        }))
    }

    fn data(&mut self, seq: u16, oldest: bool, no_ack: bool) -> Vec<Action> {
        let mut room = [0; 16];
        let mut items = ItemWriter::new(&mut room);
        items.push(0, Value::decimal(Int::I16(2345), Exponent::CENTI)).unwrap();
        items.push(7, Value::Bool(true)).unwrap();
        self.hear(Message::Data(Data { seq, oldest, no_ack, t_ms: 10_000, items: items.finish() }))
    }

    fn wait(&mut self, us: i64) -> Vec<Action> {
        self.us += us;
        self.link.tick(self.now());
        self.actions()
    }
}

fn ack(next: u16) -> Action {
    Action::Send(0x2A, Message::Ack(Ack { next, rewind: false }))
}

fn nak(next: u16) -> Action {
    Action::Send(0x2A, Message::Ack(Ack { next, rewind: true }))
}

fn hello_req() -> Action {
    Action::Send(0, Message::HelloReq)
}

fn describe_req(seq: u16, channel: u8) -> Action {
    Action::Send(0, Message::DescribeReq(DescribeReq { seq, channel }))
}

fn remember(next: u32, dropped: u32) -> Action {
    Action::Remember { uid: Uid::new(UID).unwrap(), boot: BOOT, resume: Resume { next, dropped } }
}

fn gap(from: u32, to: u32, lost: u32) -> Action {
    Action::Gap { device: "greenhouse-6677".into(), from, to, lost }
}

/// The numbers that were accepted, and whether each is to be acknowledged.
fn accepted(actions: &[Action]) -> Vec<(u32, bool)> {
    let accepts = actions.iter().filter_map(|action| match action {
        Action::Accept(accept) => Some((accept.number, accept.acknowledge)),
        _ => None,
    });
    accepts.collect()
}

#[test]
fn an_opened_port_calls_its_board_every_second_then_every_five() {
    let mut rig = Rig { link: Link::new(None), us: 0, known: None };
    assert_eq!(rig.wait(S), [], "closed");
    rig.link.opened(rig.now());
    assert_eq!(rig.actions(), [hello_req()]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let at = rig.link.wake_at_us().unwrap();
        waits.push((at - rig.us) / S);
        assert_eq!(rig.wait(at - 1 - rig.us), []);
        assert_eq!(rig.wait(1), [hello_req()]);
    }
    assert_eq!(waits, [1, 2, 3, 4, 5, 5]);
    rig.link.closed();
    assert_eq!(rig.link.wake_at_us(), None);
}

#[test]
fn nothing_is_taken_or_acknowledged_before_a_hello() {
    let mut rig = Rig::open();
    assert_eq!(rig.data(0, true, false), []);
    assert_eq!(rig.data(0, true, true), []);
    rig.link.safe(0);
    assert_eq!(rig.actions(), []);
}

#[test]
fn channels_are_asked_for_one_by_one_and_then_readings_flow() {
    let mut rig = Rig::open();
    let online = Action::Online("greenhouse-6677".into());
    assert_eq!(rig.hear(Message::Hello(HELLO)), [Action::Forget, remember(0, 0), describe_req(1, 0), online]);
    assert_eq!(rig.data(0, true, false), [], "not without names");
    assert_eq!(rig.wait(S - 1), []);
    assert_eq!(rig.wait(1), [describe_req(2, 0)], "asked again after a second");
    assert_eq!(rig.describe(1, "hum"), [], "not asked for yet");
    assert_eq!(rig.describe(0, "temp"), [describe_req(3, 1)]);
    let actions = rig.describe(1, "hum\u{7}");
    let [Action::Describe(description), last] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(*last, nak(0), "what came meanwhile is to come again");
    let channels: Vec<_> =
        description.schema.channels().iter().map(|c| (&*c.name, &*c.unit, c.class)).collect();
    assert_eq!(channels, [("temp", "Cel", Some("gauge")), ("hum_", "Cel", Some("gauge"))]);
    assert_eq!(&*description.firmware, "greenhouse 1.0");
    assert_eq!(rig.link.wake_at_us(), Some(rig.us + OFFLINE_US));
}

#[test]
fn a_board_that_does_not_describe_itself_gets_made_up_names() {
    let mut rig = Rig::open();
    rig.hear(Message::Hello(HELLO));
    rig.wait(S);
    rig.wait(S);
    let actions = rig.wait(S);
    let [Action::Note(Note::Nameless), Action::Describe(description), last] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(description.schema.channels().len(), 2);
    assert_eq!(*last, nak(0));
    let actions = rig.data(0, true, false);
    let [Action::Accept(Accept { what: Accepted::Reading(reading), .. })] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(&*reading.values[0].0, "ch0");
    let heartbeat = Message::Hello(Hello { next: 1, ..HELLO });
    assert_eq!(rig.hear(heartbeat), [describe_req(4, 0), ack(0)], "the next HELLO asks again");
    rig.describe(0, "temp");
    let actions = rig.describe(1, "hum");
    assert!(matches!(&actions[..], [Action::Describe(_)]), "{actions:?}");
}

#[test]
fn a_known_schema_is_not_asked_for_again() {
    let mut rig = Rig::flowing(HELLO);
    let resume = Resume { next: 0, dropped: 0 };
    rig.known = Some(Known { resume, safe: Some(0) });
    rig.link.closed();
    rig.link.opened(rig.now());
    rig.actions();
    let online = Action::Online("greenhouse-6677".into());
    assert_eq!(rig.hear(Message::Hello(HELLO)), [nak(0), online.clone()], "the same session goes on");
    let mut other_boot = Hello { boot: 0x22B, ..HELLO };
    rig.known = None;
    let actions = rig.hear_from(0x2B, &Message::Hello(other_boot)).1;
    assert!(actions.iter().any(|action| matches!(action, Action::Describe(_))), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Send(0, _))), "{actions:?}");
    other_boot.schema_crc = 8;
    let actions = rig.hear_from(0x2B, &Message::Hello(other_boot)).1;
    assert_eq!(actions, [describe_req(3, 0)], "a new schema is");
}

#[test]
fn a_reading_says_who_when_and_what() {
    let mut rig = Rig::flowing(HELLO);
    let actions = rig.data(0, true, false);
    let uid = Uid::new(UID).unwrap();
    let reading = Reading {
        device: "greenhouse-6677".into(),
        id: MessageId::Board { uid, boot: BOOT, seq: 0 },
        seq: 0,
        at: Stamp::this_boot(100 * S),
        values: vec![
            ("temp".into(), reading::Value::Decimal { mantissa: 2345, exponent: -2 }),
            ("ch7".into(), reading::Value::Bool(true)),
        ],
    };
    let accept = Accept { number: 0, acknowledge: true, what: Accepted::Reading(reading) };
    assert_eq!(actions, [Action::Accept(accept)]);
}

#[test]
fn each_number_is_taken_once_and_acknowledged_when_safe() {
    let mut rig = Rig::flowing(HELLO);
    assert_eq!(accepted(&rig.data(0, true, false)), [(0, true)]);
    assert_eq!(accepted(&rig.data(1, false, false)), [(1, true)]);
    assert_eq!(accepted(&rig.data(2, false, false)), [(2, true)]);
    assert_eq!(rig.data(1, false, false), [ack(0)], "behind: only what is safe is acknowledged");
    assert_eq!(rig.data(2, false, false), [], "and not for every one of them");
    rig.link.safe(1);
    assert_eq!(rig.actions(), [ack(2)], "two at once, one ACK");
    rig.us += NAK_US;
    assert_eq!(rig.data(0, true, false), [ack(2)]);
    assert_eq!(rig.data(4, false, false), [nak(2)], "ahead");
    assert_eq!(rig.data(5, false, false), [], "one NAK per 100 ms");
    rig.us += NAK_US;
    assert_eq!(rig.data(4, false, false), [nak(2)]);
    let actions = rig.data(10, true, false);
    assert_eq!(actions[..2], [gap(3, 9, 7), remember(10, 7)], "ahead, and the oldest there is");
    assert_eq!(accepted(&actions), [(10, true)]);
    rig.link.safe(10);
    assert_eq!(rig.actions(), [ack(11)]);
    rig.link.safe(2);
    assert_eq!(rig.actions(), [ack(11)], "never back");
}

#[test]
fn one_way_readings_are_taken_and_not_acknowledged() {
    let mut rig = Rig::open();
    rig.hear(Message::Hello(Hello { oldest: 5, next: 5, ..HELLO }));
    let actions = rig.data(5, false, true);
    assert!(matches!(actions[0], Action::Describe(_)), "nobody would answer the question for names");
    assert_eq!(accepted(&actions), [(5, false)]);
    let actions = rig.data(8, false, true);
    assert_eq!(actions[..2], [gap(6, 7, 2), remember(8, 2)]);
    assert_eq!(accepted(&actions), [(8, false)]);
    assert_eq!(rig.data(7, false, true), []);
}

#[test]
fn another_boot_number_asks_for_a_hello_once_a_second() {
    let mut rig = Rig::flowing(HELLO);
    let items = Items::parse(&[]).unwrap();
    let data = Message::Data(Data { seq: 0, oldest: true, no_ack: false, t_ms: 0, items });
    assert_eq!(rig.hear_from(0x2B, &data).1, [hello_req()]);
    assert_eq!(rig.hear_from(0x2B, &data).1, []);
    rig.us += S;
    assert_eq!(rig.hear_from(0x2B, &data).1, [hello_req()]);
}

#[test]
fn a_malformed_reading_is_passed_over_once_it_is_told() {
    let mut rig = Rig::flowing(HELLO);
    let bad = Frame { kind: Kind::DATA, flags: 0, boot8: 0x2A, seq: 0, payload: &[1] };
    let (heard, actions) = rig.hear_from(0x2A, &Message::Unknown(bad));
    let what = Accepted::Malformed("greenhouse-6677".into());
    assert_eq!(heard, Heard::Malformed);
    assert_eq!(actions, [Action::Accept(Accept { number: 0, acknowledge: true, what })]);
    assert_eq!(accepted(&rig.data(1, false, false)), [(1, true)]);
}

#[test]
fn a_refused_reading_is_expected_again_and_nobody_hurries_the_board() {
    let mut rig = Rig::flowing(HELLO);
    assert_eq!(accepted(&rig.data(0, true, false)), [(0, true)]);
    rig.link.refused(0, rig.now());
    assert_eq!(rig.data(1, false, false), []);
    rig.us += REFUSED_US;
    assert_eq!(rig.data(1, false, false), [nak(0)]);
    assert_eq!(accepted(&rig.data(0, true, false)), [(0, true)]);
}

#[test]
fn a_reading_that_never_became_safe_comes_again() {
    let mut rig = Rig::flowing(HELLO);
    for seq in 0..4 {
        rig.data(seq, false, false);
    }
    rig.link.safe(0);
    rig.actions();
    rig.link.lost(1, rig.now());
    assert_eq!(rig.actions(), [Action::Forget, remember(1, 0), nak(1)]);
    assert_eq!(accepted(&rig.data(1, true, false)), [(1, true)]);
    rig.data(9, true, false);
    rig.link.lost(1, rig.now());
    assert_eq!(rig.actions(), [gap(1, 1, 1)], "the board has dropped it meanwhile");
}

#[test]
fn a_heartbeat_shows_what_the_board_has_dropped() {
    let mut rig = Rig::flowing(HELLO);
    rig.data(0, true, false);
    let heartbeat = Hello { oldest: 70_001, next: 70_010, dropped: 70_000, ..HELLO };
    assert_eq!(
        rig.hear(Message::Hello(heartbeat)),
        [gap(1, 70_000, 70_000), remember(70_001, 70_000), ack(low16(70_001))]
    );
    assert_eq!(accepted(&rig.data(low16(70_001), true, false)), [(70_001, true)]);
}

#[test]
fn numbers_that_go_back_are_new_numbers() {
    let mut rig = Rig::flowing(HELLO);
    rig.data(0, true, false);
    rig.data(1, true, false);
    let actions = rig.hear(Message::Hello(HELLO));
    assert_eq!(actions[..3], [Action::Note(Note::Renumbered), Action::Forget, remember(0, 0)]);
    assert_eq!(accepted(&rig.data(0, true, false)), [(0, true)]);
}

#[test]
fn resuming_counts_exactly_what_was_lost() {
    let hello = |oldest, next, dropped| Hello { oldest, next, dropped, ..HELLO };
    let known = |next, dropped, safe| Some(Known { resume: Resume { next, dropped }, safe });
    let start = |next, safe, gap| Start { next, safe, gap, renumbered: false };
    for (name, hello, known, expected) in [
        ("a fresh board", hello(0, 3, 0), None, start(0, 0, None)),
        ("an unknown one that had a host", hello(50, 60, 0), None, start(50, 50, None)),
        ("an unknown one that waited", hello(50, 60, 50), None, start(50, 50, Some((0, 50)))),
        ("an unknown one that did both", hello(50, 60, 20), None, start(50, 50, Some((0, 20)))),
        ("nothing missing", hello(5, 9, 2), known(7, 2, Some(6)), start(7, 6, None)),
        ("safe is not known", hello(5, 9, 2), known(7, 2, None), start(7, 5, None)),
        ("all missing lost", hello(20, 30, 15), known(10, 5, Some(10)), start(20, 20, Some((10, 10)))),
        ("ACK forgotten in a crash", hello(20, 30, 5), known(10, 5, Some(10)), start(20, 20, None)),
        ("some of both", hello(20, 30, 8), known(10, 5, Some(10)), start(20, 20, Some((10, 3)))),
        ("its ACK was lost", hello(20, 30, 19), known(10, 5, Some(10)), start(20, 20, Some((10, 10)))),
        ("over the wrap", hello(2, 9, 4), known(u32::MAX, 0, None), start(2, 2, Some((u32::MAX, 3)))),
        ("gone back", hello(0, 3, 0), known(7, 0, Some(7)), Start { renumbered: true, ..start(0, 0, None) }),
    ] {
        assert_eq!(Start::of(&hello, known), expected, "{name}");
    }
}

#[test]
fn a_silent_board_goes_offline_and_comes_back_with_its_next_frame() {
    let device: DeviceName = "greenhouse-6677".into();
    let mut rig = Rig::flowing(HELLO);
    assert_eq!(rig.wait(OFFLINE_US - 1), []);
    assert_eq!(rig.wait(1), [Action::Offline(Arc::clone(&device))]);
    assert_eq!(rig.link.wake_at_us(), None);
    assert_eq!(rig.hear(Message::Log("hi")), [Action::Log("hi".into()), Action::Online(Arc::clone(&device))]);
    rig.link.closed();
    assert_eq!(rig.actions(), [Action::Offline(device)]);
}

#[test]
fn our_own_echo_and_what_we_do_not_know_are_passed_over() {
    let mut rig = Rig::flowing(HELLO);
    for echo in [Message::HelloReq, Message::Ack(Ack { next: 5, rewind: true })] {
        assert_eq!(rig.hear_from(0x2A, &echo), (Heard::Echo, vec![]));
    }
    let items = Items::parse(&[]).unwrap();
    assert_eq!(rig.hear(Message::Result(CallResult { seq: 1, status: 0, items })), []);
    let unknown = Frame { kind: Kind::new(0x1F), flags: 0xFF, boot8: 1, seq: 1, payload: &[1] };
    assert_eq!(rig.hear(Message::Unknown(unknown)), []);
    let nobody = Hello { uid: &[], ..HELLO };
    assert_eq!(rig.hear_from(0x2A, &Message::Hello(nobody)), (Heard::Malformed, vec![]));
}

#[test]
fn devices_are_named_by_the_configuration_or_by_themselves() {
    for (named, firmware, uid, expected) in [
        (None, "Green House", UID, "green-6677"),
        (None, "", UID, "board-6677"),
        (None, "x", &[0xAB][..], "x-ab"),
        (Some("shed"), "greenhouse 1.0", UID, "shed"),
    ] {
        let mut rig = Rig::open();
        rig.link = Link::new(named.map(Into::into));
        rig.link.opened(rig.now());
        rig.actions();
        let actions = rig.hear(Message::Hello(Hello { uid, firmware, ..HELLO }));
        assert_eq!(actions.last(), Some(&Action::Online(expected.into())));
    }
}

proptest! {
    #[test]
    fn no_frame_makes_it_panic_or_call_without_end(
        frames in prop::collection::vec(
            (0u8..8, any::<u8>(), any::<[u32; 6]>(), prop::collection::vec(any::<u8>(), 0..40), 0i64..10 * S),
            1..60,
        ),
    ) {
        let mut rig = Rig::open();
        for (kind, flags, [boot, oldest, next, dropped, uptime_ms, number], payload, wait) in frames {
            // Few boots, so that sessions go on.
            let boot = boot % 2;
            rig.known = (flags & 4 != 0).then_some(Known {
                resume: Resume { next: number, dropped },
                safe: (flags & 8 != 0).then_some(boot),
            });
            let hello = Hello { boot, uptime_ms, oldest, next, dropped, channels: flags, ..HELLO };
            let any = Frame { kind: Kind::new(kind), flags, boot8: low8(boot), seq: low16(number), payload: &payload };
            let data = Frame { kind: Kind::DATA, ..any };
            match kind {
                0 => drop(rig.hear_from(low8(boot), &Message::Hello(hello))),
                1 => drop(rig.hear_from(low8(boot), &Message::Unknown(data))),
                2 => rig.link.safe(number),
                3 => rig.link.lost(number, rig.now()),
                4 => rig.link.refused(number, rig.now()),
                5 => rig.link.refused_gap(number, rig.now()),
                6 => rig.link.opened(rig.now()),
                _ => drop(rig.hear_from(low8(boot), &Message::Unknown(any))),
            }
            rig.actions();
            rig.wait(wait);
            prop_assert!(rig.link.wake_at_us().is_none_or(|at| at > rig.us), "a due tick does its work");
        }
    }
}

/// A board whose readings outlive a reset was off for 3 s: what it measured before and after both come with
/// their times.
#[test]
fn a_reset_that_the_readings_outlive_takes_no_time_from_them() {
    let at = |actions: &[Action]| {
        let at = actions.iter().find_map(|action| match action {
            Action::Accept(Accept { what: Accepted::Reading(reading), .. }) => Some(reading.at.us),
            _ => None,
        });
        at.unwrap()
    };
    let sampled = |rig: &mut Rig, seq, t_ms| {
        let data = Data { seq, oldest: false, no_ack: false, t_ms, items: Items::default() };
        at(&rig.hear(Message::Data(data)))
    };
    let hello = |uptime_ms, next| Message::Hello(Hello { uptime_ms, next, ..HELLO });
    let mut rig = Rig::flowing(HELLO);
    let began = rig.us - 10 * S;
    rig.known = Some(Known { resume: Resume { next: 0, dropped: 0 }, safe: None });
    // The port is closed, the board measures at 20 s and 30 s of its time, and is reset.
    rig.link.closed();
    rig.wait(23 * S);
    rig.link.opened(rig.now());
    rig.actions();
    rig.hear(hello(30_000, 2));
    assert_eq!(sampled(&mut rig, 0, 20_000), began + 20 * S);
    assert_eq!(sampled(&mut rig, 1, 29_900), began + 29_900_000);
    rig.wait(S);
    assert_eq!(sampled(&mut rig, 2, 31_000), rig.us);
    // And once more while we listen.
    rig.wait(3 * S);
    rig.hear(hello(31_010, 3));
    rig.wait(S);
    assert_eq!(sampled(&mut rig, 3, 32_010), rig.us);
}
