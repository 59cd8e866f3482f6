mod any;
mod carried;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::bridge::alive::KEEP_ALIVE;
use crate::mqtt::packet::{Ack, PacketId, Version, Will};
use crate::reading::{Body, Event, EventKind, MessageId, Stamp};

const SECOND: Duration = Duration::from_secs(1);

fn row(position: u64) -> Taken {
    let kind = EventKind::Port { path: "p".into(), state: "open".into() };
    let id = MessageId::Gateway { boot: uuid::Uuid::nil(), n: position };
    let body = Body::Event(Event { id, at: Stamp::this_boot(0), kind });
    Taken { position, body: Arc::new(body), late: false }
}

/// Rows of one message.
fn rows(positions: impl IntoIterator<Item = u64>) -> Rows {
    let mut rows = positions.into_iter().map(row);
    let mut all = Rows::from(rows.next().unwrap());
    rows.for_each(|row| all.push(row));
    all
}

fn message(payload: impl Into<Bytes>) -> Publish {
    Publish::new("t", payload, Qos::AtLeastOnce, false)
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: "c".into(),
        clean_start: true,
        keep_alive_s: 30,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: None,
        password: None,
        will: Some(Will { message: Publish::new("w", "offline", Qos::AtLeastOnce, true), delay_s: 0 }),
    }
}

/// A session and the broker's codec on its other side.
struct Pair {
    session: Session,
    broker: Codec,
    now: Instant,
    outcomes: Vec<Outcome>,
}

impl Pair {
    fn new(version: Version) -> Self {
        let now = Instant::now();
        let session = Session::new(connect(version), now).unwrap();
        let mut pair = Self { session, broker: Codec::server(1 << 20), now, outcomes: Vec::new() };
        let [Packet::Connect(_)] = &pair.sent()[..] else { panic!("no CONNECT") };
        pair
    }

    fn opened(version: Version, answer: ConnAck) -> Self {
        let mut pair = Self::new(version);
        pair.say(&Packet::ConnAck(Box::new(answer))).unwrap();
        assert!(pair.session.is_open());
        pair
    }

    fn open() -> Self {
        Self::opened(Version::V5, ConnAck::new(Reason::SUCCESS, false))
    }

    /// What the session has written since the last call.
    fn sent(&mut self) -> Vec<Packet> {
        let mut bytes = self.session.output().split();
        self.session.wrote(self.now, &mut self.outcomes);
        std::iter::from_fn(|| self.broker.decode(&mut bytes).unwrap()).collect()
    }

    fn published(&mut self) -> Vec<(Option<u16>, Publish)> {
        let publishes = self.sent().into_iter().map(|packet| match packet {
            Packet::Publish(publish) => (publish.id.map(PacketId::get), *publish),
            other => panic!("{other:?}"),
        });
        publishes.collect()
    }

    fn say(&mut self, packet: &Packet) -> Result<(), Lost> {
        let mut bytes = BytesMut::new();
        self.broker.encode(packet, &mut bytes).unwrap();
        self.session.receive(&mut bytes, self.now, &mut self.outcomes)
    }

    fn ack(&mut self, id: u16, reason: Reason) {
        self.say(&Packet::PubAck(Ack { id: PacketId::new(id).unwrap(), reason })).unwrap();
    }

    fn send(&mut self, position: u64) {
        self.session.send_rows(row(position).into(), message("x"), self.now).unwrap();
    }

    fn delivered(&mut self) -> Vec<u64> {
        let outcomes = self.outcomes.drain(..).map(|outcome| match outcome {
            Outcome::Delivered(rows) => rows.first().position,
            other => panic!("{other:?}"),
        });
        outcomes.collect()
    }

    /// At most `max` of the rows to be sent again.
    fn kept(&mut self, max: usize) -> Vec<Taken> {
        let kept = std::iter::from_fn(|| self.session.take_kept()).take(max);
        kept.flat_map(|rows| rows.iter().cloned().collect::<Vec<_>>()).collect()
    }

