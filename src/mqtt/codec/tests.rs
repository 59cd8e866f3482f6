use std::num::NonZeroU16;

use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::mqtt::packet::{
    Ack, ConnAck, Connect, Disconnect, PacketId, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter,
    Will,
};
use crate::reading::Properties;

const MAX: usize = 1 << 20;

/// Both ends of a connection, the server's after the CONNECT.
fn pair(version: Version) -> (Codec, Codec) {
    let mut server = Codec::server(MAX);
    server.wire = Wire::new(version);
    server.wants_words = true;
    (Codec::client(version, MAX), server)
}

fn bytes_of(codec: &mut Codec, packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    codec.encode(packet, &mut out).unwrap();
    out
}

fn id(n: u16) -> PacketId {
    NonZeroU16::new(n).unwrap()
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: "c".into(),
        clean_start: true,
        keep_alive_s: 60,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: None,
        password: None,
        will: None,
    }
}

fn texts() -> impl Strategy<Value = Arc<str>> {
    "[a-zäß€ ]{0,12}".prop_map(Arc::from)
}

fn names() -> impl Strategy<Value = Arc<str>> {
    "[a-zé$]{1,8}(/[a-z]{0,4}){0,3}".prop_map(Arc::from)
}

fn payloads() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = Qos> {
    (0_u8..3).prop_map(Qos::from)
}

fn properties() -> impl Strategy<Value = Properties> {
    let user = prop::collection::vec((texts(), texts()), 0..3);
    (prop::option::of(texts()), prop::option::of(names()), prop::option::of(payloads()), any::<bool>(), user)
        .prop_map(|(content_type, response_topic, correlation_data, is_utf8_payload, user)| Properties {
            content_type,
            response_topic,
            correlation_data,
            is_utf8_payload,
            user,
        })
}

fn messages(version: Version) -> impl Strategy<Value = Publish> {
    (names(), payloads(), qos(), any::<bool>(), prop::option::of(1_u32..), properties()).prop_map(
        move |(topic, payload, qos, retain, expiry_s, properties)| {
            let message = Publish::new(topic, payload, qos, retain);
            match version {
                Version::V3 => message,
                Version::V5 => Publish { expiry_s, properties, ..message },
            }
        },
    )
}

fn publishes(version: Version, to_server: bool) -> impl Strategy<Value = Packet> {
    let alias = prop::option::of((1_u16.., any::<bool>()));
    let ids = prop::collection::vec(1_u32..=268_435_455, 0..3);
    (messages(version), any::<bool>(), 1_u16.., alias, ids).prop_map(
        move |(message, dup, packet_id, alias, subscription_ids)| {
            let acknowledged = message.qos != Qos::AtMostOnce;
            let mut publish =
                Publish { dup: dup && acknowledged, id: acknowledged.then(|| id(packet_id)), ..message };
            if version == Version::V5 {
                if let Some((alias, replaces)) = alias {
                    publish.topic_alias = NonZeroU16::new(alias);
                    if replaces {
                        publish.topic = "".into();
                    }
                }
                if !to_server {
                    publish.subscription_ids = subscription_ids;
                }
            }
            Packet::Publish(Box::new(publish))
        },
    )
}

fn connects(version: Version) -> impl Strategy<Value = Packet> {
    let will = prop::option::of((messages(version), any::<u32>()));
    let login = prop::option::of((texts(), prop::option::of(payloads())));
    let limits = (any::<u32>(), 1_u16.., prop::option::of(1_u32..), any::<u16>());
    (texts(), any::<bool>(), any::<u16>(), limits, login, will).prop_map(
        move |(client_id, clean_start, keep_alive_s, limits, login, will)| {
            let (username, password) = login.map_or((None, None), |(name, word)| (Some(name), word));
            let will = will.map(|(message, delay_s)| Will { message, delay_s });
            let from = Connect { clean_start, keep_alive_s, username, password, will, ..connect(version) };
            Packet::Connect(Box::new(match version {
                Version::V3 => Connect {
                    client_id: if clean_start { client_id } else { "named".into() },
                    session_expiry_s: if clean_start { 0 } else { u32::MAX },
                    will: from.will.map(|will| Will { delay_s: 0, ..will }),
                    ..from
                },
                Version::V5 => Connect {
                    client_id,
                    session_expiry_s: limits.0,
                    receive_maximum: limits.1,
                    maximum_packet_size: limits.2,
                    topic_alias_maximum: limits.3,
                    ..from
                },
            }))
        },
    )
}

