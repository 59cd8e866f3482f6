//! Properties of encoder and decoder over random messages, noise and cuts.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serialgate_wire::{
    Call, Class, Data, Decoder, Describe, Exponent, Frame, Hello, Int, ItemWriter, Kind, MAX_CHUNK,
    MAX_PAYLOAD, MAX_WIRE, Message, Reject, Value,
};

/// A frame that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    kind: u8,
    flags: u8,
    boot8: u8,
    seq: u16,
    payload: Vec<u8>,
}

impl Owned {
    fn wire(&self) -> Vec<u8> {
        let Self { kind, flags, boot8, seq, ref payload } = *self;
        let frame = Frame { kind: Kind::new(kind), flags, boot8, seq, payload };
        frame.encode(&mut [0; MAX_WIRE]).unwrap().to_vec()
    }
}

impl From<Frame<'_>> for Owned {
    fn from(frame: Frame<'_>) -> Self {
        let Frame { kind, flags, boot8, seq, payload } = frame;
        Self { kind: kind.number(), flags, boot8, seq, payload: payload.to_vec() }
    }
}

/// Frames of all lengths, with no zeros, few zeros and nothing but zeros.
fn any_frame() -> impl Strategy<Value = Owned> {
    let byte = prop_oneof![Just(0), 1..=255_u8];
    let payload = prop_oneof![
        vec(byte, 0..=MAX_PAYLOAD),
        vec(any::<u8>(), 0..=40),
        vec(1..=255_u8, MAX_PAYLOAD - 3..=MAX_PAYLOAD)
    ];
    (0..64_u8, any::<u8>(), any::<u8>(), any::<u16>(), payload)
        .prop_map(|(kind, flags, boot8, seq, payload)| Owned { kind, flags, boot8, seq, payload })
}

/// Values of every type. Text and bytes are leaked; a test run is short.
fn any_value() -> impl Strategy<Value = Value<'static>> {
    let int = prop_oneof![
        any::<i8>().prop_map(Int::I8),
        any::<i16>().prop_map(Int::I16),
        any::<i32>().prop_map(Int::I32),
        any::<i64>().prop_map(Int::I64),
        any::<u8>().prop_map(Int::U8),
        any::<u16>().prop_map(Int::U16),
        any::<u32>().prop_map(Int::U32),
        any::<u64>().prop_map(Int::U64),
    ];
    prop_oneof![
        (0..16_u8).prop_map(Value::None),
        any::<bool>().prop_map(Value::Bool),
        (int, -8..=7_i8).prop_map(|(int, exp)| Value::decimal(int, Exponent::new(exp).unwrap())),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        "\\PC{0,9}".prop_map(|text| Value::Text(text.leak())),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.leak())),
    ]
}

fn assert_comes_back(message: &Message<'_>) {
    let mut out = [0; MAX_WIRE];
    let wire = message.encode(7, &mut out).unwrap();
    let mut decoder = Decoder::new();
    let frame = wire.iter().find_map(|byte| match decoder.feed(*byte) {
        Some(Ok(frame)) => Some(Owned::from(frame)),
        _ => None,
    });
    let Owned { kind, flags, boot8, seq, payload } = frame.unwrap();
    let frame = Frame { kind: Kind::new(kind), flags, boot8, seq, payload: &payload };
    assert_eq!((Message::parse(&frame).as_ref(), boot8), (Ok(message), 7));
}

/// What a fresh decoder makes of `bytes`.
fn decode(bytes: &[u8]) -> (Vec<Owned>, Vec<(Reject, Vec<u8>)>) {
    let (mut frames, mut rejects, mut decoder) = (Vec::new(), Vec::new(), Decoder::new());
    for &byte in bytes {
        match decoder.feed(byte) {
            None => {}
            Some(Ok(frame)) => frames.push(frame.into()),
            Some(Err(rejected)) => rejects.push((rejected.why, rejected.bytes.to_vec())),
        }
    }
    (frames, rejects)
}

