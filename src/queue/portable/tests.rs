use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::reading::{GapReason, Loss, Whose};

fn at_wall(stamp: Stamp) -> Wall {
    match stamp.epoch {
        Epoch::Wall { estimated } => Wall { unix_us: stamp.us, estimated },
        _ => Wall { unix_us: stamp.us + 1_000_000, estimated: true },
    }
}

fn line(body: &Body) -> String {
    write(body, at_wall).unwrap().get().to_owned()
}

fn reason(line: &str) -> String {
    read(line).unwrap_err().to_string()
}

fn reading() -> Reading {
    Reading {
        device: "greenhouse-6677".into(),
        id: MessageId::Board { uid: Uid::new(&[0, 17, 34]).unwrap(), boot: 42, seq: 1234 },
        seq: 1234,
        at: Stamp::this_boot(5),
        values: vec![
            ("temp".into(), Value::Decimal { mantissa: 2340, exponent: -2 }),
            ("door".into(), Value::Bool(true)),
            ("none".into(), Value::Null),
        ],
    }
}

#[test]
fn a_line_reads_as_documented() {
    assert_eq!(
        line(&Body::Reading(reading())),
        r#"{"kind":"reading","v":1,"device":"greenhouse-6677","id":"001122-2a/1234","seq":1234,"unix_us":1000005,"estimated":true,"values":[["temp","decimal","23.40"],["door","bool",true],["none","null",null]]}"#
    );
    let message = Message {
        topic: "sensors/a".into(),
        payload: Bytes::from_static(b"on"),
        qos: 1,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    };
    assert_eq!(
        line(&Body::Message(message)),
        r#"{"kind":"message","v":1,"topic":"sensors/a","payload":"on","qos":1,"retain":false}"#
    );
    let event = Event {
        id: MessageId::Gateway { boot: Uuid::nil(), n: 7 },
        at: Stamp { epoch: Epoch::Wall { estimated: false }, us: 3 },
        kind: EventKind::Bridge { name: "cloud".into(), state: "connected".into(), reason: None },
    };
    assert_eq!(
        line(&Body::Event(event)),
        r#"{"kind":"event","v":1,"id":"00000000-0000-0000-0000-000000000000/7","unix_us":3,"estimated":false,"event":{"bridge":{"name":"cloud","state":"connected","reason":null}}}"#
    );
}

#[test]
fn the_times_in_an_event_are_those_of_the_wall() {
    let span = Some((Stamp::this_boot(5), Stamp { epoch: Epoch::Boot(3), us: 6 }));
    let loss = Loss { of: Whose::Unknown, span, lost: 1, reason: GapReason::Full };
    let id = MessageId::Gateway { boot: Uuid::nil(), n: 7 };
    let body = Body::Event(Event { id, at: Stamp::this_boot(7), kind: EventKind::Lost(loss) });
    let Body::Event(Event { kind: EventKind::Lost(loss), .. }) = read(&line(&body)).unwrap() else {
        panic!()
    };
    let wall = |us| Stamp { epoch: Epoch::Wall { estimated: true }, us };
    assert_eq!(loss.span, Some((wall(1_000_005), wall(1_000_006))));
    let foreign = line(&body).replace("\"epoch\":4294967294", "\"epoch\":3");
    assert_eq!(reason(&foreign), "a time in `event` does not count from 1970");
}

#[test]
fn what_is_wrong_is_said() {
    let good = line(&Body::Reading(reading()));
    assert!(read(&good).is_ok());
    for (from, to, expected) in [
        ("\"v\":1", "\"v\":2", "version 2 is newer than this program knows (1)"),
        ("\"v\":1", "\"v\":0", "there is no version 0"),
        ("\"v\":1,", "", "it has no version `v`"),
        ("\"seq\":1234,", "", "missing field `seq`"),
        ("\"seq\"", "\"sqe\"", "unknown field `sqe`"),
        ("reading", "raeding", "unknown variant `raeding`"),
        ("greenhouse-6677", "Green/house", "device \"Green/house\" is no name for topics"),
        ("001122-2a/1234", "001122-2A/1234", "id \"001122-2A/1234\" is none of ours"),
        ("001122-2a/1234", "001122-2a/01234", "is none of ours"),
        ("001122-2a/1234", "nonsense", "is none of ours"),
        ("23.40", "023.40", "value of \"temp\" is not of its type: Decimal"),
        ("\"23.40\"", "23.40", "value of \"temp\" is not of its type: Decimal"),
        ("\"null\",null", "\"null\"", "not an entry"),
    ] {
        let line = good.replace(from, to);
        assert_ne!(line, good, "{from}");
        assert!(reason(&line).contains(expected), "{line}: {}", reason(&line));
    }
    assert!(reason("").starts_with("not an entry: "));
    for message in [
        r#"{"kind":"message","v":1,"topic":"a/#","payload":"","qos":1,"retain":false}"#,
        r#"{"kind":"message","v":1,"topic":"a","payload":"","qos":3,"retain":false}"#,
        r#"{"kind":"message","v":1,"topic":"a","qos":1,"retain":false}"#,
        r#"{"kind":"message","v":1,"topic":"a","payload_base64":"*","qos":1,"retain":false}"#,
        r#"{"kind":"message","v":1,"topic":"a","payload":"","qos":1,"retain":false,"response_topic":"+"}"#,
        r#"{"kind":"message","v":1,"topic":"a","payload":"","qos":1,"retain":false,"user":[["a\u0000","b"]]}"#,
        r#"{"kind":"reading","v":1,"device":"a","id":"00-1/1","seq":1,"unix_us":0,"estimated":false,"values":[["j","json","{"]]}"#,
    ] {
        assert!(read(message).is_err(), "{message}");
    }
}

