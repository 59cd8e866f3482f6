use proptest::prelude::*;
use serialgate_wire::{Class, Kind};

use super::*;
use crate::sim::host::Host;

const CHANNELS: [Describe<'static>; 2] = [
    Describe {
        seq: 0,
        channel: 0,
        fmt: 0x3E,
        class: Class::Gauge,
        writable: false,
        unit: "Cel",
        name: "temp",
        more: &[],
    },
    Describe {
        seq: 0,
        channel: 1,
        fmt: 0x7F,
        class: Class::Gauge,
        writable: false,
        unit: "%RH",
        name: "hum",
        more: &[],
    },
];
const BOOT: u32 = 0x12A;
const BOOT8: u8 = 0x2A;

fn board(capacity: Capacity) -> Board {
    let firmware = "greenhouse 1.0".to_owned();
    let uid = vec![0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
    Board::new(Identity { uid, boot: BOOT, firmware, channels: &CHANNELS, capacity }, 0)
}

/// A board that has said hello.
fn greeted(readings: usize) -> Board {
    let mut board = board(Capacity::Readings(readings));
    assert_eq!(sent(&mut board, 0), ["HELLO 0..0"]);
    board
}

/// Takes a reading whose only item is the text `n`.
fn sample(board: &mut Board, now_ms: u64) -> u32 {
    let mut buffer = [0; 8];
    let mut items = ItemWriter::new(&mut buffer);
    items.push(0, Value::Text("abc")).unwrap();
    board.sample(now_ms, items.finish()).unwrap()
}

/// Everything that the board sends now, in words.
fn sent(board: &mut Board, now_ms: u64) -> Vec<String> {
    let mut bytes = Vec::new();
    while board.transmit(now_ms, &mut bytes) {}
    let mut decoder = Decoder::new();
    let mut words = Vec::new();
    for byte in bytes {
        if let Some(frame) = decoder.feed(byte) {
            let message = Message::parse(&frame.unwrap()).unwrap();
            words.push(in_words(&message));
        }
    }
    words
}

fn in_words(message: &Message<'_>) -> String {
    match message {
        Message::Hello(hello) => format!("HELLO {}..{}", hello.oldest, hello.next),
        Message::Data(data) if data.oldest => format!("DATA {} oldest", data.seq),
        Message::Data(data) => format!("DATA {}", data.seq),
        Message::Describe(channel) => format!("DESCRIBE {} {}", channel.channel, channel.name),
        Message::Result(result) => format!("RESULT {} {}", result.seq, result.status),
        other => panic!("a board never sends {other:?}"),
    }
}

fn tell(board: &mut Board, now_ms: u64, boot8: u8, message: &Message<'_>) -> Vec<Event> {
    board.receive(now_ms, message.encode(boot8, &mut [0; MAX_WIRE]).unwrap())
}

fn ack(board: &mut Board, now_ms: u64, next: u16) -> Vec<Event> {
    tell(board, now_ms, BOOT8, &Message::Ack(Ack { next, rewind: false }))
}

fn nak(board: &mut Board, now_ms: u64, next: u16) -> Vec<Event> {
    tell(board, now_ms, BOOT8, &Message::Ack(Ack { next, rewind: true }))
}

#[test]
fn hello_is_said_every_5_s_until_the_first_ack_and_then_every_60_s() {
    let mut board = greeted(10);
    let hello_times = |board: &mut Board, until_ms: u64| {
        let mut times = Vec::new();
        let mut now = board.next_wake_ms(0);
        while now <= until_ms {
            times.extend(sent(board, now).iter().filter(|s| s.starts_with("HELLO")).map(|_| now));
            now = board.next_wake_ms(now);
        }
        times
    };
    assert_eq!(hello_times(&mut board, 16_000), [5_000, 10_000, 15_000]);
    ack(&mut board, 16_000, 0);
    assert_eq!(hello_times(&mut board, 200_000), [76_000, 136_000, 196_000]);
    tell(&mut board, 200_000, 0, &Message::HelloReq);
    assert_eq!(sent(&mut board, 200_000), ["HELLO 0..0"]);
}

#[test]
fn readings_are_sent_once_in_order_and_popped_by_an_ack() {
    let mut board = greeted(10);
    for _ in 0..3 {
        sample(&mut board, 10);
    }
    assert_eq!(sent(&mut board, 10), ["DATA 0 oldest", "DATA 1", "DATA 2"]);
    assert_eq!(ack(&mut board, 20, 2), [Event::Acknowledged { first: 0, count: 2 }]);
    assert_eq!(sent(&mut board, 20), Vec::<String>::new());
    assert_eq!(board.held(), 1);
    assert_eq!(ack(&mut board, 30, 3), [Event::Acknowledged { first: 2, count: 1 }]);
    assert_eq!((board.held(), board.next_wake_ms(30)), (0, 60_020));
}

#[test]
fn without_an_ack_only_the_oldest_is_sent_ever_more_rarely() {
    let mut board = greeted(10);
    ack(&mut board, 0, 0);
    sample(&mut board, 0);
    sample(&mut board, 0);
    assert_eq!(sent(&mut board, 0), ["DATA 0 oldest", "DATA 1"]);
    let mut now = 0;
    let mut times = Vec::new();
    while now < 130_000 {
        now = board.next_wake_ms(now);
        for words in sent(&mut board, now).iter().filter(|words| !words.starts_with("HELLO")) {
            assert_eq!(words, "DATA 0 oldest");
            times.push(now / 1000);
        }
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 95, 127, 159][..times.len()]);
    assert!(times.len() >= 8);

    // The host is back. What was sent may have come: an ACK says no more than that it is there.
    ack(&mut board, now, 1);
    assert_eq!(sent(&mut board, now), Vec::<String>::new());
    assert_eq!(sent(&mut board, now + 1_000), ["DATA 1 oldest"]);
    // New readings go out after an ACK, and a NAK brings those that are missing.
    sample(&mut board, now + 1_000);
    assert_eq!(sent(&mut board, now + 1_000), Vec::<String>::new(), "no ACK yet");
    ack(&mut board, now + 1_100, 1);
    assert_eq!(sent(&mut board, now + 1_100), ["DATA 2"]);
    nak(&mut board, now + 1_200, 1);
    assert_eq!(sent(&mut board, now + 1_200), ["DATA 1 oldest", "DATA 2"]);
}