proptest! {
    #[test]
    fn frames_come_back_and_hold_no_delimiter(frame in any_frame()) {
        let wire = frame.wire();
        prop_assert_eq!(wire.len(), frame.payload.len() + 12);
        prop_assert!(!wire[1..wire.len() - 1].contains(&0));
        prop_assert_eq!(decode(&wire), (vec![frame], vec![]));
    }

    #[test]
    fn readings_come_back(
        items in vec((any::<u8>(), any_value()), 0..5), seq in any::<u16>(), t_ms in any::<u32>(),
        oldest in any::<bool>(), no_ack in any::<bool>(),
    ) {
        let mut buffer = [0; MAX_PAYLOAD - 4];
        let mut writer = ItemWriter::new(&mut buffer);
        for (channel, value) in &items {
            writer.push(*channel, *value).unwrap();
        }
        let written = writer.finish();
        let back = written.map(|item| (item.channel, item.value)).collect::<Vec<_>>();
        prop_assert_eq!(back, items);
        assert_comes_back(&Message::Data(Data { seq, oldest, no_ack, t_ms, items: written }));
    }

    #[test]
    fn hellos_descriptions_and_calls_come_back(
        n in any::<[u32; 6]>(), b in any::<[u8; 5]>(), seq in any::<u16>(), writable in any::<bool>(),
        bytes in vec(any::<u8>(), 0..60), text in "\\PC{0,20}", name in "\\PC{0,20}",
    ) {
        let [boot, uptime_ms, oldest, next, dropped, schema_crc] = n;
        let [minor, caps, rxmax, channels, class] = b;
        let (uid, firmware) = (bytes.as_slice(), text.as_str());
        assert_comes_back(&Message::Hello(Hello {
            minor, caps, boot, uptime_ms, oldest, next, dropped, rxmax, channels, schema_crc, uid, firmware,
        }));
        assert_comes_back(&Message::Describe(Describe {
            seq, channel: minor, fmt: caps, class: Class::from_number(class), writable, unit: &text,
            name: &name, more: &bytes,
        }));
        assert_comes_back(&Message::Call(Call { seq, command: minor, args: &bytes }));
        assert_comes_back(&Message::Log(&text));
    }

    #[test]
    fn a_stream_joined_or_cut_anywhere_gives_every_whole_frame(
        frames in vec(any_frame(), 1..6), start in any::<Index>(), end in any::<Index>(),
    ) {
        let wires = frames.iter().map(Owned::wire).collect::<Vec<_>>();
        let stream = wires.concat();
        let (start, end) = (start.index(stream.len()), end.index(stream.len()));
        let (start, end) = (start.min(end), start.max(end));

        let mut at = 0;
        let mut whole = Vec::new();
        for (frame, wire) in frames.iter().zip(&wires) {
            // The leading delimiter may be missing: the decoder starts in step.
            if start <= at + 1 && at + wire.len() <= end {
                whole.push(frame.clone());
            }
            at += wire.len();
        }
        prop_assert_eq!(decode(&stream[start..end]).0, whole);
    }

    #[test]
    fn the_frame_after_any_noise_is_taken(
        before in any_frame(), noise in vec(any::<u8>(), 0..600), after in any_frame(),
    ) {
        let stream = [before.wire(), noise, after.wire()].concat();
        prop_assert_eq!(decode(&stream).0, [before, after]);
    }

    #[test]
    fn text_between_frames_is_handed_out_whole(
        before in any_frame(), text in "[ -~\r\n]{1,700}", after in any_frame(),
    ) {
        let stream = [before.wire(), text.clone().into_bytes(), after.wire()].concat();
        let (frames, rejects) = decode(&stream);
        prop_assert_eq!(frames, [before, after]);
        prop_assert!(rejects.iter().all(|(_, piece)| piece.len() <= MAX_CHUNK + 1));
        let pieces = rejects.into_iter().flat_map(|(_, piece)| piece).collect();
        prop_assert_eq!(String::from_utf8(pieces).unwrap(), text);
    }

    #[test]
    fn a_damaged_frame_is_never_taken_for_another(
        frame in any_frame(), at in any::<Index>(), damage in 1..=255_u8, drop in any::<bool>(),
    ) {
        let mut wire = frame.wire();
        let at = at.index(wire.len());
        if drop {
            wire.remove(at);
        } else {
            wire[at] ^= damage;
        }
        // The next frame flushes what is left of this one.
        let next = Owned { kind: 5, flags: 0, boot8: 0, seq: 0, payload: b"next".to_vec() };
        let (frames, _) = decode(&[wire, next.wire()].concat());
        let (last, others) = frames.split_last().unwrap();
        prop_assert_eq!(last, &next);
        prop_assert!(others.iter().all(|other| *other == frame));
    }

    #[test]
    fn any_bytes_are_frames_or_rejected(
        bytes in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..800),
    ) {
        common::check_any_bytes(&bytes);
    }

    #[test]
    fn any_payload_is_parsed_or_refused(frame in any_frame()) {
        common::check_any_bytes(&frame.wire());
    }
}

#[test]
fn every_reason_to_reject_is_given() {
    let frame = Owned { kind: 5, flags: 0, boot8: 0, seq: 0, payload: b"boot".to_vec() };
    let good = frame.wire();
    let mut damaged = good.clone();
    damaged[9] ^= 1;
    let table = [
        (damaged, Reject::Crc),
        (b"hello\n\0".to_vec(), Reject::Cobs),
        (b"\x02A\0".to_vec(), Reject::TooShort),
        (b"\x02\x85\x02\x2a\x01\x09boot\xa4\x46\xaf\xc6\0".to_vec(), Reject::Version),
        ([vec![b'x'; 256], vec![0]].concat(), Reject::TooLong),
    ];
    for (bytes, why) in table {
        let (frames, rejects) = decode(&bytes);
        assert_eq!(frames, []);
        let whole = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        assert_eq!(rejects, [(why, whole)]);
    }
}