fn id() -> impl Strategy<Value = MessageId> {
    let board = (prop::collection::vec(any::<u8>(), 1..=16), any::<u32>(), any::<u32>())
        .prop_map(|(uid, boot, seq)| MessageId::Board { uid: Uid::new(&uid).unwrap(), boot, seq });
    let gateway = (any::<u128>(), any::<u64>())
        .prop_map(|(boot, n)| MessageId::Gateway { boot: Uuid::from_u128(boot), n });
    prop_oneof![board, gateway]
}

fn stamps() -> impl Strategy<Value = Stamp> {
    (any::<i64>(), any::<bool>()).prop_map(|(us, estimated)| Stamp { epoch: Epoch::Wall { estimated }, us })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (any::<i64>(), any::<i8>()).prop_map(|(mantissa, exponent)| Value::Decimal { mantissa, exponent }),
        (-20..20i64, -20..20i8).prop_map(|(mantissa, exponent)| Value::Decimal { mantissa, exponent }),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<Vec<u64>>().prop_map(|list| Value::Json(serde_json::to_string(&list).unwrap().into())),
    ]
}

fn loss_of() -> impl Strategy<Value = Whose> {
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(from_seq, to_seq)| Whose::Device {
            device: "a".into(),
            from_seq,
            to_seq
        }),
        any::<String>().prop_map(|topic| Whose::Topic(topic.into())),
        Just(Whose::Unknown),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let values = prop::collection::vec((any::<String>().prop_map(Into::into), value()), 0..6);
    let reading = ("[a-z0-9_-]{1,64}", id(), any::<u64>(), stamps(), values).prop_map(
        |(device, id, seq, at, values)| Body::Reading(Reading { device: device.into(), id, seq, at, values }),
    );
    let kind = prop_oneof![
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(from_seq, to_seq, lost)| EventKind::Gap {
            device: "a".into(),
            from_seq,
            to_seq,
            lost,
            reason: GapReason::Purged,
        }),
        (loss_of(), prop::option::of((stamps(), stamps())), any::<u64>()).prop_map(|(of, span, lost)| {
            EventKind::Lost(Loss { of, span, lost, reason: GapReason::Full })
        }),
        any::<(String, String)>().prop_map(|(path, reason)| EventKind::Quarantine { path, reason }),
        any::<(String, String)>().prop_map(|(path, state)| EventKind::Port { path, state }),
        any::<(String, String, Option<String>)>().prop_map(|(name, state, reason)| EventKind::Bridge {
            name,
            state,
            reason
        }),
    ];
    let event = (id(), stamps(), kind).prop_map(|(id, at, kind)| Body::Event(Event { id, at, kind }));
    let text = "[^\\x00]{0,10}";
    let properties =
        (
            prop::option::of(text.prop_map(Into::into)),
            prop::option::of("[a-z/]{1,10}".prop_map(Into::into)),
            prop::option::of(any::<Vec<u8>>().prop_map(Bytes::from)),
            any::<bool>(),
            prop::collection::vec((text.prop_map(Into::into), text.prop_map(Into::into)), 0..3),
        )
            .prop_map(|(content_type, response_topic, correlation_data, is_utf8_payload, user)| {
                Properties { content_type, response_topic, correlation_data, is_utf8_payload, user }
            });
    let payload = prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)];
    let expiry = proptest::option::of((any::<i64>(), any::<u32>()).prop_map(|(us, after_s)| Expiry {
        since: Stamp { epoch: Epoch::Wall { estimated: after_s % 2 == 0 }, us },
        after_s,
    }));
    let message = ("[a-z/]{1,10}", payload, 0..3u8, any::<bool>(), properties, expiry).prop_map(
        |(topic, payload, qos, retain, properties, expiry)| {
            let (topic, payload) = (topic.into(), payload.into());
            Body::Message(Message { topic, payload, qos, retain, properties, expiry })
        },
    );
    prop_oneof![4 => reading, 1 => event, 2 => message]
}

/// Numbers that are not numbers are not equal to themselves, so what is compared is every bit.
fn bits(body: &Body) -> Vec<u8> {
    postcard::to_stdvec(body).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(body in body()) {
        let line = line(&body);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(bits(&read(&line).unwrap()), bits(&body), "{}", line);
    }

    #[test]
    fn any_line_is_an_entry_or_an_error(text: String, body in body(), at: prop::sample::Index, with: char) {
        let _ = read(&text);
        let line = line(&body);
        let harmed: String = {
            let at = at.index(line.chars().count());
            line.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect()
        };
        let _ = read(&harmed);
    }
}