    fn pass(&mut self, time: Duration) -> Result<(), Lost> {
        self.now += time;
        self.session.on_time(self.now)
    }
}

/// The rows that go back to the queue at the end.
fn back(session: Session) -> Vec<u64> {
    match session.end(true).left {
        Left::Back(all) => all.iter().flat_map(|(rows, _)| rows.iter().map(|row| row.position)).collect(),
        Left::Stay { .. } => panic!("they stay with the session"),
    }
}

fn word(payload: &str) -> Word {
    Word { topic: "w".into(), qos: Qos::AtLeastOnce, payload: payload.to_owned().into() }
}

fn limited(limit: impl FnOnce(&mut ConnAck)) -> ConnAck {
    let mut answer = ConnAck::new(Reason::SUCCESS, false);
    limit(&mut answer);
    answer
}

// === Handshake ===

#[test]
fn nothing_is_sent_before_the_broker_accepts() {
    let mut pair = Pair::new(Version::V5);
    assert_eq!(pair.session.room(), 0);
    pair.session.post_word(Subject::Gateway, word("online"));
    assert_eq!(pair.session.send_words(1, pair.now), []);
    assert!(pair.session.send_rows(row(1).into(), message("x"), pair.now).is_err());
    assert_eq!(pair.sent(), []);
}

#[test]
fn every_way_to_say_no_has_its_reason() {
    let refusal = |reason| Packet::ConnAck(Box::new(ConnAck::new(reason, false)));
    for (version, packet, expected) in [
        (Version::V5, refusal(Reason::UNSUPPORTED_VERSION), Lost::Version(Version::V5)),
        (Version::V3, refusal(Reason::UNSUPPORTED_VERSION), Lost::Version(Version::V3)),
        (Version::V5, refusal(Reason::BAD_LOGIN), Lost::Refused(Reason::BAD_LOGIN, None)),
        (Version::V3, refusal(Reason::NOT_AUTHORIZED), Lost::Refused(Reason::NOT_AUTHORIZED, None)),
        (Version::V5, refusal(Reason(0x9C)), Lost::Refused(Reason(0x9C), None)),
        (Version::V5, Packet::Disconnect(Disconnect::new(Reason::BUSY)), Lost::Refused(Reason::BUSY, None)),
        (Version::V5, Packet::PingResp, Lost::Unexpected("a packet before CONNACK")),
    ] {
        assert_eq!(Pair::new(version).say(&packet), Err(expected), "{packet:?}");
    }
}

#[test]
fn an_old_broker_refuses_version_5_in_its_own_words() {
    let mut pair = Pair::new(Version::V5);
    let mut bytes = BytesMut::from(&[0x20, 0x02, 0x00, 0x01][..]);
    let answer = pair.session.receive(&mut bytes, pair.now, &mut pair.outcomes);
    assert_eq!(answer, Err(Lost::Version(Version::V5)));
}

#[test]
fn a_broker_that_does_not_answer_is_given_up() {
    let mut pair = Pair::new(Version::V5);
    assert_eq!(pair.session.deadline(), pair.now + CONNACK_WITHIN);
    assert_eq!(pair.pass(CONNACK_WITHIN - SECOND), Ok(()));
    assert_eq!(pair.pass(SECOND), Err(Lost::NoConnAck(CONNACK_WITHIN)));
}

#[test]
fn a_second_connack_ends_the_connection() {
    let mut pair = Pair::open();
    let again = Packet::ConnAck(Box::new(ConnAck::new(Reason::SUCCESS, false)));
    assert!(matches!(pair.say(&again), Err(Lost::Unexpected(_))));
}

// === Limits of the broker ===

#[test]
fn the_window_is_the_smaller_of_ours_and_the_brokers() {
    for (version, theirs, expected) in [
        (Version::V5, u16::MAX, usize::from(WINDOW)),
        (Version::V5, 20, 20),
        (Version::V5, 1, 1),
        (Version::V3, u16::MAX, usize::from(WINDOW_V3)),
    ] {
        let mut pair = Pair::opened(version, limited(|answer| answer.receive_maximum = theirs));
        for position in 0..expected as u64 {
            assert!(pair.session.room() > 0, "{theirs}: {position}");
            pair.send(position);
        }
        assert_eq!(pair.session.room(), 0, "{theirs}");
        let id = pair.published()[0].0.unwrap();
        pair.ack(id, Reason::SUCCESS);
        assert_eq!(pair.session.room(), 1, "{theirs}");
    }
}

