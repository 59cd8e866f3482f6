//! The gateway is killed, again and again: while the cloud is there, while it is not, and while the
//! backlog drains.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, Slow, assert_account, compare, dropped, free_port, pause, port,
    wait_for,
};

/// How often the gateway is killed in each phase: 200 times in all.
const ONLINE: usize = 60;
const OFFLINE: usize = 60;
const DRAINING: usize = 80;
/// How long it lives, in milliseconds: some lives end before it listens, none is dull.
const LIFE_MS: std::ops::Range<u64> = 30..900;
/// How long it is gone, in milliseconds.
const GONE_MS: std::ops::Range<u64> = 0..100;
/// Readings per second of each board.
const RATE: u32 = 150;
/// What the link takes while the backlog drains, in bytes per second: so little that the backlog
/// outlasts the kills.
const NARROW: u64 = 200_000;
/// What the cloud's answer takes in half of the lives online.
const DELAY: Duration = Duration::from_millis(60);
/// The most copies that a kill in mid-drain may cause: acknowledgements that were not saved yet
/// (every 500) and readings in flight (500).
const COPIES_PER_KILL: usize = 1000;
/// How long the kills may take altogether.
const KILLS_WITHIN: Duration = Duration::from_secs(240);

/// The players.
struct Scene {
    gateway: Gateway,
    log: Log,
    kills: usize,
    /// Copies that arrived during each life, by the phase's end.
    copies: Vec<usize>,
}

impl Scene {
    fn kill(&mut self, times: usize) {
        for _ in 0..times {
            pause(Duration::from_millis(fastrand::u64(LIFE_MS)));
            if let Some(status) = self.gateway.status() {
                assert_account(&status);
            }
            self.gateway.kill();
            self.kills += 1;
            let copies = self.log.copies();
            self.copies.push(copies);
            pause(Duration::from_millis(fastrand::u64(GONE_MS)));
            self.gateway.resume();
        }
    }

    /// Copies per life since kill number `from`: most, and on average.
    fn copies_since(&self, from: usize) -> (usize, usize) {
        let before = from.checked_sub(1).map_or(0, |before| self.copies[before]);
        let here = &self.copies[from..];
        let mut last = before;
        let most = here.iter().map(|copies| copies - std::mem::replace(&mut last, *copies)).max();
        (most.unwrap_or_default(), (last - before) / here.len().max(1))
    }

    fn tell(&self, phase: &str, from: usize) {
        let (most, mean) = self.copies_since(from);
        let kills = self.kills - from;
        eprintln!("{kills} kills {phase}: {mean} copies per kill, at most {most}");
    }
}

fn board(dir: &Path, name: &str) -> Boards {
    Boards::start(dir, name, "wire", RATE, &["--ring", "4000", "--seconds", "3600"])
}

#[test]
fn what_a_board_had_acknowledged_survives_any_kill() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let link = Slow::to(cloud.port);
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let names = ["a", "b"];
    let mut boards = names.map(|name| board(dir.path(), name));
    let ports = names.map(|name| port(dir.path(), name, "format: wire"));
    let gateway = Gateway::start(dir.path(), &ports, free_port(), link.port);
    let mut scene = Scene { gateway, log, kills: 0, copies: Vec::new() };
    let start = Instant::now();

    scene.kill(ONLINE / 2);
    scene.tell("online", 0);
    link.delay(DELAY);
    scene.kill(ONLINE / 2);
    scene.tell("online, on a long way", ONLINE / 2);
    link.delay(Duration::ZERO);
    cloud.stop();
    scene.kill(OFFLINE);
    scene.tell("offline", ONLINE);
    let before = scene.gateway.wait_status("the backlog", |status| status["queue"]["readings"] != 0);
    link.limit(NARROW);
    cloud.resume();
    scene.gateway.wait_bridge();
    scene.kill(DRAINING);
    scene.tell("draining", ONLINE + OFFLINE);
    let after = scene.gateway.wait_status("the backlog", |_| true);
    let took = start.elapsed();
    let waiting = |status: &serde_json::Value| status["queue"]["readings"].as_u64().unwrap();
    eprintln!(
        "{} kills in {took:?}; backlog {} before the drain, {} after",
        scene.kills,
        waiting(&before),
        waiting(&after)
    );

    link.limit(u64::MAX);
    wait_for("every board to be heard again", PATIENCE, || {
        boards.iter().all(|board| board.count("produced") < board.count("acknowledged") + 100)
    });
    boards.iter_mut().for_each(Boards::stop);
    let acknowledged = boards.iter().flat_map(|board| board.ids("acknowledged")).collect();
    wait_for("everything acknowledged to be in the cloud", PATIENCE, || scene.log.has(&acknowledged));
    let verdict = compare(&acknowledged, &scene.log.readings());
    eprintln!(
        "{} acknowledged, {} copies over {} kills",
        acknowledged.len(),
        verdict.duplicates,
        scene.kills
    );
    assert!(took < KILLS_WITHIN, "{took:?}");
    assert!(acknowledged.len() > 10_000, "only {} readings: the test saw too little", acknowledged.len());
    assert!(waiting(&after) > 500, "the backlog was gone before the last kill: {}", after["queue"]);
    assert!(scene.copies_since(0).0 <= COPIES_PER_KILL, "{:?}", scene.copies);
    let status = scene.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(dropped(&status), 0, "{status}");
    assert_eq!(scene.log.events("gap"), [] as [serde_json::Value; 0], "nothing was lost");
}
