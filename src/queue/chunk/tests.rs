use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use nix::time::ClockId;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::*;
use crate::reading::{
    Event, EventKind, Expiry, GapReason, Message, MessageId, Properties, Reading, Stamp, Uid, Value,
};

const BOOTS: Boots = Boots { chunk: 1, this: 1 };

fn entry(position: u64, seq: u32) -> (u64, Arc<Body>) {
    let uid = Uid::new(&[0, 1, 2, 3]).unwrap();
    let reading = Reading {
        device: "greenhouse-0203".into(),
        id: MessageId::Board { uid, boot: 42, seq },
        seq: u64::from(seq),
        at: Stamp::this_boot(-5),
        values: vec![
            ("temp".into(), Value::Decimal { mantissa: 2345, exponent: -2 }),
            ("door".into(), Value::Bool(true)),
            ("note".into(), Value::Text("ok".into())),
        ],
    };
    (position, Arc::new(Body::Reading(reading)))
}

fn entries(count: u32) -> Entries {
    (0..count).map(|i| entry(u64::from(i) + 9, i)).collect()
}

/// A chunk with another content, and check sums that are right.
fn forged(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if data.len() >= 8 {
        let crc = CRC.checksum(&data[8..]).to_le_bytes();
        data[4..8].copy_from_slice(&crc);
    }
    data
}

fn try_unpack(first: u64, codec: i64, data: &[u8]) -> Result<Entries, ChunkError> {
    unpack(first, codec, i64::from(CRC.checksum(data)), data, BOOTS)
}

/// Equal to the last bit: `==` says that NaN differs from itself and that -0 is 0.
fn assert_same(found: &Entries, expected: &Entries) {
    assert_eq!(postcard::to_stdvec(found).unwrap(), postcard::to_stdvec(expected).unwrap());
}

#[test]
fn entries_come_back_with_their_positions() {
    for positions in [vec![7], vec![7, 8, 9], vec![0, 5, 1000, 1001], vec![0, u64::MAX], vec![]] {
        let entries: Vec<_> = positions.iter().map(|p| entry(*p, (p % 1000) as u32)).collect();
        let packed = pack(&entries).unwrap();
        let first = positions.first().copied().unwrap_or(0);
        assert_eq!(unpack(first, packed.codec, packed.crc, &packed.data, BOOTS).unwrap(), entries);
    }
}

#[test]
fn positions_that_do_not_rise_are_refused() {
    for positions in [[5, 5], [5, 4], [u64::MAX, 0]] {
        let entries: Vec<_> = positions.iter().map(|p| entry(*p, 1)).collect();
        assert!(matches!(pack(&entries), Err(ChunkError::Content(_))), "{positions:?}");
    }
}

#[test]
fn a_chunk_is_known_without_its_row() {
    let entries = entries(20);
    let mut data = pack(&entries).unwrap().data;
    let bytes = data.len();
    data.extend_from_slice(b"what lay behind it on the page");
    assert_eq!(salvage(&data), Some(Salvaged { first: 9, entries, bytes }));
    for end in 0..bytes {
        assert_eq!(salvage(&data[..end]), None);
    }
    assert_eq!(salvage(&data[1..]), None);
}

#[test]
fn the_row_and_its_content_belong_together() {
    let packed = pack(&entries(3)).unwrap();
    assert!(matches!(try_unpack(8, packed.codec, &packed.data), Err(ChunkError::Content(_))));
    let long = [&packed.data[..], &[0]].concat();
    assert!(matches!(try_unpack(9, packed.codec, &long), Err(ChunkError::Content(_))));
    assert_eq!(unpack(9, 99, packed.crc, &packed.data, BOOTS), Err(ChunkError::Codec(99)));
}

#[test]
fn every_damaged_bit_is_recognised() {
    let packed = pack(&entries(50)).unwrap();
    for byte in 0..packed.data.len() {
        for bit in 0..8 {
            let mut data = packed.data.clone();
            data[byte] ^= 1 << bit;
            assert_eq!(unpack(9, packed.codec, packed.crc, &data, BOOTS), Err(ChunkError::Crc));
            assert_eq!(salvage(&data), None, "byte {byte}, bit {bit}");
        }
    }
}