#[test]
fn large_messages_fill_the_window_by_their_bytes() {
    let mut pair = Pair::open();
    let mut sent = 0;
    while pair.session.room() > 0 {
        pair.session.send_rows(row(sent).into(), message(vec![0; 200_000]), pair.now).unwrap();
        pair.sent();
        sent += 1;
    }
    assert_eq!(sent, 6);
    pair.ack(1, Reason::SUCCESS);
    assert!(pair.session.room() > 0);
}

#[test]
fn a_socket_that_takes_nothing_stops_the_encoding() {
    let mut pair = Pair::open();
    while pair.session.room() > 0 {
        pair.session.send_rows(row(0).into(), message(vec![0; 1000]), pair.now).unwrap();
    }
    assert!(pair.session.output().len() < OUTPUT_BYTES + 1100);
    assert!(pair.session.in_flight() < usize::from(WINDOW));
    pair.sent();
    assert!(pair.session.room() > 0);
}

#[test]
fn an_oversize_row_is_given_back_and_the_rest_flows() {
    let mut pair = Pair::opened(Version::V5, limited(|answer| answer.maximum_packet_size = Some(60)));
    pair.send(1);
    let oversize = pair.session.send_rows(row(2).into(), message(vec![b'x'; 100]), pair.now).unwrap_err();
    assert_eq!(oversize.0.position, 2);
    assert!(matches!(oversize.1, CodecError::TooLarge { limit: 60, .. }), "{:?}", oversize.1);
    pair.send(3);
    assert_eq!(pair.session.in_flight(), 2);
    let ids: Vec<_> = pair.published().into_iter().map(|(id, _)| id.unwrap()).collect();
    ids.iter().for_each(|id| pair.ack(*id, Reason::SUCCESS));
    assert_eq!(pair.delivered(), [1, 3]);
}

#[test]
fn where_only_qos_0_is_taken_a_row_is_done_when_the_socket_has_it() {
    let mut pair = Pair::opened(Version::V5, limited(|answer| answer.maximum_qos = Qos::AtMostOnce));
    pair.send(1);
    pair.send(2);
    assert_eq!((pair.session.in_flight(), pair.outcomes.len()), (2, 0));
    let sent = pair.published();
    assert!(sent.iter().all(|(id, publish)| id.is_none() && publish.qos == Qos::AtMostOnce), "{sent:?}");
    assert_eq!(pair.delivered(), [1, 2]);
    assert_eq!(pair.session.in_flight(), 0);
}

#[test]
fn rows_go_with_the_qos_that_they_have_as_far_as_the_broker_takes_it() {
    const LEVELS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
    for most in LEVELS {
        let mut pair = Pair::opened(Version::V5, limited(|answer| answer.maximum_qos = most));
        for (position, qos) in (0..).zip(LEVELS) {
            pair.session
                .send_rows(row(position).into(), Publish::new("t", "x", qos, true), pair.now)
                .unwrap();
        }
        let sent: Vec<_> = pair.published().into_iter().map(|(_, publish)| publish.qos).collect();
        assert_eq!(sent, LEVELS.map(|qos| qos.min(most)));
    }
}

#[test]
fn nothing_is_retained_where_the_broker_does_not() {
    let mut pair = Pair::opened(Version::V5, limited(|answer| answer.retain_available = false));
    pair.session.post_word(Subject::Gateway, word("online"));
    assert_eq!(pair.session.send_words(9, pair.now), []);
    pair.session.send_rows(row(0).into(), Publish::new("t", "x", Qos::AtLeastOnce, true), pair.now).unwrap();
    let sent = pair.published();
    assert_eq!(sent.len(), 1);
    assert!(!sent[0].1.retain);
}

