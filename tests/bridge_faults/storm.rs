//! 200 faults in a row of random ones, while devices go on to talk.
//!
//! Some sites have a broker that misbehaves, the others a bad link to a good broker (mosquitto). The
//! bridge tries again after about a second, so many sites suffer at the same time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serialgate::mqtt::packet::{ConnAck, Reason};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::broker::Broker;
use crate::manners::{Acks, End, How, Manners, Pings, Voice};
use crate::proxy::{Proxy, Trouble};
use crate::site::Site;
use crate::support::log::Arrived;
use crate::support::{Cloud, Log};
use crate::{MACHINE, PATIENCE, wanted};

/// Sites of each kind.
const SITES: usize = 5;
/// Faults that each site suffers: 200 in all.
const FAULTS: usize = 20;
/// Readings per second of each device.
const RATE: u32 = 20;
/// The bridge's window, in messages.
const WINDOW: u64 = 500;

/// What came of it at one site.
struct Tally {
    cuts: u64,
    readings: u64,
    copies: u64,
}

fn seed() -> u64 {
    std::env::var("BRIDGE_FAULTS_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap())
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// Manners of a connection that ends, badly. On every third something is acknowledged: a bridge that gets
/// no further looks for a message that the broker does not like, which takes its time and is not the
/// matter here.
fn bad_manners(number: usize, rng: &mut Rng) -> Manners {
    let progress = number.is_multiple_of(3);
    if !progress && rng.u8(0..8) == 0 {
        let reason = [Reason::BUSY, Reason::BAD_LOGIN, Reason(0x88), Reason::QUOTA][rng.usize(0..4)];
        return Manners { answer: ConnAck::new(reason, false), ..Manners::default() };
    }
    let after = rng.u16(u16::from(progress)..40);
    let unacknowledged = rng.u16(0..=after - u16::from(progress));
    // There is room for what is not acknowledged and some more, or the end would never come.
    let receive_maximum = unacknowledged + rng.u16(4..100);
    let answer = ConnAck { receive_maximum, ..ConnAck::new(Reason::SUCCESS, rng.bool()) };
    let voice = if rng.u8(0..6) == 0 { Voice::Bytes(millis(rng, 0..3)) } else { Voice::Plain };
    let acks = match rng.u8(0..8) {
        // Once: it slows the bridge down for long.
        _ if progress => Acks::Good,
        _ if number == FAULTS / 2 => Acks::NotNow(Reason::QUOTA, rng.usize(1..30)),
        0 => Acks::Late { first: millis(rng, 1..300), more: millis(rng, 0..3) },
        1 => Acks::Reversed(rng.usize(2..20)),
        2 => Acks::AllBut(rng.usize(0..30)),
        3 => Acks::Strangers,
        _ => Acks::Good,
    };
    let how = match rng.u8(0..8) {
        0 | 1 => How::Close,
        2 => How::Reset,
        3 => How::ResetInPacket,
        4 => How::Disconnect([Reason::BUSY, Reason::SHUTTING_DOWN, Reason::TAKEN_OVER][rng.usize(0..3)]),
        5 => How::Say((0..rng.usize(1..40)).map(|_| rng.u8(0xF1..)).chain([0]).collect()),
        6 => How::Welcome,
        _ => How::Freeze(millis(rng, 10..500)),
    };
    let end = Some(End { after: after.into(), unacknowledged: unacknowledged.into(), how });
    Manners { answer, voice, acks, pings: Pings::Answered, end }
}

fn trouble(rng: &mut Rng) -> Trouble {
    match rng.u8(0..9) {
        0 => Trouble::Cut,
        1 | 2 => Trouble::Reset,
        3 => Trouble::BlackHole(millis(rng, 20..600)),
        4 => Trouble::Stall(millis(rng, 20..600)),
        5 => Trouble::Delay { by: millis(rng, 10..200), time: millis(rng, 100..600) },
        6 => Trouble::Dribble(millis(rng, 100..600)),
        7 => Trouble::Refuse(millis(rng, 20..1000)),
        _ if rng.bool() => Trouble::HalfCloseNear,
        _ => Trouble::HalfCloseFar,
    }
}

/// A site whose broker misbehaves.
async fn at_a_bad_broker(name: String, mut rng: Rng) -> Tally {
    let broker = Broker::start((0..FAULTS).map(|number| bad_manners(number, &mut rng))).await;
    let site = Site::start(&name, broker.address, |_| {});
    site.feed(RATE, site.until("all faults", PATIENCE, |_| broker.is_good_again())).await;
    site.until_empty(PATIENCE).await;
    let cuts = broker.connections() as u64 - 1;
    Tally::of(&site, "broker", cuts, &broker.readings())
}

/// A site whose link is bad. Gives how many connections were cut.
async fn at_a_bad_link(name: String, cloud: SocketAddr, mut rng: Rng) -> (Site, u64) {
    let link = Proxy::to(cloud);
    let site = Site::start(&name, link.address, |_| {});
    let suffering = async {
        let mut cuts = 0;
        for _ in 0..FAULTS {
            let delivered = site.status().delivered;
            site.until("flow", PATIENCE, |site| site.status().delivered > delivered).await;
            sleep(millis(&mut rng, 0..100)).await;
            cuts += u64::from(link.suffer(trouble(&mut rng)).await);
        }
        cuts
    };
    let cuts = site.feed(RATE, suffering).await;
    site.until_empty(PATIENCE).await;
    (site, cuts)
}

impl Tally {
    fn of(site: &Site, kind: &str, cuts: u64, arrived: &[Arrived]) -> Self {
        let copies = site.check(arrived, &BTreeSet::new());
        assert!(copies <= WINDOW * cuts, "{}: {copies} copies after {cuts} cuts", site.name);
        let readings = site.ids().len() as u64;
        println!("{:8} {kind:6} {FAULTS:6} {cuts:4} {readings:8} {copies:6}", site.name);
        Self { cuts, readings, copies }
    }
}

#[tokio::test]
async fn two_hundred_random_faults_lose_nothing() {
    if !wanted("storm") {
        return;
    }
    let _here = MACHINE.read().await;
    let (start, seed) = (Instant::now(), seed());
    println!("BRIDGE_FAULTS_SEED={seed}\nsite     at a   faults cuts readings copies");
    let mut rng = Rng::with_seed(seed);
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let address = SocketAddr::from(([127, 0, 0, 1], cloud.port));
    let (mut brokers, mut links) = (JoinSet::new(), JoinSet::new());
    for site in 0..SITES {
        brokers.spawn(at_a_bad_broker(format!("bad-{site}"), rng.fork()));
        links.spawn(at_a_bad_link(format!("far-{site}"), address, rng.fork()));
    }
    let mut tallies = Vec::new();
    while let Some(tally) = brokers.join_next().await {
        tallies.push(tally.unwrap());
    }
    while let Some(site) = links.join_next().await {
        let (site, cuts) = site.unwrap();
        // What mosquitto has acknowledged is on its way to the log.
        site.until("the log", PATIENCE, |site| log.has(&site.ids())).await;
        tallies.push(Tally::of(&site, "link", cuts, &log.readings()));
    }
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    println!(
        "{} faults, {} cuts: {} readings, 0 lost, {} copies; {:.0} s",
        FAULTS * tallies.len(),
        sum(|tally| tally.cuts),
        sum(|tally| tally.readings),
        sum(|tally| tally.copies),
        start.elapsed().as_secs_f64()
    );
}
