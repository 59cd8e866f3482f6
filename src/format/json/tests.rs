use proptest::prelude::*;

use super::*;

fn read(line: &str) -> Result<Vec<(String, Value)>, Reason> {
    let decoded = Decoder::default().decode(line.as_bytes())?;
    Ok(decoded.values.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

fn one(value: &str) -> Result<Value, Reason> {
    read(&format!("{{\"a\":{value}}}")).map(|mut values| values.remove(0).1)
}

#[test]
fn numbers_keep_their_digits() {
    for (text, mantissa, exponent) in [
        ("23.45", 2345, -2),
        ("0", 0, 0),
        ("-5", -5, 0),
        ("1.50", 150, -2),
        ("0.001", 1, -3),
        ("-0.5", -5, -1),
        ("1e3", 1, 3),
        ("1.5E-2", 15, -3),
        ("2.5e+1", 25, 0),
        ("9223372036854775807", i64::MAX, 0),
        ("-9223372036854775808", i64::MIN, 0),
    ] {
        assert_eq!(one(text), Ok(Value::Decimal { mantissa, exponent }), "{text}");
    }
}

#[test]
fn what_is_no_plain_number_stays_json() {
    for (text, kept) in [
        ("9223372036854775808", "9223372036854775808"),
        ("-0", "-0"),
        ("-0.0", "-0.0"),
        ("1e99", "1e99"),
        ("1e999999999999999999999", "1e999999999999999999999"),
        ("0.00000000000000000001", "0.00000000000000000001"),
        ("{ \"b\" : [ 1.10 , \" \\\" { \" ] }", "{\"b\":[1.10,\" \\\" { \"]}"),
        ("[]", "[]"),
        ("[ \"\\\\\" , 1 ]", "[\"\\\\\",1]"),
    ] {
        assert_eq!(one(text), Ok(Value::Json(kept.into())), "{text}");
    }
}

#[test]
fn other_values_are_what_they_are() {
    assert_eq!(one("null"), Ok(Value::Null));
    assert_eq!(one("true"), Ok(Value::Bool(true)));
    assert_eq!(one("false"), Ok(Value::Bool(false)));
    assert_eq!(one("\"o\\u006b \\\"\""), Ok(Value::Text("ok \"".into())));
}

#[test]
fn order_and_names_are_kept() {
    let values = read(" {\"b\":1, \"Temp °C\":2,\t\"a\\u0007b\":3} ").unwrap();
    assert_eq!(values.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "Temp °C", "a_b"]);
}

#[test]
fn the_device_key_names_the_device_and_is_no_channel() {
    let mut decoder = Decoder::new(Some("id"));
    let mut decode = |line: &str| {
        let decoded = decoder.decode(line.as_bytes())?;
        Ok((decoded.device, decoded.values.len()))
    };
    assert_eq!(decode(r#"{"id":"shed","a":1}"#), Ok((Some("shed".into()), 1)));
    assert_eq!(decode(r#"{"a":1,"id":7}"#), Ok((Some("7".into()), 1)));
    assert_eq!(decode(r#"{"a":1}"#), Ok((None, 1)));
    assert_eq!(decode(r#"{"id":"shed"}"#), Err(Reason::Empty));
    assert_eq!(decode(r#"{"id":null,"a":1}"#), Err(Reason::Device));
    assert_eq!(decode(r#"{"id":1,"id":2,"a":1}"#), Err(Reason::Duplicate));
}

#[test]
fn every_fault_has_its_reason() {
    let many: Vec<_> = (0..=CHANNELS_MAX).map(|i| format!("\"c{i}\":1")).collect();
    let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
    for (line, reason) in [
        (String::new(), Reason::NotObject),
        ("boot ok".into(), Reason::NotObject),
        ("[1]".into(), Reason::NotObject),
        ("{\"a\":1".into(), Reason::Syntax),
        ("{\"a\":1}}".into(), Reason::Syntax),
        ("{\"a\":01}".into(), Reason::Syntax),
        ("{\"a\":nan}".into(), Reason::Syntax),
        ("{\"a\":\"\\ud800\"}".into(), Reason::Syntax),
        ("{}".into(), Reason::Empty),
        ("{\"a\":1,\"a\":2}".into(), Reason::Duplicate),
        ("{\"a\\u0001\":1,\"a_\":2}".into(), Reason::Duplicate),
        (format!("{{{}}}", many.join(",")), Reason::TooMany),
        ("{\"\":1}".into(), Reason::Name),
        (format!("{{\"{}\":1}}", "n".repeat(NAME_MAX + 1)), Reason::Name),
        (format!("{{\"a\":\"{}\"}}", "t".repeat(TEXT_MAX + 1)), Reason::ValueTooLong),
        (format!("{{\"a\":[\"{}\"]}}", "t".repeat(FRAGMENT_MAX)), Reason::ValueTooLong),
        (format!("{{\"a\":{}}}", "1".repeat(FRAGMENT_MAX + 1)), Reason::ValueTooLong),
        (format!("{{\"a\":{deep}}}"), Reason::TooDeep),
    ] {
        assert_eq!(read(&line), Err(reason), "{line}");
    }
    assert_eq!(Decoder::default().decode(b"{\"a\":\"\xff\"}"), Err(Reason::NotUtf8));
}

#[test]
fn names_are_shared_between_readings() {
    let mut decoder = Decoder::default();
    let mut name = || decoder.decode(b"{\"a\":1}").unwrap().values.remove(0).0;
    assert!(Arc::ptr_eq(&name(), &name()));
}

proptest! {
    #[test]
    fn any_bytes_give_a_reading_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Decoder::default().decode(&bytes);
        let object = [b"{\"a\":", &bytes[..], b"}"].concat();
        let _ = Decoder::default().decode(&object);
    }

    #[test]
    fn a_decimal_equals_the_number_that_was_sent(mantissa: i64, exponent in -18i8..=18) {
        let text = format!("{mantissa}e{exponent}");
        prop_assert_eq!(one(&text), Ok(Value::Decimal { mantissa, exponent }));
    }

    #[test]
    fn compact_text_means_the_same(value in nested()) {
        let spaced = serde_json::to_string_pretty(&value).unwrap();
        let Ok(Value::Json(kept)) = one(&spaced) else { panic!("not kept: {spaced}") };
        prop_assert_eq!(&*kept, serde_json::to_string(&value).unwrap());
    }
}

/// A small object or array, nested a few deep.
fn nested() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(serde_json::Value::from),
        "[a\"\\\\ {}\n]{0,6}".prop_map(serde_json::Value::from),
    ];
    let inner = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a-z ]{1,4}", inner), 0..3)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec(inner, 0..3).prop_map(serde_json::Value::from)
}