// === Topic aliases ===

/// Topic and number of what was sent.
fn names(pair: &mut Pair) -> Vec<(String, Option<u16>)> {
    let name = |(_, publish): (_, Publish)| (publish.topic.to_string(), publish.topic_alias.map(Into::into));
    pair.published().into_iter().map(name).collect()
}

fn on(topic: &str, payload: &str) -> Publish {
    Publish::new(topic, payload.to_owned(), Qos::AtLeastOnce, false)
}

#[test]
fn topics_get_numbers_where_the_broker_takes_them_anew_on_each_connection() {
    for (offered, expected) in
        [(0, [("topic", None), ("topic", None)]), (9, [("topic", Some(1)), ("", Some(1))])]
    {
        for _ in 0..2 {
            let mut pair = Pair::opened(Version::V5, limited(|answer| answer.topic_alias_maximum = offered));
            for position in 0..2 {
                pair.session.send_rows(row(position).into(), on("topic", "x"), pair.now).unwrap();
            }
            assert_eq!(names(&mut pair), expected.map(|(topic, alias)| (topic.to_owned(), alias)));
        }
    }
}

#[test]
fn a_number_that_did_not_get_out_is_introduced_by_the_next_message() {
    let mut pair = Pair::opened(
        Version::V5,
        limited(|answer| (answer.topic_alias_maximum, answer.maximum_packet_size) = (9, Some(30))),
    );
    let mut send = |payload| pair.session.send_rows(row(0).into(), on("topic", payload), pair.now).is_ok();
    // 12 bytes of header and topic; with a number 3 more.
    let sent = ["much too large for this broker", "just without one..", "x", "x"].map(&mut send);
    assert_eq!(sent, [false, true, true, true]);
    let expected = [("topic", None), ("topic", Some(1)), ("", Some(1))];
    assert_eq!(names(&mut pair), expected.map(|(topic, alias)| (topic.to_owned(), alias)));
}

// === Acknowledgements ===

#[test]
fn a_row_is_done_only_at_its_own_puback() {
    let mut pair = Pair::open();
    (1..=3).for_each(|position| pair.send(position));
    let ids: Vec<_> = pair.published().into_iter().map(|(id, _)| id.unwrap()).collect();
    pair.ack(ids[2], Reason::SUCCESS);
    assert_eq!(pair.delivered(), [3]);
    pair.ack(ids[2], Reason::SUCCESS);
    pair.ack(4711, Reason::SUCCESS);
    assert_eq!(pair.delivered(), [0; 0]);
    pair.ack(ids[0], Reason::NO_SUBSCRIBERS);
    assert_eq!(pair.delivered(), [1]);
    assert_eq!(back(pair.session), [2]);
}

#[test]
fn refusals_for_now_are_sent_again_and_refusals_for_good_are_not() {
    for (code, for_now) in
        [(0x80, true), (0x83, true), (0x91, true), (0x87, false), (0x90, false), (0x99, false)]
    {
        let mut pair = Pair::open();
        pair.send(1);
        pair.published();
        pair.ack(1, Reason(code));
        if for_now {
            let vague = matches!(code, 0x80 | 0x83);
            let failed = vague.then_some(Outcome::Failed(1)).into_iter().collect::<Vec<_>>();
            assert_eq!(pair.outcomes, failed, "{code:#x}");
            assert_eq!(pair.session.room(), 0, "{code:#x}");
            pair.pass(SECOND).unwrap();
            assert_eq!(pair.kept(9), [row(1)], "{code:#x}");
        } else {
            assert_eq!(pair.outcomes, [Outcome::RowRefused(row(1), Reason(code))]);
            assert_eq!(pair.session.room(), usize::from(WINDOW));
        }
    }
}

