//! What the files of the corpus hold: a few dozen entries of all kinds, in the commits in which they
//! were written. Once a file is released, what is said here of its entries must not change; a newer
//! file may hold more.

use serialgate::reading::{
    Body, Epoch, Event, EventKind, Expiry, GapReason, Loss, Message, MessageId, Properties, Reading, Stamp,
    Uid, Value, Whose,
};
use std::sync::Arc;
use uuid::Uuid;

/// Position and body, as the queue takes them.
pub(crate) type Entries = Vec<(u64, Arc<Body>)>;

const GATEWAY: Uuid = Uuid::from_u128(0x6ba7_b810_9dad_41d1_80b4_00c0_4fd4_30c8);

/// All commits, in order.
pub(crate) fn commits() -> Vec<Entries> {
    let kinds =
        [vec![typed(0, 1)], boards(), every_value(), json(), events(), messages(), losses(), expiring()];
    let mut position = 41;
    kinds
        .into_iter()
        .enumerate()
        .map(|(commit, bodies)| {
            let numbered = bodies.into_iter().enumerate().map(|(i, body)| {
                // Holes, as they are left by entries that were delivered before the commit.
                position += if i % 7 == 3 { 3 } else { 1 };
                (position, Arc::new(body))
            });
            let numbered = numbered.collect();
            position += commit as u64;
            numbered
        })
        .collect()
}

fn decimal(mantissa: i64, exponent: i8) -> Value {
    Value::Decimal { mantissa, exponent }
}

fn reading(device: &str, id: MessageId, seq: u64, at: Stamp, values: Vec<(&str, Value)>) -> Body {
    let values = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
    Body::Reading(Reading { device: device.into(), id, seq, at, values })
}

fn typed(board: u8, seq: u32) -> Body {
    let uid = Uid::new(&[0x30, 0xae, 0xa4, 0x10, 0, 0, board, 0x77]).unwrap();
    let moved = i64::from(seq);
    let values = vec![
        ("temp", decimal(2150 + moved + i64::from(board) * 40, -2)),
        ("hum", decimal(412 - moved % 3, -1)),
        ("pressure", decimal(101_325 + moved * 2, 0)),
        ("door", Value::Bool(seq.is_multiple_of(5))),
    ];
    let at = Stamp::this_boot(60_000_000 + i64::from(seq) * 1_000_000 + i64::from(board) * 1_300);
    let id = MessageId::Board { uid, boot: 0x2a, seq };
    reading(&format!("greenhouse-{board:02x}77"), id, seq.into(), at, values)
}

fn boards() -> Vec<Body> {
    (2..14).flat_map(|seq| (0..3).map(move |board| typed(board, seq))).collect()
}

