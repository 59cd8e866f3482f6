use proptest::prelude::*;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::*;
use crate::call::{Failure, Given};
use crate::reading::{Epoch, GapReason, Properties, Stamp, Uid};

/// 2026-01-01T00:00:00.123Z
const WALL: Wall = Wall { unix_us: 1_767_225_600_123_000, estimated: false };
const TS: &str = "2026-01-01T00:00:00.123Z";
const GUESSED: Wall = Wall { estimated: true, ..WALL };

fn board_id() -> MessageId {
    let uid = Uid::new(&[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]).unwrap();
    MessageId::Board { uid, boot: 0x2a, seq: 1234 }
}

fn reading(values: Vec<(&str, Value)>) -> Reading {
    Reading {
        device: "shed".into(),
        id: board_id(),
        seq: 1234,
        at: Stamp::this_boot(0),
        values: values.into_iter().map(|(name, value)| (name.into(), value)).collect(),
    }
}

fn decimal(mantissa: i64, exponent: i8) -> Value {
    Value::Decimal { mantissa, exponent }
}

fn text_of(json: &Bytes) -> &str {
    str::from_utf8(json).unwrap()
}

/// The value that a channel's value becomes in a payload.
fn written(value: Value) -> String {
    let json = reading_json(&reading(vec![("x", value)]), WALL, false);
    let (_, rest) = text_of(&json).split_once("\"x\":").unwrap();
    rest.strip_suffix('}').unwrap().to_owned()
}

#[test]
fn a_reading_looks_as_the_design_says() {
    let reading = reading(vec![("temp", decimal(2345, -2)), ("hum", decimal(412, -1))]);
    for (wall, late, expected) in [
        (
            WALL,
            false,
            r#"{"ts":"2026-01-01T00:00:00.123Z","seq":1234,"id":"0011223344556677-2a/1234","temp":23.45,"hum":41.2}"#,
        ),
        (
            GUESSED,
            true,
            r#"{"ts":"2026-01-01T00:00:00.123Z","seq":1234,"id":"0011223344556677-2a/1234","late":true,"ts_quality":"estimated","temp":23.45,"hum":41.2}"#,
        ),
    ] {
        assert_eq!(text_of(&reading_json(&reading, wall, late)), expected);
    }
}

#[test]
fn a_reading_is_published_once_with_its_id() {
    let topics = Topics::new("serialgate", "greenhouse");
    let publish = publish(&Body::Reading(reading(vec![])), |_| WALL, false, &topics);
    assert_eq!(&*publish.topic, "serialgate/greenhouse/shed/data");
    assert_eq!((publish.qos, publish.retain, publish.id), (Qos::AtLeastOnce, false, None));
    assert_eq!(publish.properties.user, [("id".into(), "0011223344556677-2a/1234".into())]);
    assert_eq!(
        text_of(&publish.payload),
        r#"{"ts":"2026-01-01T00:00:00.123Z","seq":1234,"id":"0011223344556677-2a/1234"}"#
    );
}

#[test]
fn decimals_are_written_exactly() {
    for (mantissa, exponent, expected) in [
        (2345, -2, "23.45"),
        (2340, -2, "23.40"),
        (-5, -1, "-0.5"),
        (5, -3, "0.005"),
        (500, -3, "0.500"),
        (0, -2, "0.00"),
        (0, 5, "0"),
        (0, 0, "0"),
        (7, 0, "7"),
        (12, 3, "12000"),
        (i64::MAX, 0, "9223372036854775807"),
        (i64::MIN, 0, "-9223372036854775808"),
        (i64::MIN, -18, "-9.223372036854775808"),
        (i64::MIN, -19, "-0.9223372036854775808"),
        (1, -20, "0.00000000000000000001"),
        (-1, 18, "-1000000000000000000"),
    ] {
        assert_eq!(written(decimal(mantissa, exponent)), expected, "{mantissa}e{exponent}");
    }
}