/// The layout is what files are made of: it never changes under this codec.
#[test]
fn the_layout_is_as_it_is_described() {
    let message = Body::Message(Message {
        topic: "t".into(),
        payload: "hello".into(),
        qos: 1,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    });
    let data = pack(&[(300, Arc::new(message))]).unwrap().data;
    assert_eq!(data[..4], *b"SGc\x03");
    assert_eq!(data[4..8], CRC.checksum(&data[8..]).to_le_bytes());
    assert_eq!(usize::from(data[8]), data.len() - 9, "what follows");
    assert_eq!(data[9..11], [0xac, 0x02], "first position");
    assert_eq!(data[11], 1, "entries");
    assert_eq!(data[12], 6 << 1, "plain text of six bytes");
    assert_eq!(data[13..19], *b"thello");
    let event = Body::Event(Event {
        id: MessageId::Gateway { boot: Uuid::nil(), n: 1 },
        at: Stamp::this_boot(0),
        kind: EventKind::Port { path: "x".repeat(900), state: "open".into() },
    });
    let data = pack(&[(0, Arc::new(event))]).unwrap().data;
    assert!(data.len() < 100, "{}", data.len());
    assert_eq!(data[11] & 1, 1, "zstd");
}

/// A forged chunk that claims a lot costs no more than the limit, and no more time than that takes.
#[test]
fn a_bomb_is_stopped_at_the_limit() {
    // Equal readings cost less than a bit each, so a few bytes may claim millions of them.
    let data = pack(&entries(3000)).unwrap().data;
    let frame = Frame::read(&data).unwrap().0;
    let code: Cow<'_, [u8]> = [&frame.content.code[..], &[0; 100_000]].concat().into();
    let side = frame.content.side.clone();
    let bomb = Frame { first: 9, count: usize::MAX, content: Content { side, code } }.write();
    assert_eq!(try_unpack(9, CODEC, &bomb).unwrap_err(), damaged("unpacks to more than 64 MiB"));
    // A gibibyte of text that is not there.
    let mut text = pack(&[(0, Arc::new(message_of(&vec![7; 5000])))]).unwrap().data;
    assert_eq!(text[11] & 1, 1);
    text.splice(11..13, [0xff, 0xff, 0xff, 0xff, 0x07]);
    text[8] += 3;
    let error = try_unpack(0, CODEC, &forged(&text)).unwrap_err();
    assert_eq!(error, damaged("unpacks to more than 64 MiB"));
}

#[test]
fn more_than_the_limit_is_refused_and_as_much_as_the_queue_holds_is_not() {
    let large = message_of(&vec![7; UNPACKED_MAX / 2]);
    assert!(matches!(pack(&[(0, Arc::new(large))]), Err(ChunkError::Content(_))));
    let held = message_of(&vec![7; 16 * 1024 * 1024]);
    let entries = vec![(0, Arc::new(held))];
    let packed = pack(&entries).unwrap();
    assert_same(&try_unpack(0, packed.codec, &packed.data).unwrap(), &entries);
}

fn message_of(payload: &[u8]) -> Body {
    Body::Message(Message {
        topic: "t".into(),
        payload: payload.to_vec().into(),
        qos: 0,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    })
}

/// Time follows the size of what is there, whatever it is made of: a chunk in which nothing repeats
/// takes about as long per byte as any other.
#[test]
fn time_does_not_grow_faster_than_content() {
    let strange = |count: u32| -> Entries {
        let one = |i: u32| {
            let uid = Uid::new(&i.to_le_bytes()).unwrap();
            let values = (0..20).map(|c| (format!("c{}", i * 7 + c).into(), Value::Bool(c % 2 == 0)));
            let id = MessageId::Board { uid, boot: i, seq: i };
            let device = format!("d{i}").into();
            let reading = Reading { device, id, seq: 0, at: Stamp::this_boot(0), values: values.collect() };
            (u64::from(i), Arc::new(Body::Reading(reading)))
        };
        (0..count).map(one).collect()
    };
    let time = |count| {
        let entries = strange(count);
        let best = |f: &dyn Fn()| (0..3).map(|_| timed(f)).min().unwrap();
        let data = pack(&entries).unwrap().data;
        best(&|| drop(pack(&entries).unwrap())) + best(&|| drop(try_unpack(0, CODEC, &data).unwrap()))
    };
    let (small, large) = (time(200), time(3200));
    assert!(large < small * 16 * 6, "{small:?} for 200, {large:?} for 3200");
}