fn acks(version: Version) -> impl Strategy<Value = Packet> {
    let v5 = version == Version::V5;
    (1_u16.., 0_usize..4, any::<bool>()).prop_map(move |(packet_id, kind, failed)| {
        let ack =
            |reason| Ack { id: id(packet_id), reason: if v5 && failed { reason } else { Reason::SUCCESS } };
        match kind {
            0 => Packet::PubAck(ack(Reason::QUOTA)),
            1 => Packet::PubRec(ack(Reason::NO_SUBSCRIBERS)),
            2 => Packet::PubRel(ack(Reason::ID_NOT_FOUND)),
            _ => Packet::PubComp(ack(Reason::ID_NOT_FOUND)),
        }
    })
}

fn subscribes(version: Version) -> impl Strategy<Value = Packet> {
    let filter = (names(), qos(), any::<bool>(), any::<bool>(), 0_u8..3).prop_map(
        move |(filter, qos, no_local, retain_as_published, handling)| SubscribeFilter {
            filter,
            qos,
            no_local: no_local && version == Version::V5,
            retain_as_published: retain_as_published && version == Version::V5,
            retain_handling: match handling {
                1 if version == Version::V5 => RetainHandling::AtSubscribeNew,
                2 if version == Version::V5 => RetainHandling::Never,
                _ => RetainHandling::AtSubscribe,
            },
        },
    );
    let filters = prop::collection::vec(filter, 1..5);
    (1_u16.., filters, prop::option::of(1_u32..=268_435_455)).prop_map(
        move |(packet_id, filters, subscription_id)| {
            let subscription_id = subscription_id.filter(|_| version == Version::V5);
            Packet::Subscribe(Subscribe { id: id(packet_id), filters, subscription_id })
        },
    )
}

fn to_server(version: Version) -> impl Strategy<Value = Packet> {
    let unsubscribe = (1_u16.., prop::collection::vec(names(), 1..4))
        .prop_map(|(packet_id, filters)| Packet::Unsubscribe(id(packet_id), filters));
    prop_oneof![
        connects(version),
        publishes(version, true),
        acks(version),
        subscribes(version),
        unsubscribe,
        Just(Packet::PingReq),
        Just(Packet::Disconnect(Disconnect::new(Reason::SUCCESS))),
    ]
}

fn to_client(version: Version) -> impl Strategy<Value = Packet> {
    let v5 = version == Version::V5;
    let connack = (any::<bool>(), prop::option::of(texts()), 1_u16.., qos(), prop::option::of(any::<u32>()))
        .prop_map(move |(session_present, words, receive_maximum, maximum_qos, number)| {
            let plain = ConnAck::new(Reason::SUCCESS, session_present);
            Packet::ConnAck(Box::new(if v5 {
                ConnAck {
                    receive_maximum,
                    maximum_qos,
                    session_expiry_s: number,
                    maximum_packet_size: number,
                    topic_alias_maximum: receive_maximum,
                    assigned_client_id: words.clone(),
                    reason_string: words,
                    ..plain
                }
            } else {
                plain
            }))
        });
    let suback = (1_u16.., prop::collection::vec(0_u8..4, 1..5)).prop_map(|(packet_id, codes)| {
        let reasons = codes.iter().map(|&code| if code < 3 { Reason(code) } else { Reason::FAILED });
        Packet::SubAck(id(packet_id), reasons.collect())
    });
    let unsuback =
        (1_u16.., prop::collection::vec(any::<bool>(), 1..5)).prop_map(move |(packet_id, known)| {
            let reason = |&known: &bool| if known { Reason::SUCCESS } else { Reason::NO_SUBSCRIPTION };
            Packet::UnsubAck(id(packet_id), known.iter().filter(|_| v5).map(reason).collect())
        });
    prop_oneof![publishes(version, false), acks(version), connack, suback, unsuback, Just(Packet::PingResp)]
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3), Just(Version::V5)]
}