#[test]
fn a_broker_in_trouble_is_left_alone_for_longer_each_time() {
    let mut pair = Pair::open();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        pair.send(1);
        let (id, _) = pair.published()[0];
        pair.ack(id.unwrap(), Reason::FAILED);
        let until = pair.session.deadline();
        pauses.push((until - pair.now).as_millis());
        pair.pass(until - pair.now).unwrap();
        assert_eq!(pair.kept(9).len(), 1);
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
    pair.send(1);
    let (id, _) = pair.published()[0];
    pair.ack(id.unwrap(), Reason::SUCCESS);
    pair.send(2);
    let (id, _) = pair.published()[0];
    pair.ack(id.unwrap(), Reason::FAILED);
    assert_eq!((pair.session.deadline() - pair.now).as_millis(), 500);
}

#[test]
fn a_broker_over_its_quota_says_so_once_for_all_that_it_had_and_nothing_waits() {
    let mut pair = Pair::open();
    (0..3).for_each(|position| pair.send(position));
    pair.published();
    (1..=2).for_each(|id| pair.ack(id, Reason::QUOTA));
    assert_eq!(pair.outcomes, [Outcome::TooMuch(Reason::QUOTA)]);
    let kept = pair.kept(9);
    assert_eq!(kept, [row(0), row(1)]);
    for row in kept {
        pair.session.send_rows(row.into(), message("x"), pair.now).unwrap();
    }
    pair.published();
    // Sent before the first refusal, and after it.
    pair.ack(3, Reason::QUOTA);
    pair.ack(4, Reason::QUOTA);
    assert_eq!(pair.outcomes, [const { Outcome::TooMuch(Reason::QUOTA) }; 2]);
}

#[test]
fn kept_rows_come_again_in_their_order() {
    let mut pair = Pair::open();
    (0..5).for_each(|position| pair.send(position));
    pair.published();
    for id in [4, 1, 3] {
        pair.ack(id, Reason::QUOTA);
    }
    pair.pass(SECOND).unwrap();
    let positions: Vec<_> = pair.kept(2).iter().map(|row| row.position).collect();
    assert_eq!(positions, [0, 2]);
    assert_eq!(pair.kept(2), [row(3)]);
}

#[test]
fn a_refused_batch_is_sent_again_in_halves_down_to_the_row_that_is_refused() {
    let mut pair = Pair::open();
    let (mut to_send, mut delivered, mut refused) = (vec![rows(0..10)], Vec::new(), Vec::new());
    while let Some(rows) = to_send.pop() {
        let poisoned = rows.iter().any(|row| row.position == 7);
        pair.session.send_rows(rows, message("x"), pair.now).unwrap();
        let (id, _) = pair.published()[0];
        pair.ack(id.unwrap(), if poisoned { Reason(0x99) } else { Reason::SUCCESS });
        for outcome in pair.outcomes.drain(..) {
            match outcome {
                Outcome::Delivered(rows) => delivered.extend(rows.iter().map(|row| row.position)),
                Outcome::RowRefused(row, _) => refused.push(row.position),
                other => panic!("{other:?}"),
            }
        }
        to_send.extend(pair.session.take_kept());
    }
    assert_eq!((delivered, refused), (vec![0, 1, 2, 3, 4, 5, 6, 8, 9], vec![7]));
}

#[test]
fn a_batch_that_is_too_large_is_sent_in_halves_and_a_row_that_is_so_given_back() {
    let mut pair = Pair::opened(Version::V5, limited(|answer| answer.maximum_packet_size = Some(100)));
    let payload = |rows: &Rows| "x".repeat(60 * rows.count());
    let first = rows([1, 2]);
    let large = payload(&first);
    pair.session.send_rows(first, message(large), pair.now).unwrap();
    for position in [1, 2] {
        let half = pair.session.take_kept().unwrap();
        assert_eq!(half, rows([position]));
        let small = payload(&half);
        pair.session.send_rows(half, message(small), pair.now).unwrap();
    }
    assert_eq!((pair.published().len(), pair.session.take_kept()), (2, None));
}

// === Words ===