fn every_value() -> Vec<Body> {
    let uid = Uid::new(&[7]).unwrap();
    let id = |seq| MessageId::Board { uid: uid.clone(), boot: u32::MAX, seq };
    let scalars = vec![
        ("null", Value::Null),
        ("yes", Value::Bool(true)),
        ("least", decimal(i64::MIN, -18)),
        ("most", decimal(i64::MAX, 18)),
        ("nan", Value::F32(f32::from_bits(0x7fc0_1234))),
        ("minus_zero", Value::F32(-0.0)),
        ("signalling", Value::F64(f64::from_bits(0xfff0_0000_0000_0001))),
        ("pi", Value::F64(std::f64::consts::PI)),
    ];
    let texts = vec![
        ("text", Value::Text("Grüße, 世界 \"quoted\"\n".into())),
        ("none", Value::Text("".into())),
        ("bytes", Value::Bytes([0, 1, 0xfe, 0xff].into())),
        ("no_bytes", Value::Bytes([].into())),
        ("json", Value::Json(r#"{"a":[1,2,{"b":null}]}"#.into())),
        ("", Value::Null),
    ];
    let wall = |estimated| Epoch::Wall { estimated };
    vec![
        reading("all", id(u32::MAX), u64::MAX, Stamp::this_boot(i64::MIN), scalars),
        reading("all", id(0), 0, Stamp { epoch: Epoch::Boot(9), us: i64::MAX }, texts.clone()),
        reading("all", id(5), 3, Stamp { epoch: wall(false), us: 1_790_000_000_000_000 }, texts),
        reading("all", id(4), 4, Stamp { epoch: wall(true), us: -1 }, vec![]),
        reading("all", id(4), 4, Stamp::this_boot(0), vec![("twice", Value::Null), ("twice", decimal(5, 0))]),
    ]
}

fn json() -> Vec<Body> {
    let one = |n: u64| {
        let values = vec![("t", decimal(234 + i64::try_from(n % 4).unwrap(), -1)), ("rssi", decimal(-71, 0))];
        let at = Stamp::this_boot(99_000_000 + i64::try_from(n).unwrap() * 500_171);
        reading("shed", MessageId::Gateway { boot: GATEWAY, n }, n, at, values)
    };
    (0..12).map(one).collect()
}

fn events() -> Vec<Body> {
    let gap = |reason| EventKind::Gap {
        device: "greenhouse-0077".into(),
        from_seq: 3,
        to_seq: u64::MAX,
        lost: 17,
        reason,
    };
    let reasons =
        [GapReason::Device, GapReason::Full, GapReason::Expired, GapReason::Corrupt, GapReason::Refused];
    let kinds = reasons.map(gap).into_iter().chain([
        EventKind::Quarantine { path: "queue.db.damaged-1".into(), reason: "malformed".into() },
        EventKind::Port { path: "/dev/ttyUSB0".into(), state: "open".into() },
        EventKind::Bridge { name: "cloud".into(), state: "connected".into(), reason: None },
        EventKind::Bridge {
            name: "cloud".into(),
            state: "disconnected".into(),
            reason: Some("reset".into()),
        },
    ]);
    let event = |(n, kind)| {
        let id = MessageId::Gateway { boot: GATEWAY, n };
        Body::Event(Event { id, at: Stamp::this_boot(120_000_000), kind })
    };
    (100..).zip(kinds).map(event).collect()
}

fn losses() -> Vec<Body> {
    let device = Whose::Device { device: "shed".into(), from_seq: 7, to_seq: u64::MAX };
    let wall = Stamp { epoch: Epoch::Wall { estimated: true }, us: -5 };
    let spans = [None, Some((Stamp { epoch: Epoch::Boot(4), us: i64::MIN }, wall))];
    let whose = [device, Whose::Topic("sensors/esp32/temp".into()), Whose::Unknown];
    let lost = whose
        .into_iter()
        .zip([spans[0], spans[1], None])
        .map(|(of, span)| EventKind::Lost(Loss { of, span, lost: 3, reason: GapReason::Full }));
    let salvage = EventKind::Salvage { path: "queue.db.damaged-1".into(), recovered: 41, lost: u64::MAX };
    let event = |(n, kind)| {
        let id = MessageId::Gateway { boot: GATEWAY, n };
        Body::Event(Event { id, at: Stamp::this_boot(121_000_000), kind })
    };
    (200..).zip(lost.chain([salvage])).map(event).collect()
}

fn messages() -> Vec<Body> {
    let properties = Properties {
        content_type: Some("application/json".into()),
        response_topic: Some("answers/1".into()),
        correlation_data: Some([0, 0xff, 7].as_slice().to_vec().into()),
        is_utf8_payload: true,
        user: vec![("id".into(), "a".into()), ("id".into(), "".into())],
    };
    let message = |topic: &str, payload: Vec<u8>, qos, retain, properties| {
        let (topic, payload) = (topic.into(), payload.into());
        Body::Message(Message { topic, payload, qos, retain, properties, expiry: None })
    };
    vec![
        message("sensors/esp32/temp", b"23.5".to_vec(), 1, false, Properties::default()),
        typed(1, 14),
        message("sensors/esp32/raw", (0..=255).collect(), 2, true, properties),
        message("", vec![], 0, false, Properties::default()),
        message("sensors/esp32/long", b"0123456789".repeat(60), 1, false, Properties::default()),
    ]
}

/// Between messages that never expire.
fn expiring() -> Vec<Body> {
    let mut bodies = messages();
    let at = |epoch, us| Stamp { epoch, us };
    let times = [
        (Stamp::this_boot(122_000_000), 60),
        (Stamp::this_boot(122_000_001), u32::MAX),
        (at(Epoch::Boot(4), i64::MAX), 0),
        (at(Epoch::Wall { estimated: true }, -1), 3600),
        (Stamp::this_boot(122_500_000), 60),
    ];
    for (place, (since, after_s)) in times.into_iter().enumerate() {
        let (topic, payload) = ("sensors/esp32/valve".into(), b"open".to_vec().into());
        let (qos, properties) = (u8::try_from(place % 3).unwrap(), Properties::default());
        let expiry = Some(Expiry { since, after_s });
        bodies.insert(
            place * 2,
            Body::Message(Message { topic, payload, qos, retain: false, properties, expiry }),
        );
    }
    bodies
}