#[test]
fn a_host_that_asks_for_a_hello_gets_the_oldest_reading_at_once() {
    let mut board = greeted(10);
    sample(&mut board, 0);
    sent(&mut board, 0);
    for now in [1_000, 3_000, 7_000] {
        assert_eq!(sent(&mut board, now).last().unwrap(), "DATA 0 oldest", "{now}");
    }
    tell(&mut board, 8_000, 0, &Message::HelloReq);
    assert_eq!(sent(&mut board, 8_000), ["HELLO 0..1", "DATA 0 oldest"]);
    assert_eq!(board.next_wake_ms(8_000), 10_000, "the next wait is 2 s");
}

/// Acknowledged late is not lost: nothing is sent twice but the oldest.
#[test]
fn late_acknowledgements_cost_little() {
    let mut board = greeted(100);
    let mut frames = Vec::new();
    for now in (0..60_000).step_by(100) {
        if now % 1_000 == 0 && now < 50_000 {
            sample(&mut board, now);
        }
        frames.extend(sent(&mut board, now).into_iter().filter(|words| words.starts_with("DATA")));
        // Each ACK comes 1.5 s after its reading.
        if let Some(at) = now.checked_sub(1_500).filter(|at| at % 1_000 == 0) {
            ack(&mut board, now, u16::try_from(at / 1_000 + 1).unwrap());
        }
    }
    assert_eq!(board.held(), 0);
    assert!((50..=100).contains(&frames.len()), "{frames:?}");
}