/// Processor time of this thread, which does not run while others do.
fn timed(f: &dyn Fn()) -> Duration {
    let now = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
    let start = now();
    f();
    now() - start
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z_]{1,8}", "\\PC{0,12}", Just("x".repeat(300))]
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -100i64..100,
        Just(i64::MIN),
        Just(i64::MAX),
        (0u32..63, -1i64..2).prop_map(|(bit, near)| (1 << bit) + near)
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let decimal = |(mantissa, exponent)| Value::Decimal { mantissa, exponent };
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (integer(), -3i8..2).prop_map(decimal),
        (integer(), any::<i8>()).prop_map(decimal),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        text().prop_map(|text| Value::Text(text.into())),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
        text().prop_map(|text| Value::Json(text.into())),
    ]
}

fn id() -> impl Strategy<Value = MessageId> {
    let seq = prop_oneof![any::<u32>(), 0u32..50, Just(u32::MAX)];
    let n = prop_oneof![any::<u64>(), 0u64..50, Just(u64::MAX)];
    let uid = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..=Uid::MAX),
        Just(vec![1]),
        Just(vec![1, 2, 3, 4]),
        Just(vec![1, 2, 3, 5])
    ];
    prop_oneof![
        (uid, 0u32..3, seq)
            .prop_map(|(uid, boot, seq)| { MessageId::Board { uid: Uid::new(&uid).unwrap(), boot, seq } }),
        (0u128..3, n).prop_map(|(boot, n)| MessageId::Gateway { boot: Uuid::from_u128(boot), n }),
    ]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let epoch = prop_oneof![4 => Just(0u32), 1 => 1u32..4, 1 => (u32::MAX - 2)..=u32::MAX];
    let us = prop_oneof![integer(), (0i64..100).prop_map(|s| s * 1_000_000)];
    (epoch, us).prop_map(|(epoch, us)| Stamp { epoch: epoch.into(), us })
}

fn reading() -> impl Strategy<Value = Body> {
    let device = prop_oneof![Just("board-0304".to_owned()), Just("board-0102".to_owned()), text()];
    let channel = prop_oneof![3 => "[a-d]", 1 => text()];
    let values = proptest::collection::vec((channel, value()), 0..5);
    let seq = prop_oneof![any::<u64>(), 0u64..50];
    (device, id(), seq, stamp(), values).prop_map(|(device, id, seq, at, values)| {
        let values = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Body::Reading(Reading { device: device.into(), id, seq, at, values })
    })
}

fn event() -> impl Strategy<Value = Body> {
    let kind = prop_oneof![
        (text(), any::<u64>(), any::<u64>()).prop_map(|(device, from_seq, to_seq)| EventKind::Gap {
            device: device.into(),
            from_seq,
            to_seq,
            lost: 3,
            reason: GapReason::Expired,
        }),
        (text(), text()).prop_map(|(path, reason)| EventKind::Quarantine { path, reason }),
        (text(), proptest::option::of(text())).prop_map(|(name, reason)| EventKind::Bridge {
            name,
            state: "connected".into(),
            reason,
        }),
    ];
    (id(), stamp(), kind).prop_map(|(id, at, kind)| Body::Event(Event { id, at, kind }))
}

fn message() -> impl Strategy<Value = Body> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let arc = |text: String| Arc::<str>::from(text);
    let maybe = move || proptest::option::of(text().prop_map(arc));
    let user = proptest::collection::vec((text().prop_map(arc), text().prop_map(arc)), 0..3);
    let properties = (maybe(), maybe(), proptest::option::of(bytes()), any::<bool>(), user);
    let properties = properties.prop_map(|(content_type, response_topic, data, is_utf8_payload, user)| {
        let correlation_data = data.map(Into::into);
        Properties { content_type, response_topic, correlation_data, is_utf8_payload, user }
    });
    let expiry =
        proptest::option::of((stamp(), any::<u32>()).prop_map(|(since, after_s)| Expiry { since, after_s }));
    (text(), bytes(), any::<u8>(), any::<bool>(), properties, expiry).prop_map(
        |(topic, payload, qos, retain, properties, expiry)| {
            let (topic, payload) = (topic.into(), payload.into());
            Body::Message(Message { topic, payload, qos, retain, properties, expiry })
        },
    )
}