#[test]
fn every_kind_of_value_has_its_json() {
    for (value, expected) in [
        (Value::Null, "null"),
        (Value::Bool(true), "true"),
        (Value::Bool(false), "false"),
        (Value::F32(23.45), "23.45"),
        (Value::F64(0.1), "0.1"),
        (Value::F32(f32::NAN), "null"),
        (Value::F64(f64::INFINITY), "null"),
        (Value::F64(f64::NEG_INFINITY), "null"),
        (Value::Text("plain".into()), r#""plain""#),
        (Value::Text("a\"b\\c\nd\u{1}é".into()), r#""a\"b\\c\nd\u0001é""#),
        (Value::Bytes([0, 0xab, 0xff].into()), r#""00abff""#),
        (Value::Json(r#"{"a":[1,2]}"#.into()), r#"{"a":[1,2]}"#),
    ] {
        assert_eq!(written(value.clone()), expected, "{value:?}");
    }
}

#[test]
fn channels_never_take_our_keys_nor_each_others() {
    let names = ["ts", "seq", "id", "late", "ts_quality", "seq_", "temp", "temp", "temp_2", "temp"];
    let values = names.iter().zip(0..).map(|(name, n)| (*name, decimal(n, 0))).collect();
    assert_eq!(
        text_of(&reading_json(&reading(values), WALL, false)),
        concat!(
            r#"{"ts":"2026-01-01T00:00:00.123Z","seq":1234,"id":"0011223344556677-2a/1234","#,
            r#""ts_":0,"seq_":1,"id_":2,"late_":3,"ts_quality_":4,"seq__2":5,"#,
            r#""temp":6,"temp_2":7,"temp_2_2":8,"temp_3":9}"#
        )
    );
}

#[test]
fn many_channels_of_one_name_stay_cheap_and_apart() {
    let values = (0..20_000).map(|n| ("x", decimal(n, 0))).collect();
    let json: Json = serde_json::from_slice(&reading_json(&reading(values), WALL, false)).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 20_000 + 3);
    assert_eq!(json["x_20000"], json!(19_999));
}

#[test]
fn each_event_tells_what_happened() {
    let boot = Uuid::from_u128(7);
    let tell = |kind| {
        let event = Event { id: MessageId::Gateway { boot, n: 3 }, at: Stamp::this_boot(0), kind };
        let json = event_json(&event, |_| WALL, false);
        let text = text_of(&json).to_owned();
        text.strip_prefix(
            r#"{"ts":"2026-01-01T00:00:00.123Z","id":"00000000-0000-0000-0000-000000000007/3","#,
        )
        .unwrap()
        .to_owned()
    };
    let gap =
        EventKind::Gap { device: "shed".into(), from_seq: 5, to_seq: 9, lost: 4, reason: GapReason::Expired };
    assert_eq!(
        tell(gap),
        r#""event":"gap","device":"shed","from_seq":5,"to_seq":9,"lost":4,"reason":"expired"}"#
    );
    let of = Whose::Device { device: "shed".into(), from_seq: 5, to_seq: 9 };
    let span = Some((Stamp::this_boot(1), Stamp::this_boot(2)));
    let lost = EventKind::Lost(Loss { of, span, lost: 4, reason: GapReason::Full });
    assert_eq!(
        tell(lost),
        r#""event":"gap","device":"shed","from_seq":5,"to_seq":9,"from_ts":"2026-01-01T00:00:00.123Z","to_ts":"2026-01-01T00:00:00.123Z","lost":4,"reason":"full"}"#
    );
    let topic = Loss { of: Whose::Topic("a/b".into()), span: None, lost: 3, reason: GapReason::Full };
    assert_eq!(tell(EventKind::Lost(topic)), r#""event":"gap","topic":"a/b","lost":3,"reason":"full"}"#);
    let unknown = Loss { of: Whose::Unknown, span: None, lost: 3, reason: GapReason::Corrupt };
    assert_eq!(tell(EventKind::Lost(unknown)), r#""event":"gap","lost":3,"reason":"corrupt"}"#);
    let quarantine = EventKind::Quarantine { path: "/a\"b".into(), reason: "torn".into() };
    assert_eq!(tell(quarantine), r#""event":"quarantine","path":"/a\"b","reason":"torn"}"#);
    let port = EventKind::Port { path: "/dev/ttyUSB0".into(), state: "absent".into() };
    assert_eq!(tell(port), r#""event":"port","path":"/dev/ttyUSB0","state":"absent"}"#);
    let bridge = |reason| EventKind::Bridge { name: "cloud".into(), state: "disconnected".into(), reason };
    assert_eq!(
        tell(bridge(Some("reset".into()))),
        r#""event":"bridge","name":"cloud","state":"disconnected","reason":"reset"}"#
    );
    assert_eq!(tell(bridge(None)), r#""event":"bridge","name":"cloud","state":"disconnected"}"#);
}

#[test]
fn the_time_of_a_loss_is_told_and_flagged_when_it_is_a_guess() {
    let of = Whose::Device { device: "shed".into(), from_seq: 5, to_seq: 9 };
    let (from, to) = (Stamp { epoch: Epoch::Boot(1), us: 0 }, Stamp::this_boot(1_000_000));
    let kind = EventKind::Lost(Loss { of, span: Some((from, to)), lost: 5, reason: GapReason::Expired });
    let event = Event { id: board_id(), at: Stamp::this_boot(2_000_000), kind };
    let wall = |at: Stamp| Wall { unix_us: WALL.unix_us + at.us, estimated: at.epoch != Epoch::ThisBoot };
    let json: Json = serde_json::from_slice(&event_json(&event, wall, false)).unwrap();
    assert_eq!(json["ts"], "2026-01-01T00:00:02.123Z");
    assert_eq!(json["from_ts"], "2026-01-01T00:00:00.123Z");
    assert_eq!(json["to_ts"], "2026-01-01T00:00:01.123Z");
    assert_eq!(json["ts_quality"], "estimated", "one of the three is a guess");
}

#[test]
fn an_event_from_the_disk_says_that_it_is_late() {
    let kind = EventKind::Port { path: "p".into(), state: "open".into() };
    let body = Body::Event(Event { id: board_id(), at: Stamp::this_boot(0), kind });
    let publish = publish(&body, |_| GUESSED, true, &Topics::new("b", "g"));
    assert_eq!(&*publish.topic, "b/g/event");
    assert_eq!(
        text_of(&publish.payload),
        r#"{"ts":"2026-01-01T00:00:00.123Z","id":"0011223344556677-2a/1234","late":true,"ts_quality":"estimated","event":"port","path":"p","state":"open"}"#
    );
}

#[test]
fn a_message_of_a_lan_client_is_not_touched() {
    let properties = Properties {
        content_type: Some("text/plain".into()),
        user: vec![("id".into(), "theirs".into())],
        ..Properties::default()
    };
    let message = Message {
        topic: "sensors/x".into(),
        payload: Bytes::from_static(&[0, 159, 255]),
        qos: 2,
        retain: true,
        properties: properties.clone(),
        expiry: None,
    };
    let publish = publish(&Body::Message(message), |_| WALL, true, &Topics::new("b", "g"));
    assert_eq!(&*publish.topic, "sensors/x");
    assert_eq!(publish.payload, Bytes::from_static(&[0, 159, 255]));
    assert_eq!((publish.qos, publish.retain), (Qos::ExactlyOnce, true));
    assert_eq!(publish.properties, properties);
}

#[test]
fn meta_leaves_out_what_is_unknown() {
    assert_eq!(text_of(&DeviceMeta::default().to_json()), "{}");
    let channel = |name: &str, unit: Option<&str>| ChannelMeta {
        name: name.into(),
        unit: unit.map(Into::into),
        class: None,
        writable: name == "seq",
    };
    let meta = DeviceMeta {
        firmware: Some("shed 1.2".into()),
        uid: Uid::new(&[0xde, 0xad]),
        port: Some("/dev/ttyUSB0".into()),
        channels: vec![channel("temp", Some("°C")), channel("seq", None)],
    };
    assert_eq!(
        text_of(&meta.to_json()),
        r#"{"firmware":"shed 1.2","uid":"dead","port":"/dev/ttyUSB0","channels":[{"name":"temp","unit":"°C"},{"name":"seq_","writable":true}]}"#
    );
}

#[test]
fn a_result_says_what_became_of_a_command() {
    let given = || Given::Values(vec![("relay".into(), Value::Bool(true)), ("n".into(), decimal(215, -1))]);
    let answered = |code| Answer::Declined { code, given: Given::Answer(vec![decimal(43, 0), Value::Null]) };
    let failed = |why: &str| Answer::Failed(Failure::Invalid(why.into()));
    for (answer, rest) in [
        (Answer::Done(given()), r#""status":"ok","values":{"relay":true,"n":21.5}"#),
        (Answer::Done(Given::Answer(Vec::new())), r#""status":"ok""#),
        (answered(1), r#""status":"unknown","code":1,"answer":[43,null]"#),
        (answered(2), r#""status":"refused","code":2,"answer":[43,null]"#),
        (answered(77), r#""status":"failed","code":77,"answer":[43,null]"#),
        (Answer::Sent, r#""status":"sent""#),
        (failed("no \"x\""), r#""status":"invalid","error":"no \"x\"""#),
    ] {
        let plain = text_of(&result_json(&answer, None, WALL)).to_owned();
        assert_eq!(plain, format!(r#"{{"ts":"{TS}",{rest}}}"#));
        let transaction = Value::Text("a\"1".into());
        let with = text_of(&result_json(&answer, Some(&transaction), WALL)).to_owned();
        assert_eq!(with, format!(r#"{{"ts":"{TS}","transaction":"a\"1",{rest}}}"#));
    }
    assert_eq!(line(&[]), b"{}\n");
    assert_eq!(
        line(&[("a\"".into(), decimal(1, 0)), ("b".into(), Value::Null)]),
        b"{\"a\\\"\":1,\"b\":null}\n"
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (any::<i64>(), any::<i8>()).prop_map(|(mantissa, exponent)| decimal(mantissa, exponent)),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

proptest! {
    #[test]
    fn every_reading_is_one_json_object_with_every_channel(
        values in prop::collection::vec(("[a-c_2]{0,3}|ts|seq|id|late|\\PC{0,4}", any_value()), 0..40),
        unix_us: i64,
        estimated: bool,
        late: bool,
    ) {
        let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let channels = values.len();
        let json = reading_json(&reading(values), Wall { unix_us, estimated }, late);
        let parsed: Json = serde_json::from_slice(&json).unwrap();
        let expected = 3 + usize::from(late) + usize::from(estimated) + channels;
        prop_assert_eq!(parsed.as_object().unwrap().len(), expected);
        prop_assert_eq!(&parsed["id"], &json!("0011223344556677-2a/1234"));
    }

    #[test]
    fn a_decimal_reads_back_as_the_same_number(mantissa: i64, exponent in -18_i8..=18) {
        let text = written(decimal(mantissa, exponent));
        let (sign, text) = text.strip_prefix('-').map_or((1, &*text), |rest| (-1, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        prop_assert_eq!(fraction.len(), usize::from((-exponent).max(0).unsigned_abs()));
        let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
        let expected = i128::from(mantissa) * 10_i128.pow(exponent.max(0).unsigned_abs().into());
        prop_assert_eq!(sign * digits, expected);
    }
}