#[test]
fn words_are_retained_and_one_per_subject_is_in_flight() {
    let mut pair = Pair::open();
    for payload in ["1", "2"] {
        pair.session.post_word(Subject::Gateway, word(payload));
    }
    assert_eq!(pair.session.send_words(9, pair.now), []);
    pair.session.post_word(Subject::Gateway, word("3"));
    assert_eq!(pair.session.send_words(9, pair.now), []);
    let sent = pair.published();
    let [(Some(id), publish)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((&publish.payload[..], publish.retain, publish.qos), (&b"2"[..], true, Qos::AtLeastOnce));
    pair.ack(*id, Reason::SUCCESS);
    assert_eq!(pair.session.send_words(9, pair.now), []);
    assert_eq!(pair.published()[0].1.payload, "3");
    assert_eq!(pair.outcomes, []);
}

#[test]
fn a_refused_word_is_told_and_the_next_one_goes_all_the_same() {
    let mut pair = Pair::open();
    pair.session.post_word(Subject::Gateway, word("1"));
    pair.session.send_words(9, pair.now);
    pair.published();
    pair.ack(1, Reason::NOT_AUTHORIZED);
    assert_eq!(pair.outcomes, [Outcome::WordRefused("w".into(), Reason::NOT_AUTHORIZED)]);
    pair.session.post_word(Subject::Gateway, word("2"));
    pair.session.send_words(9, pair.now);
    assert_eq!(pair.published()[0].1.payload, "2");
}

#[test]
fn words_and_rows_share_a_window_of_one() {
    let mut pair = Pair::opened(Version::V5, limited(|answer| answer.receive_maximum = 1));
    let mut order = String::new();
    for position in 0..6 {
        pair.session.post_word(Subject::Gateway, word(&position.to_string()));
        let share = pair.session.words_share(usize::MAX);
        pair.session.send_words(share, pair.now);
        if pair.session.room() > 0 {
            pair.send(position);
        }
        for (id, publish) in pair.published() {
            order.push(if publish.retain { 'w' } else { 'r' });
            pair.ack(id.unwrap(), Reason::SUCCESS);
        }
    }
    assert_eq!(order, "wrwrwr");
}

// === Signs of life, end ===

#[test]
fn an_idle_link_is_kept_alive() {
    let mut pair = Pair::open();
    for _ in 0..10 {
        pair.pass(KEEP_ALIVE).unwrap();
        assert_eq!(pair.sent(), [Packet::PingReq]);
        pair.say(&Packet::PingResp).unwrap();
    }
    pair.pass(KEEP_ALIVE).unwrap();
    pair.sent();
    assert_eq!(pair.pass(PONG_WITHIN), Err(Lost::NoPong(PONG_WITHIN)));
}

#[test]
fn a_frozen_broker_is_noticed_by_the_missing_puback() {
    let mut pair = Pair::open();
    pair.send(1);
    pair.sent();
    for _ in 0..19 {
        assert_eq!(pair.pass(SECOND), Ok(()));
        pair.send(2);
        pair.sent();
    }
    assert_eq!(pair.pass(SECOND), Err(Lost::NoPubAck(ACK_WITHIN)));
}

#[test]
fn the_brokers_goodbye_is_told() {
    let mut pair = Pair::open();
    let end = Disconnect { reason_string: Some("bye".into()), ..Disconnect::new(Reason::TAKEN_OVER) };
    let lost = pair.say(&Packet::Disconnect(end)).unwrap_err();
    assert_eq!(
        lost.to_string(),
        "the broker ended the connection: another connection took our client id; give each gateway its own \
         (0x8e), it says \"bye\""
    );
}

#[test]
fn the_goodbye_says_offline_and_disconnects() {
    for version in [Version::V3, Version::V5] {
        let mut pair = Pair::opened(version, ConnAck::new(Reason::SUCCESS, false));
        pair.session.say_goodbye("b/g/status".into(), "offline");
        let sent = pair.sent();
        let [Packet::Publish(word), Packet::Disconnect(end)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((&*word.topic, &word.payload[..], word.retain), ("b/g/status", &b"offline"[..], true));
        assert_eq!(end.reason, Reason::SUCCESS);
    }
}

// === Everything at once ===