fn any_entries(count: Range<usize>) -> impl Strategy<Value = Entries> {
    let body = prop_oneof![8 => reading(), 1 => event(), 1 => message()];
    let distance = prop_oneof![4 => Just(1u64), 1 => 1u64..1000];
    (0u64..1 << 62, proptest::collection::vec((distance, body), count)).prop_map(|(mut position, list)| {
        let numbered = list.into_iter().map(|(distance, body)| {
            position += distance;
            (position, Arc::new(body))
        });
        numbered.collect()
    })
}

fn resolved(entries: &Entries, boots: Boots) -> Entries {
    let resolve = |(position, body): &(u64, Arc<Body>)| {
        let mut body = Body::clone(body);
        boots.resolve(&mut body);
        (*position, Arc::new(body))
    };
    entries.iter().map(resolve).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_packed_comes_back(entries in any_entries(0..40)) {
        let boots = Boots { chunk: 2, this: 3 };
        let packed = pack(&entries).unwrap();
        let first = entries.first().map_or(0, |(position, _)| *position);
        let found = unpack(first, packed.codec, packed.crc, &packed.data, boots).unwrap();
        assert_same(&found, &resolved(&entries, boots));
        let salvaged = salvage(&packed.data).unwrap();
        assert_same(&salvaged.entries, &entries);
        prop_assert_eq!(salvaged.first, first);
        prop_assert_eq!(salvaged.bytes, packed.data.len());
    }
}

/// Mutations under check sums that are right: an error, or something else, but never a panic. What
/// can be read can be packed again.
#[test]
fn forged_chunks_do_no_harm() {
    const MUTATIONS: usize = 100_000;
    let mut runner = TestRunner::deterministic();
    let mut random = fastrand::Rng::with_seed(7);
    let mut seeds: Vec<Entries> =
        (0..40).map(|_| any_entries(1..6).new_tree(&mut runner).unwrap().current()).collect();
    seeds.push(entries(20));
    let new: Vec<Vec<u8>> = seeds.iter().map(|entries| pack(entries).unwrap().data).collect();
    let old: Vec<Vec<u8>> = seeds.iter().map(old_list).collect();
    let (mut read, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        // One in ten is of the old codecs.
        let codec = [1, 2].get(round % 20).copied().unwrap_or(CODEC);
        let mut data = if codec == CODEC { &new } else { &old }[round % seeds.len()].clone();
        if codec == 2 {
            data = zstd::bulk::compress(&data, 1).unwrap();
        }
        (0..random.usize(1..4)).for_each(|_| mutate(&mut data, &mut random));
        if codec != CODEC {
            let _ = try_unpack(0, codec, &data);
            continue;
        }
        let Some(found) = salvage(&forged(&data)) else {
            refused += 1;
            continue;
        };
        read += 1;
        if round % 16 == 0 {
            let again = pack(&found.entries).unwrap();
            assert_same(&salvage(&again.data).unwrap().entries, &found.entries);
        }
    }
    assert!(read > MUTATIONS / 50 && refused > MUTATIONS / 50, "{read} read, {refused} refused");
}

/// Entries as codec 1 had them.
fn old_list(entries: &Entries) -> Vec<u8> {
    let list: Vec<(u64, &Body)> = entries.iter().map(|(_, body)| (1, &**body)).collect();
    postcard::to_stdvec(&list).unwrap()
}

fn mutate(data: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(4..data.len().max(5)).min(data.len());
    match random.u8(0..5) {
        0 if at < data.len() => data[at] ^= 1 << random.u8(0..8),
        1 if at < data.len() => data[at] = random.u8(..),
        2 => data.truncate(at.max(9)),
        3 => data.insert(at, random.u8(..)),
        _ if at < data.len() => {
            data.remove(at);
        }
        _ => {}
    }
    // Most would end at the length; keep it right where it is one byte.
    if data.len() > 9 && data.len() - 9 < 0x80 && random.u8(0..4) > 0 {
        data[8] = u8::try_from(data.len() - 9).unwrap_or(0);
    } else if data.len() > 10 && data.len() - 10 < 0x4000 && random.u8(0..4) > 0 {
        let length = data.len() - 10;
        data[8] = u8::try_from(length & 0x7f).unwrap() | 0x80;
        data[9] = u8::try_from(length >> 7).unwrap();
    }
}
