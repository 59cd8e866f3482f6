//! A broker that does one thing wrong, and then no more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serialgate::mqtt::packet::{ConnAck, Reason};
use tokio::task::JoinSet;

use crate::broker::{Acks, Broker, End, How, Manners, Pings, Voice};
use crate::site::{DEVICES, Site};
use crate::{PATIENCE, shared, wanted};

/// Readings of each device, there before the broker is.
const EACH: u64 = 100;
/// Text of a reading that is too large for a small broker, in bytes.
const LARGE: usize = 2000;
const SECOND: Duration = Duration::from_secs(1);
/// Longer than the bridge bears silence.
const FROZEN: Duration = Duration::from_secs(55);

/// One way to misbehave, and what is to come of it.
struct Case {
    name: &'static str,
    /// Manners of the first connections; later ones are good.
    script: Vec<Manners>,
    /// What the status says on the way; `None`: no word of trouble.
    says: Option<&'static str>,
    /// How many connections there are in the end.
    connections: usize,
    /// Of each connection, at most so many readings come twice.
    window: u64,
    /// Which readings are refused for good.
    refuses: Refuses,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refuses {
    Nothing,
    /// Every fifth one is large.
    Large,
    /// All of the second device.
    Device,
}

impl Case {
    /// The first connection ends so; the bridge says why, and comes back.
    fn ends(name: &'static str, end: End, says: &'static str) -> Self {
        let window = end.unacknowledged as u64;
        let manners = Manners { end: Some(end), ..Manners::default() };
        Self { window, ..Self::of(name, manners, Some(says), 2) }
    }

    /// The first CONNACK is this.
    fn answers(name: &'static str, answer: ConnAck, says: Option<&'static str>, connections: usize) -> Self {
        Self::of(name, Manners { answer, ..Manners::default() }, says, connections)
    }

    /// The first connection is acknowledged so.
    fn acks(name: &'static str, acks: Acks, says: Option<&'static str>, connections: usize) -> Self {
        Self::of(name, Manners { acks, ..Manners::default() }, says, connections)
    }

