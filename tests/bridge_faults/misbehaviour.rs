//! A broker that does one thing wrong, and then no more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serialgate::mqtt::packet::{ConnAck, Reason};
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::manners::{Acks, End, How, Manners, Pings, Voice};
use crate::site::{DEVICES, Site};
use crate::{MACHINE, PATIENCE, wanted};

/// Readings of each device, there before the broker is.
const EACH: u64 = 100;
/// Readings that were taken when a connection ends.
const TAKEN: usize = 50;
/// The last of them, which were not acknowledged.
const UNACKNOWLEDGED: usize = 40;
/// The case of a broker with a receive maximum of 1.
const ONE_AT_A_TIME: &str = "takes one at a time";
/// Text of a reading that is too large for a small broker, in bytes.
const LARGE: usize = 2000;
const SECOND: Duration = Duration::from_secs(1);
/// Longer than the bridge bears silence.
const FROZEN: Duration = Duration::from_secs(55);

/// One way to misbehave, and what is to come of it.
struct Case {
    name: &'static str,
    /// Manners of the first connections; the next one is good.
    script: Vec<Manners>,
    /// Why the bridge gives these up, as its status says; `None`: the first one is good enough to stay.
    says: Option<&'static str>,
    /// So many readings at most come twice, for each connection that was given up.
    window: usize,
    refuses: Refuses,
}

/// Which readings a broker never takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refuses {
    Nothing,
    /// Every fifth one is large.
    Large,
    /// All of the second device.
    Device,
}

impl Case {
    fn of(name: &'static str, manners: Manners, says: Option<&'static str>) -> Self {
        Self { name, script: vec![manners], says, window: 0, refuses: Refuses::Nothing }
    }

    /// Takes a few readings, acknowledges some of them, and ends.
    fn ends(name: &'static str, how: How, says: &'static str) -> Self {
        // An RST overtakes acknowledgements that are on their way.
        let window = if matches!(how, How::Reset | How::ResetInPacket) { TAKEN } else { UNACKNOWLEDGED };
        Self { window, ..Self::of(name, ending(how), Some(says)) }
    }

    fn acks(name: &'static str, acks: Acks, says: Option<&'static str>) -> Self {
        Self::of(name, Manners { acks, ..Manners::default() }, says)
    }

    fn answers(name: &'static str, answer: ConnAck, says: Option<&'static str>) -> Self {
        Self::of(name, Manners { answer, ..Manners::default() }, says)
    }

    fn speaks(name: &'static str, voice: Voice, says: Option<&'static str>) -> Self {
        Self::of(name, Manners { voice, ..Manners::default() }, says)
    }

    /// How many connections there are in the end.
    fn connections(&self) -> usize {
        self.says.map_or(1, |_| self.script.len() + 1)
    }
}

fn ending(how: How) -> Manners {
    let end = End { after: TAKEN, unacknowledged: UNACKNOWLEDGED, how };
    Manners { end: Some(end), ..Manners::default() }
}

fn accepted() -> ConnAck {
    ConnAck::new(Reason::SUCCESS, false)
}