proptest! {
    #[test]
    fn what_a_client_sends_arrives_at_the_server(
        (version, packet) in versions().prop_flat_map(|v| (Just(v), to_server(v)))
    ) {
        let (mut client, mut server) = pair(version);
        let mut bytes = bytes_of(&mut client, &packet);
        prop_assert_eq!(server.decode(&mut bytes), Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn what_a_server_sends_arrives_at_the_client(
        (version, packet) in versions().prop_flat_map(|v| (Just(v), to_client(v)))
    ) {
        let (mut client, mut server) = pair(version);
        let mut bytes = bytes_of(&mut server, &packet);
        prop_assert_eq!(client.decode(&mut bytes), Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn packets_may_be_cut_anywhere(
        packets in prop::collection::vec(to_server(Version::V5), 1..4), cut in 1_usize..40
    ) {
        let (mut client, mut server) = pair(Version::V5);
        let mut whole = BytesMut::new();
        for packet in &packets {
            client.encode(packet, &mut whole).unwrap();
        }
        let (mut read, mut decoded) = (BytesMut::new(), Vec::new());
        for chunk in whole.chunks(cut) {
            read.extend_from_slice(chunk);
            while let Some(packet) = server.decode(&mut read).unwrap() {
                decoded.push(packet);
            }
        }
        prop_assert_eq!(decoded, packets);
    }

    #[test]
    fn a_packet_over_the_peers_limit_is_an_error_and_writes_nothing(
        (version, packet) in versions().prop_flat_map(|v| (Just(v), to_client(v))), limit in 0_u32..200
    ) {
        let (_, mut server) = pair(version);
        let limit_bytes = usize::try_from(limit).unwrap();
        let whole = bytes_of(&mut server, &packet).len();
        // Words give way to the limit.
        let size =
            if whole <= limit_bytes { whole } else { bytes_of(&mut server, &without_words(&packet)).len() };
        server.set_peer_maximum(limit);
        let mut out = BytesMut::from("before");
        let result = server.encode(&packet, &mut out);
        if size <= limit_bytes {
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(out.len(), size + 6);
        } else {
            prop_assert_eq!(result.map_err(|error| error.reason()), Err(Reason::TOO_LARGE));
            prop_assert_eq!(&out[..], b"before");
        }
    }
}

/// Valid traffic of one connection, to be mutated.
fn samples(version: Version, to_server: bool) -> Vec<BytesMut> {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut client, mut server) = pair(version);
    (0..60)
        .map(|_| {
            if to_server {
                let packet = self::to_server(version).new_tree(&mut runner).unwrap().current();
                bytes_of(&mut client, &packet)
            } else {
                let packet = to_client(version).new_tree(&mut runner).unwrap().current();
                bytes_of(&mut server, &packet)
            }
        })
        .collect()
}

/// A few packets with bytes changed, removed, added, or nothing but noise.
fn mutant(random: &mut fastrand::Rng, samples: &[BytesMut]) -> BytesMut {
    let mut bytes = Vec::new();
    if random.u8(..10) == 0 {
        bytes.extend((0..random.usize(..64)).map(|_| random.u8(..)));
    }
    for _ in 0..random.usize(1..4) {
        bytes.extend_from_slice(&samples[random.usize(..samples.len())]);
    }
    for _ in 0..random.usize(..6) {
        let at = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] ^= 1 << random.u8(..8),
            2 => drop(bytes.splice(at..(at + random.usize(..4)).min(bytes.len()), [])),
            _ => bytes.insert(at, random.u8(..)),
        }
        if bytes.is_empty() {
            bytes.push(0x10);
        }
    }
    BytesMut::from(&bytes[..])
}

/// Whether saying it again must give the same packet: not a refusal over 3.1.1, which has few
/// words for it, nor what this side or version does not say.
fn has_one_form(packet: &Packet) -> bool {
    match packet {
        Packet::Auth | Packet::Disconnect(_) => false,
        Packet::ConnAck(answer) => !answer.reason.is_failure(),
        _ => true,
    }
}

#[test]
fn mutated_bytes_never_panic_and_what_passes_can_be_said_again() {
    const CASES: usize = 10_000;
    let mut random = fastrand::Rng::with_seed(7);
    let mut passed = 0;
    for version in [Version::V3, Version::V5] {
        for to_server in [true, false] {
            let samples = samples(version, to_server);
            for _ in 0..CASES {
                let (client, server) = pair(version);
                let (mut sender, mut receiver) = if to_server { (client, server) } else { (server, client) };
                if to_server && random.bool() {
                    receiver = Codec::server(MAX);
                }
                let mut bytes = mutant(&mut random, &samples);
                while let Ok(Some(packet)) = receiver.decode(&mut bytes) {
                    passed += 1;
                    if receiver.version() == Some(version) && has_one_form(&packet) {
                        let mut again = bytes_of(&mut sender, &packet);
                        assert_eq!(receiver.decode(&mut again), Ok(Some(packet)));
                    }
                }
            }
        }
    }
    assert!(passed > CASES, "only {passed} packets got through: the mutations are too wild");
}

#[test]
fn a_server_learns_the_version_from_the_connect() {
    for version in [Version::V3, Version::V5] {
        let mut bytes =
            bytes_of(&mut Codec::client(version, MAX), &Packet::Connect(Box::new(connect(version))));
        let mut server = Codec::server(MAX);
        assert_eq!(server.version(), None);
        assert_eq!(server.decode(&mut bytes), Ok(Some(Packet::Connect(Box::new(connect(version))))));
        assert_eq!(server.version(), Some(version));
    }
}

#[test]
fn a_refused_version_is_answered_in_the_nearest_one() {
    for (connect, answer) in [
        (&b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00"[..], Version::V3),
        (&b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00"[..], Version::V3),
        (&b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00"[..], Version::V5),
    ] {
        let mut server = Codec::server(MAX);
        let error = server.decode(&mut BytesMut::from(connect)).unwrap_err();
        assert_eq!(error.reason(), Reason::UNSUPPORTED_VERSION);
        assert_eq!(server.version(), Some(answer));
        bytes_of(&mut server, &Packet::ConnAck(Box::new(ConnAck::new(error.reason(), false))));
    }
}

#[test]
fn size_is_refused_at_the_header_and_nothing_is_buffered_for_it() {
    let mut server = Codec::server(1000);
    let mut bytes = BytesMut::from(&b"\x10\xff\xff\xff\x7f"[..]);
    let room = bytes.capacity();
    let error = server.decode(&mut bytes).unwrap_err();
    assert_eq!(error, CodecError::TooLarge { bytes: 268_435_460, limit: 1000 });
    assert_eq!(error.reason(), Reason::TOO_LARGE);
    assert_eq!(bytes.capacity(), room);
}

#[test]
fn the_limit_counts_the_header() {
    let (mut client, mut server) = pair(Version::V3);
    let packet = Packet::Publish(Box::new(Publish::new("t", vec![0; 100], Qos::AtMostOnce, false)));
    let bytes = bytes_of(&mut client, &packet);
    server.max_packet_bytes = bytes.len();
    assert_eq!(server.decode(&mut bytes.clone()), Ok(Some(packet)));
    server.max_packet_bytes = bytes.len() - 1;
    assert!(matches!(server.decode(&mut bytes.clone()), Err(CodecError::TooLarge { .. })));
}

#[test]
fn a_payload_beyond_the_wire_format_is_refused_unread() {
    for version in [Version::V3, Version::V5] {
        let (mut client, _) = pair(version);
        let packet =
            Packet::Publish(Box::new(Publish::new("t", vec![0; MAX_PACKET_BYTES], Qos::AtMostOnce, false)));
        assert!(matches!(
            client.encode(&packet, &mut BytesMut::new()),
            Err(CodecError::TooLarge { limit: MAX_PACKET_BYTES, .. })
        ));
    }
}

#[test]
fn what_must_not_come_is_refused_with_its_reason() {
    use Reason as R;
    let v3 = Version::V3;
    let v5 = Version::V5;
    for (what, version, bytes, reason) in [
        ("filterless SUBSCRIBE", v3, &b"\x82\x02\x00\x01"[..], R::PROTOCOL_ERROR),
        ("filterless SUBSCRIBE", v5, b"\x82\x03\x00\x01\x00", R::PROTOCOL_ERROR),
        ("reserved bits beside QoS", v3, b"\x82\x06\x00\x01\x00\x01a\x04", R::MALFORMED),
        ("reserved bits in options", v5, b"\x82\x07\x00\x01\x00\x00\x01a\x40", R::MALFORMED),
        ("SUBSCRIBE with wrong flags", v5, b"\x80\x07\x00\x01\x00\x00\x01a\x00", R::MALFORMED),
        ("flags before the body is there", v5, b"\xC8\x54", R::MALFORMED),
        ("packet id 0", v3, b"\x32\x05\x00\x01a\x00\x00", R::MALFORMED),
        ("PUBACK of id 0", v5, b"\x40\x02\x00\x00", R::MALFORMED),
        ("QoS 3", v3, b"\x36\x05\x00\x01a\x00\x01", R::MALFORMED),
        ("DUP with QoS 0", v3, b"\x38\x03\x00\x01a", R::MALFORMED),
        ("DUP with QoS 0", v5, b"\x38\x04\x00\x01a\x00", R::MALFORMED),
        ("empty topic", v3, b"\x30\x02\x00\x00", R::TOPIC_INVALID),
        ("empty topic without alias", v5, b"\x30\x03\x00\x00\x00", R::PROTOCOL_ERROR),
        ("wildcard in topic", v3, b"\x30\x03\x00\x01+", R::TOPIC_INVALID),
        ("wildcard in topic", v5, b"\x30\x06\x00\x03a/#\x00", R::TOPIC_INVALID),
        ("NUL in topic", v3, b"\x30\x03\x00\x01\x00", R::MALFORMED),
        ("NUL in topic", v5, b"\x30\x04\x00\x01\x00\x00", R::MALFORMED),
        ("bad UTF-8 in topic", v5, b"\x30\x04\x00\x01\xff\x00", R::MALFORMED),
        ("wildcard in response topic", v5, b"\x30\x08\x00\x01a\x04\x08\x00\x01#", R::PROTOCOL_ERROR),
        ("subscription id from a client", v5, b"\x30\x06\x00\x01a\x02\x0b\x01", R::PROTOCOL_ERROR),
        ("CONNACK from a client", v3, b"\x20\x02\x00\x00", R::PROTOCOL_ERROR),
        ("UNSUBACK from a client", v5, b"\xb0\x04\x00\x01\x00\x00", R::PROTOCOL_ERROR),
        ("SUBACK from a client", v5, b"\x90\x04\x00\x01\x00\x00", R::PROTOCOL_ERROR),
        ("PINGRESP from a client", v5, b"\xd0\x00", R::PROTOCOL_ERROR),
        ("PINGREQ with a body", v3, b"\xc0\x01\x00", R::MALFORMED),
        ("PINGREQ with a body", v5, b"\xc0\x01\x00", R::MALFORMED),
        ("DISCONNECT with a body", v3, b"\xe0\x01\x00", R::MALFORMED),
        ("AUTH", v3, b"\xf0\x00", R::MALFORMED),
        ("type 0", v5, b"\x00\x00", R::MALFORMED),
        ("endless length", v5, b"\x30\xff\xff\xff\xff", R::MALFORMED),
    ] {
        let (_, mut server) = pair(version);
        let result = server.decode(&mut BytesMut::from(bytes));
        assert_eq!(result.map_err(|error| error.reason()), Err(reason), "{what}, {version:?}");
    }
}

#[test]
fn a_connect_that_must_not_be_is_refused_with_its_reason() {
    use Reason as R;
    for (what, bytes, reason) in [
        ("not CONNECT", &b"\xc0\x00"[..], R::PROTOCOL_ERROR),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", R::PROTOCOL_ERROR),
        ("another protocol", b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00", R::PROTOCOL_ERROR),
        ("reserved flag", b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", R::MALFORMED),
        ("v3 no id, no clean session", b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", R::CLIENT_ID),
        ("v3 password alone", b"\x10\x0f\x00\x04MQTT\x04\x42\x00\x3c\x00\x00\x00\x01p", R::MALFORMED),
        ("v3 will QoS without will", b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x3c\x00\x00", R::MALFORMED),
        ("v5 will retain without will", b"\x10\x0d\x00\x04MQTT\x05\x22\x00\x3c\x00\x00\x00", R::MALFORMED),
        ("will QoS 3", b"\x10\x12\x00\x04MQTT\x04\x1e\x00\x3c\x00\x00\x00\x01w\x00\x01m", R::MALFORMED),
        (
            "wildcard in will topic",
            b"\x10\x12\x00\x04MQTT\x04\x06\x00\x3c\x00\x00\x00\x01#\x00\x01m",
            R::TOPIC_INVALID,
        ),
        ("NUL in client id", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00", R::MALFORMED),
        (
            "authentication method",
            b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x04\x15\x00\x01x\x00\x00",
            BAD_AUTHENTICATION_METHOD,
        ),
    ] {
        let result = Codec::server(MAX).decode(&mut BytesMut::from(bytes));
        assert_eq!(result.map_err(|error| error.reason()), Err(reason), "{what}");
    }
}

#[test]
fn a_v5_client_may_leave_its_id_to_the_server_and_keep_the_session() {
    let packet = Packet::Connect(Box::new(Connect {
        client_id: "".into(),
        clean_start: false,
        session_expiry_s: 60,
        ..connect(Version::V5)
    }));
    let mut bytes = bytes_of(&mut Codec::client(Version::V5, MAX), &packet);
    assert_eq!(Codec::server(MAX).decode(&mut bytes), Ok(Some(packet)));
}

#[test]
fn return_codes_of_3_1_1_have_their_reason_codes() {
    for (code, reason) in [
        (0, Reason::SUCCESS),
        (1, Reason::UNSUPPORTED_VERSION),
        (2, Reason::CLIENT_ID),
        (3, Reason::BUSY),
        (4, Reason::BAD_LOGIN),
        (5, Reason::NOT_AUTHORIZED),
    ] {
        let (mut client, mut server) = pair(Version::V3);
        let packet = Packet::ConnAck(Box::new(ConnAck::new(reason, false)));
        let bytes = bytes_of(&mut server, &packet);
        assert_eq!(&bytes[..], [0x20, 2, 0, code]);
        assert_eq!(client.decode(&mut bytes.clone()), Ok(Some(packet)));
    }
    let (_, mut server) = pair(Version::V3);
    let quota = Packet::ConnAck(Box::new(ConnAck::new(Reason::QUOTA, true)));
    assert_eq!(&bytes_of(&mut server, &quota)[..], [0x20, 2, 0, 3], "no session with a refusal");
}

#[test]
fn a_server_says_no_disconnect_over_3_1_1() {
    let (mut client, mut server) = pair(Version::V3);
    let packet = Packet::Disconnect(Disconnect::new(Reason::SHUTTING_DOWN));
    assert!(bytes_of(&mut server, &packet).is_empty());
    assert_eq!(&bytes_of(&mut client, &packet)[..], [0xE0, 0]);
}

#[test]
fn nothing_decoded_holds_on_to_the_read_buffer() {
    let (mut client, mut server) = pair(Version::V5);
    let packet = Packet::Publish(Box::new(Publish::new("t", "p", Qos::AtMostOnce, false)));
    let mut read = BytesMut::with_capacity(4096);
    read.put_slice(&bytes_of(&mut client, &packet));
    let kept = server.decode(&mut read).unwrap();
    assert!(kept.is_some());
    assert!(read.try_reclaim(4096), "the buffer's memory is ours again");
}

/// As mqtt5 0.49 does: acknowledgements over 3.1.1 in the form of 5.0.
#[test]
fn a_server_of_3_1_1_may_put_a_reason_behind_an_acknowledgement_unless_it_says_no() {
    let id = PacketId::new(7).unwrap();
    let mut codec = Codec::client(Version::V3, 1000);
    let mut bytes = BytesMut::from(&b"\x70\x04\x00\x07\x92\x00\x40\x03\x00\x07\x10\xd0\x00"[..]);
    assert_eq!(codec.decode(&mut bytes).unwrap(), Some(Packet::PubComp(Ack::ok(id))));
    assert_eq!(codec.decode(&mut bytes).unwrap(), Some(Packet::PubAck(Ack::ok(id))));
    assert_eq!(codec.decode(&mut bytes).unwrap(), Some(Packet::PingResp));
    assert!(bytes.is_empty());
    let mut bytes = BytesMut::from(&b"\x40\x03\x00\x07\x87"[..]);
    assert!(codec.decode(&mut bytes).is_err(), "a refusal is no acknowledgement");
}