    fn of(name: &'static str, manners: Manners, says: Option<&'static str>, connections: usize) -> Self {
        Self { name, script: vec![manners], says, connections, window: 0, refuses: Refuses::Nothing }
    }
}

fn accepted() -> ConnAck {
    ConnAck::new(Reason::SUCCESS, false)
}

fn end(after: usize, unacknowledged: usize, how: How) -> End {
    End { after, unacknowledged, how }
}

fn cases() -> Vec<Case> {
    let closed = "the broker closed the connection";
    vec![
        Case::ends("closes before it takes a reading", end(50, 0, How::Close), closed),
        Case::ends("closes before it acknowledges", end(50, 40, How::Close), closed),
        Case::ends("resets before it acknowledges", end(50, 40, How::Reset), closed),
        Case::ends("resets in the middle of a PUBACK", end(50, 40, How::ResetInPacket), closed),
        Case::ends("is busy", end(50, 40, How::Disconnect(Reason::BUSY)), "server busy (0x89)"),
        Case::ends(
            "shuts down",
            end(50, 40, How::Disconnect(Reason::SHUTTING_DOWN)),
            "server shutting down (0x8b)",
        ),
        Case::ends(
            "gives our client id to another",
            end(50, 40, How::Disconnect(Reason::TAKEN_OVER)),
            "another client uses our client id `serialgate-gives-our-client-id-to-another-cloud`",
        ),
        Case::ends(
            "speaks HTTP",
            end(50, 40, How::Say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n".into())),
            "do not take",
        ),
        Case::ends("sends garbage", end(50, 40, How::Say(vec![0xFF; 64])), "do not take"),
        Case::ends("sends CONNACK twice", end(50, 40, How::Welcome), "a second CONNACK"),
        Case::ends("freezes", end(50, 40, How::Freeze(FROZEN)), "did not acknowledge a message within 20s"),
        Case {
            script: vec![Manners { end: Some(end(50, 40, How::Close)), ..Manners::default() }; 5],
            connections: 6,
            ..Case::ends("closes five times", end(50, 40, How::Close), closed)
        },
        Case::acks("is late, and more and more so", late(1500, 30), None, 1),
        Case::acks("acknowledges in reverse", Acks::Reversed(37), None, 1),
        Case::acks("acknowledges what was never sent", Acks::Strangers, None, 1),
        Case {
            window: EACH * DEVICES,
            ..Case::acks(
                "forgets one PUBACK",
                Acks::AllBut(30),
                Some("did not acknowledge a message within 20s"),
                2,
            )
        },
        Case::acks("is over its quota for a while", Acks::NotNow(Reason::QUOTA, 3), None, 1),
        Case {
            refuses: Refuses::Device,
            ..Case::acks(
                "allows all topics but one",
                Acks::Refuse("-1/data".into(), Reason::NOT_AUTHORIZED),
                None,
                1,
            )
        },
        Case::answers("takes one at a time", ConnAck { receive_maximum: 1, ..accepted() }, None, 1),
        Case {
            refuses: Refuses::Large,
            ..Case::answers(
                "takes small packets",
                ConnAck { maximum_packet_size: Some(1000), ..accepted() },
                None,
                1,
            )
        },
        // It is a clean start: there is no session to go on with, whatever the broker thinks.
        Case {
            script: [true, true, false].map(remembers).into(),
            connections: 4,
            ..Case::ends("keeps the session, and loses it", end(50, 40, How::Close), closed)
        },
        Case::answers(
            "remembers a session of somebody",
            ConnAck { session_present: true, ..accepted() },
            None,
            1,
        ),
        Case::answers(
            "is unavailable",
            ConnAck::new(Reason(0x88), false),
            Some("server unavailable (0x88)"),
            2,
        ),
        // It has five bytes: with one a second it is just in time, and with one in two seconds it is not.
        Case::of("says CONNACK a byte a second", voice(Voice::SlowWelcome(SECOND)), None, 1),
        Case::of(
            "says CONNACK a byte in two seconds",
            voice(Voice::SlowWelcome(2 * SECOND)),
            Some("did not answer CONNECT within 5s"),
            2,
        ),
        Case::of("says everything a byte at a time", voice(Voice::Bytes(Duration::from_millis(2))), None, 1),
        Case::of(
            "never answers PINGREQ",
            Manners { pings: Pings::Ignored, ..Manners::default() },
            Some("did not answer PINGREQ within 10s"),
            2,
        ),
    ]
}

/// A connection that ends before it acknowledges.
fn remembers(session_present: bool) -> Manners {
    let answer = ConnAck { session_present, ..accepted() };
    Manners { answer, end: Some(end(50, 40, How::Close)), ..Manners::default() }
}

fn late(first_ms: u64, more_ms: u64) -> Acks {
    Acks::Late { first: Duration::from_millis(first_ms), more: Duration::from_millis(more_ms) }
}

fn voice(voice: Voice) -> Manners {
    Manners { voice, ..Manners::default() }
}

/// Plays one case; gives its line of the table.
async fn play(case: Case) -> String {
    let start = Instant::now();
    let broker = Broker::start(case.script).await;
    let site = Site::start(&case.name.replace([' ', ','], "-"), broker.address, |_| {});
    let mut refused = BTreeSet::new();
    for n in 0..EACH {
        for device in 0..DEVICES {
            let large = case.refuses == Refuses::Large && n % 5 == 0;
            let id = site.push(device, if large { LARGE } else { 20 });
            if large || (case.refuses == Refuses::Device && device == 1) {
                refused.insert(id);
            }
        }
    }
    site.until_empty(PATIENCE).await;
    if let Some(words) = case.says {
        site.until(words, PATIENCE, |site| site.said(words)).await;
    }
    site.until("all connections", PATIENCE, |_| broker.connections() == case.connections).await;
    site.until("connected", PATIENCE, |site| {
        site.status().state == serialgate::status::BridgeState::Connected
    })
    .await;
    let copies = site.check(&broker.readings(), &refused);
    let cuts = case.connections as u64 - 1;
    assert!(copies <= case.window * cuts, "{copies} copies after {cuts} cuts");
    if case.says.is_none() {
        assert_eq!(site.errors(), BTreeSet::new());
    }
    let most = broker.most_in_flight();
    if case.name == "takes one at a time" {
        assert_eq!(most[0], 1);
    }
    let (all, refused, time) = (site.ids().len(), refused.len(), start.elapsed().as_secs_f64());
    format!("{:38} {all:8} {refused:7} {copies:6} {:11} {time:7.1} s", case.name, case.connections)
}

#[tokio::test]
async fn whatever_a_broker_does_wrong_everything_arrives() {
    let _here = shared();
    let mut playing = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    for case in cases().into_iter().filter(|case| wanted(case.name)) {
        let name = case.name;
        names.insert(playing.spawn(play(case)).id(), name);
    }
    let mut failed = Vec::new();
    println!("{:38} readings refused copies connections      time", "a broker that");
    while let Some(played) = playing.join_next().await {
        match played {
            Ok(line) => println!("{line}"),
            Err(error) => failed.push(names[&error.id()]),
        }
    }
    assert!(failed.is_empty(), "BRIDGE_FAULT={failed:?}: see the panics above");
}