/// The broker ends the connection, or seems to.
fn ends() -> Vec<Case> {
    let closed = "the broker closed the connection";
    let all_acknowledged = End { after: TAKEN, unacknowledged: 0, how: How::Close };
    let remembers = |session_present| {
        let answer = ConnAck { session_present, ..accepted() };
        Manners { answer, ..ending(How::Close) }
    };
    vec![
        Case::of(
            "closes before it takes a reading",
            Manners { end: Some(all_acknowledged), ..Manners::default() },
            Some(closed),
        ),
        Case::ends("closes before it acknowledges", How::Close, closed),
        Case::ends("resets before it acknowledges", How::Reset, closed),
        Case::ends("resets in the middle of a PUBACK", How::ResetInPacket, closed),
        Case::ends("is busy", How::Disconnect(Reason::BUSY), "server busy (0x89)"),
        Case::ends("shuts down", How::Disconnect(Reason::SHUTTING_DOWN), "server shutting down (0x8b)"),
        Case::ends(
            "gives our client id to another",
            How::Disconnect(Reason::TAKEN_OVER),
            "another client uses our client id `serialgate-gives-our-client-id-to-another-cloud`",
        ),
        Case::ends("speaks HTTP", How::Say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n".into()), "do not take"),
        Case::ends("sends garbage", How::Say(vec![0xFF; 64]), "do not take"),
        Case::ends("sends CONNACK twice", How::Welcome, "a second CONNACK"),
        Case::ends("freezes", How::Freeze(FROZEN), "did not acknowledge a message within 20s"),
        Case {
            script: vec![ending(How::Close); 5],
            ..Case::ends("closes five times", How::Close, "perhaps another client uses our client id")
        },
        // It is a clean start: there is no session to go on with, whatever the broker thinks.
        Case {
            script: [true, true, false].map(remembers).into(),
            ..Case::ends("keeps the session, and loses it", How::Close, closed)
        },
    ]
}

/// The broker acknowledges in its own way.
fn acks() -> Vec<Case> {
    let late = Acks::Late { first: Duration::from_millis(1500), more: Duration::from_millis(30) };
    // All that it takes at once, and a few more while the bridge slows down.
    let answer = ConnAck { receive_maximum: 20, ..accepted() };
    let over_quota = Manners { answer, acks: Acks::NotNow(Reason::QUOTA, 24), ..Manners::default() };
    let refuse = Acks::Refuse("-1/data".into(), Reason::NOT_AUTHORIZED);
    vec![
        Case::acks("is late, and more and more so", late, None),
        Case::acks("acknowledges in reverse", Acks::Reversed(37), None),
        Case::acks("acknowledges what was never sent", Acks::Strangers, None),
        Case {
            window: 1,
            ..Case::acks(
                "forgets one PUBACK",
                Acks::AllBut(30),
                Some("did not acknowledge a message within 20s"),
            )
        },
        Case::of("is over its quota for a while", over_quota, None),
        Case { refuses: Refuses::Device, ..Case::acks("allows all topics but one", refuse, None) },
    ]
}

/// The broker has limits, or speaks slowly, or not at all.
fn welcomes() -> Vec<Case> {
    let small = ConnAck { maximum_packet_size: Some(1000), ..accepted() };
    let unavailable = ConnAck::new(Reason(0x88), false);
    let deaf = Manners { pings: Pings::Ignored, ..Manners::default() };
    vec![
        Case::answers(ONE_AT_A_TIME, ConnAck { receive_maximum: 1, ..accepted() }, None),
        Case { refuses: Refuses::Large, ..Case::answers("takes small packets", small, None) },
        Case::answers("is unavailable", unavailable, Some("server unavailable (0x88)")),
        // It has five bytes: with one a second it is just in time, and with one in two seconds it is not.
        Case::speaks("says CONNACK a byte a second", Voice::SlowWelcome(SECOND), None),
        Case::speaks(
            "says CONNACK a byte in two seconds",
            Voice::SlowWelcome(2 * SECOND),
            Some("did not answer CONNECT within 5s"),
        ),
        Case::speaks("says everything a byte at a time", Voice::Bytes(Duration::from_millis(2)), None),
        Case::of("never answers PINGREQ", deaf, Some("did not answer PINGREQ within 10s")),
    ]
}

/// Plays one case; gives its line of the table.
async fn play(case: Case) -> String {
    let start = Instant::now();
    let connections = case.connections();
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
    site.until("all connections", PATIENCE, |_| broker.connections() == connections).await;
    site.until("connected", PATIENCE, |site| {
        site.status().state == serialgate::status::BridgeState::Connected
    })
    .await;
    let copies = site.check(&broker.readings(), &refused);
    let cuts = connections - 1;
    assert!(copies <= (case.window * cuts) as u64, "{copies} copies after {cuts} cuts");
    if case.says.is_none() {
        // That it is over its quota may be told, and a topic that it refuses is: the connection is none the
        // worse for it.
        let errors = site.errors();
        let refused_topic = |error: &str| error.contains("does not allow publishing on");
        let harmless = |error: &str| error.contains("quota exceeded (0x97)") || refused_topic(error);
        assert!(errors.iter().all(|error| harmless(error)), "{errors:?}");
        let told = errors.iter().any(|error| refused_topic(error));
        assert_eq!(told, case.refuses == Refuses::Device, "{errors:?}");
    }
    let most = broker.most_in_flight();
    if case.name == ONE_AT_A_TIME {
        assert_eq!(most[0], 1);
    }
    let (all, refused, time) = (site.ids().len(), refused.len(), start.elapsed().as_secs_f64());
    format!("{:38} {all:8} {refused:7} {copies:6} {:11} {time:7.1} s", case.name, connections)
}

#[tokio::test]
async fn whatever_a_broker_does_wrong_everything_arrives() {
    let _here = MACHINE.read().await;
    let mut playing = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    for case in ends().into_iter().chain(acks()).chain(welcomes()).filter(|case| wanted(case.name)) {
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
