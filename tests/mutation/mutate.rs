//! Valid packets, and what becomes of them when bits flip, pieces go missing and lengths lie.

use fastrand::Rng;

use super::packet::*;

/// One valid packet of each kind that a client has, and some that only a server has.
pub(crate) fn corpus(version: u8) -> Vec<Vec<u8>> {
    let message = [
        byte(PAYLOAD_FORMAT, 1),
        four(MESSAGE_EXPIRY, 1),
        string(CONTENT_TYPE, "text"),
        string(RESPONSE_TOPIC, "answer"),
        string(CORRELATION_DATA, "12"),
        two(TOPIC_ALIAS, 1),
        user("key", "value"),
        user("key", ""),
    ]
    .concat();
    let words = [string(REASON_STRING, "words"), user("k", "v")].concat();
    let will = Will { qos: 2, retain: true, properties: four(WILL_DELAY, 1), ..Will::new("a/will", "gone") };
    let login =
        Connect { user: Some(b"user".into()), password: Some(b"secret".into()), ..Connect::new(version, "") };
    let mut all = vec![
        login.with_will(will).bytes(),
        Publish::new(version, "a/b", "payload", 0).with_properties(&message).bytes(),
        Publish { id: 2, ..Publish::new(version, "a/b", "payload", 1) }.with_properties(&message).bytes(),
        Publish { id: 3, dup: true, ..Publish::new(version, "a/b", "payload", 2) }.bytes(),
        Publish::new(version, "a/c", "kept", 1).retained().bytes(),
        Publish::new(version, "a/c", "", 0).retained().bytes(),
        ack(PUBACK, 1),
        ack(PUBREC, 1),
        ack(PUBREL, 3),
        ack(PUBCOMP, 1),
        subscribe(
            version,
            4,
            &number(SUBSCRIPTION_ID, 300),
            &[(b"a/#", 2), (b"$share/g/a/+", 1), (b"+/b", 0)],
        ),
        unsubscribe(version, 5, &user("k", "v"), &[b"a/#", b"x"]),
        PINGREQ.to_vec(),
        disconnect(version, 4, &four(SESSION_EXPIRY, 1)),
        packet(0x20, &[0, 0, 0]),
        packet(0x90, &[0, 1, 0, 0]),
    ];
    if version == V5 {
        all.push(packet(PUBACK, &[&[0, 1, 0x10], &block(&words)[..]].concat()));
        all.push(packet(PUBREC, &[&[0, 1, 0x97], &block(&words)[..]].concat()));
        all.push(packet(AUTH, &[&[0x18], &block(&string(AUTH_METHOD, "x"))[..]].concat()));
        all.push(Publish::new(V5, "", "by alias", 0).with_properties(two(TOPIC_ALIAS, 1)).bytes());
    }
    all
}

/// A client of few names, so that sessions are taken over, resumed and discarded.
pub(crate) fn connect(rng: &mut Rng, version: u8) -> Vec<u8> {
    let mut connect = Connect::lasting(version, format!("client {}", rng.u8(..8)));
    connect.clean = rng.bool();
    if version == V5 {
        connect = connect.with_properties(two(RECEIVE_MAXIMUM, rng.u16(1..20)));
        connect = connect.with_properties(two(TOPIC_ALIAS_MAXIMUM, rng.u16(..4)));
        connect = connect.with_properties(four(MAXIMUM_PACKET_SIZE, rng.u32(30..2000)));
    }
    if rng.bool() {
        connect = connect.with_will(Will::new("a/will", "gone"));
    }
    connect.bytes()
}

/// `packet`, changed in one to four ways.
pub(crate) fn mutate(rng: &mut Rng, packet: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    for _ in 0..rng.u8(1..=4) {
        change(rng, &mut bytes, others);
    }
    // A length that fits what is there now lets the change get further in.
    if rng.bool() && bytes.len() > 2 && bytes.len() < 120 {
        bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
    }
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    if bytes.is_empty() {
        return bytes.push(rng.u8(..));
    }
    let (at, end) = (rng.usize(..bytes.len()), bytes.len());
    match rng.u8(..9) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF, b'#', b'+', b'$'][rng.usize(..8)],
        2 => bytes.truncate(at),
        3 => bytes.insert(at, rng.u8(..)),
        4 => drop(bytes.drain(at..rng.usize(at..=end))),
        5 => {
            let piece = bytes[at..rng.usize(at..=end)].to_vec();
            bytes.extend(piece);
        }
        6 => {
            let other = &others[rng.usize(..others.len())];
            bytes.truncate(at);
            bytes.extend(&other[rng.usize(..other.len())..]);
        }
        7 => {
            let length =
                [0, 1, u32::try_from(end).unwrap(), 127, 128, 16_383, 1 << 20, 268_435_455][rng.usize(..8)];
            drop(bytes.splice(1..end.min(2), variable(length)));
        }
        _ => {
            let lie = rng.u16(..).to_be_bytes();
            bytes.iter_mut().skip(at).zip(lie).for_each(|(byte, lie)| *byte = lie);
        }
    }
}