#[test]
fn a_full_ring_drops_the_oldest_and_counts_it() {
    let mut board = greeted(4);
    for _ in 0..10 {
        sample(&mut board, 0);
    }
    assert_eq!((board.held(), board.dropped()), (4, 6));
    assert_eq!(sent(&mut board, 0), ["DATA 6 oldest", "DATA 7", "DATA 8", "DATA 9"]);
    tell(&mut board, 1, 0, &Message::HelloReq);
    assert_eq!(sent(&mut board, 1), ["HELLO 6..10"]);
}

#[test]
fn a_ring_of_bytes_holds_what_fits() {
    let mut board = board(Capacity::Bytes(35));
    for _ in 0..10 {
        sample(&mut board, 0);
    }
    // Each takes 5 bytes and an item of 6.
    assert_eq!((board.held(), board.dropped()), (3, 7));
}

#[test]
fn a_reading_too_long_for_a_frame_is_refused() {
    let mut buffer = [0; 300];
    let mut items = ItemWriter::new(&mut buffer);
    items.push(0, Value::Bytes(&[1; 239])).unwrap();
    let mut board = greeted(4);
    assert_eq!(board.sample(0, items.finish()), Err(NoRoom));
    assert_eq!(board.held(), 0);
}

#[test]
fn a_nak_rewinds_at_once() {
    let mut board = greeted(10);
    for _ in 0..4 {
        sample(&mut board, 0);
    }
    sent(&mut board, 0);
    assert_eq!(nak(&mut board, 5, 1), [Event::Acknowledged { first: 0, count: 1 }]);
    assert_eq!(sent(&mut board, 5), ["DATA 1 oldest", "DATA 2", "DATA 3"]);
}

#[test]
fn a_nak_for_a_dropped_reading_brings_the_oldest() {
    let mut board = greeted(2);
    for _ in 0..2 {
        sample(&mut board, 0);
    }
    sent(&mut board, 0);
    for _ in 0..2 {
        sample(&mut board, 1);
    }
    sent(&mut board, 1);
    assert_eq!(nak(&mut board, 5, 1), []);
    assert_eq!(sent(&mut board, 5), ["DATA 2 oldest", "DATA 3"]);
}

#[test]
fn what_is_not_for_this_boot_or_not_from_a_host_is_ignored() {
    let mut board = greeted(10);
    sample(&mut board, 0);
    sent(&mut board, 0);
    assert_eq!(tell(&mut board, 1, BOOT8 ^ 1, &Message::Ack(Ack { next: 1, rewind: false })), []);
    assert_eq!(ack(&mut board, 1, 2), []);
    let echo = Frame { kind: Kind::DATA, flags: 0, boot8: BOOT8, seq: 1, payload: &[0; 4] };
    board.receive(1, echo.encode(&mut [0; MAX_WIRE]).unwrap());
    board.receive(1, b"noise\0");
    let time = Message::Time { unix_ms: 1 };
    tell(&mut board, 1, 0, &time);
    assert_eq!((board.held(), sent(&mut board, 1)), (1, vec![]));
}

#[test]
fn channels_are_described_on_request() {
    let mut board = greeted(10);
    for channel in [1, 0, 2] {
        tell(&mut board, 1, 0, &Message::DescribeReq(DescribeReq { seq: 1, channel }));
    }
    assert_eq!(sent(&mut board, 1), ["DESCRIBE 1 hum", "DESCRIBE 0 temp"]);
    assert_eq!(board.schema_crc, 0xC882_1764);
}

#[test]
fn a_flood_of_questions_gets_a_bounded_number_of_answers() {
    let mut board = greeted(10);
    for seq in 0..100 {
        tell(&mut board, 1, 0, &Message::DescribeReq(DescribeReq { seq, channel: 0 }));
    }
    assert_eq!(sent(&mut board, 1).len(), ANSWERS_MAX);
}

