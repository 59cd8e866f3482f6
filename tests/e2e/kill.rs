//! The gateway is killed, again and again, while the cloud comes and goes.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, assert_account, compare, free_port, pause, port, wait_for,
};

/// How often the gateway is killed.
const KILLS: u32 = 20;

#[test]
fn what_a_board_had_acknowledged_survives_any_kill() {
    let dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let names = ["a", "b"];
    let mut boards = names
        .map(|name| Boards::start(dir.path(), name, "wire", 50, &["--ring", "4000", "--seconds", "3600"]));
    let ports = names.map(|name| port(dir.path(), name, "format: wire"));
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    let mut up = true;
    for kill in 0..KILLS {
        pause(Duration::from_millis(fastrand::u64(50..2500)));
        if kill % 4 == 1 {
            cloud.stop();
            up = false;
        }
        if kill % 4 == 3 && !up {
            cloud.resume();
            up = true;
        }
        pause(Duration::from_millis(fastrand::u64(0..500)));
        gateway.kill();
        pause(Duration::from_millis(fastrand::u64(0..300)));
        gateway.resume();
    }
    if !up {
        cloud.resume();
    }
    wait_for("every board to be heard again", PATIENCE, || {
        boards.iter().all(|board| board.count("produced") < board.count("acknowledged") + 50)
    });
    boards.iter_mut().for_each(Boards::stop);
    let acknowledged = boards.iter().flat_map(|board| board.ids("acknowledged")).collect();
    wait_for("everything acknowledged to be in the cloud", PATIENCE, || log.has(&acknowledged));
    let verdict = compare(&acknowledged, &log.readings());
    eprintln!("{} acknowledged, {} duplicates over {KILLS} kills", acknowledged.len(), verdict.duplicates);
    assert!(acknowledged.len() > 1000, "only {} readings: the test saw too little", acknowledged.len());
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(log.events("gap"), [] as [serde_json::Value; 0], "nothing was lost");
}