#[test]
fn a_call_is_done_once_however_often_it_is_asked() {
    let mut board = greeted(10);
    let call = |seq, command| Message::Call(Call { seq, command, args: &[] });
    for (message, answer) in [
        (call(1, COMMAND_PING), "RESULT 1 0"),
        (call(1, COMMAND_PING), "RESULT 1 0"),
        (call(2, COMMAND_PING), "RESULT 2 0"),
        (call(3, Call::SET), "RESULT 3 2"),
        (call(4, 200), "RESULT 4 1"),
    ] {
        tell(&mut board, 1, 0, &message);
        assert_eq!(sent(&mut board, 1), [answer]);
    }
    assert_eq!(board.pings, 2);
}

#[test]
fn a_reboot_loses_what_is_held_and_says_so() {
    let mut board = greeted(10);
    sample(&mut board, 0);
    sample(&mut board, 0);
    let reboot = Message::Call(Call { seq: 9, command: Call::REBOOT, args: &[] });
    assert_eq!(tell(&mut board, 1, 0, &reboot), [Event::Rebooted { lost: 2 }]);
    assert_eq!((board.boot(), board.held()), (BOOT + 1, 0));
    assert_eq!(sent(&mut board, 1), ["RESULT 9 0", "HELLO 0..0"]);
    assert_eq!(tell(&mut board, 2, 0, &reboot), []);
    assert_eq!(sent(&mut board, 2), ["RESULT 9 0"]);
}

/// Damages each byte with the given probability.
fn damage(rng: &mut fastrand::Rng, noise: f64, bytes: &mut [u8]) {
    for byte in bytes {
        if rng.f64() < noise {
            *byte ^= rng.u8(1..);
        }
    }
}

/// One run of a board that takes `rate` readings a second for `readings` readings, until all that
/// it holds are stored. `away` says when the host is down.
fn run(board: &mut Board, host: &mut Host, readings: u32, noise: f64, away: impl Fn(u64) -> bool, seed: u64) {
    const STEP_MS: u64 = 10;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut taken = 0;
    let mut was_away = false;
    for step in 0.. {
        let now = step * STEP_MS;
        if taken < readings {
            assert_eq!(sample(board, now), taken);
            taken += 1;
        } else if board.held() == 0 {
            return;
        }
        assert!(now < 4_000_000, "{} readings are still held", board.held());
        let mut bytes = Vec::new();
        while board.transmit(now, &mut bytes) {}
        let is_away = away(now);
        if was_away && !is_away {
            host.reboot();
        }
        was_away = is_away;
        if is_away {
            continue;
        }
        damage(&mut rng, noise, &mut bytes);
        let mut replies = host.step(now, &bytes);
        damage(&mut rng, noise, &mut replies);
        board.receive(now, &replies);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_reading_is_stored_once_through_noise_and_reboots_of_the_host(
        seed in any::<u64>(), noise in 0.0..0.003, from in 0..4_000_u64, long in 0..3_000_u64,
    ) {
        let (mut board, mut host) = (board(Capacity::Readings(1000)), Host::default());
        run(&mut board, &mut host, 500, noise, |now| (from..from + long).contains(&now), seed);
        prop_assert_eq!(host.stored, (0..500).collect::<Vec<_>>());
        prop_assert_eq!((host.gaps, board.dropped()), (0, 0));
    }

    #[test]
    fn every_reading_is_stored_or_in_a_gap_when_the_ring_is_too_small(
        seed in any::<u64>(), noise in 0.0..0.003, ring in 1..100_usize,
    ) {
        let (mut board, mut host) = (board(Capacity::Readings(ring)), Host::default());
        run(&mut board, &mut host, 500, noise, |now| (1_000..3_000).contains(&now), seed);
        prop_assert!(host.stored.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(u32::try_from(host.stored.len()).unwrap() + host.gaps, 500);
        prop_assert!(host.gaps <= board.dropped(), "{} lost, {} dropped", host.gaps, board.dropped());
    }
}

#[test]
fn the_numbers_on_the_wire_may_wrap() {
    let (mut board, mut host) = (board(Capacity::Readings(100)), Host::default());
    run(&mut board, &mut host, 70_000, 0.0, |_| false, 1);
    assert_eq!(host.stored.len(), 70_000);
    assert_eq!((host.gaps, board.dropped()), (0, 0));
}
