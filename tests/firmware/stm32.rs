//! The C core on an STM32F405, in QEMU.

use std::time::Duration;

use tempfile::TempDir;

use crate::board::Stm32;
use crate::emulated::{assert_complete, scene};
use crate::support::{PATIENCE, pause, wait_for};

/// QEMU sends as fast as the line is read, and says nothing in the second after it was opened: so there is
/// always a backlog first.
#[test]
fn readings_arrive_once_and_in_order_whether_the_gateway_is_there_or_not() {
    let dir = TempDir::new().unwrap();
    let _board = Stm32::start(dir.path(), "stm32");
    let (_cloud, log, mut gateway) = scene(dir.path(), &["stm32"]);
    wait_for("readings", PATIENCE, || log.count() >= 5);
    let device = log.readings()[0].device.clone();
    assert!(device.starts_with("stm32f405-"), "{device}");
    gateway.kill();
    pause(Duration::from_secs(8));
    let before = assert_complete(&log, &device);
    gateway.resume();
    wait_for("what was measured meanwhile", PATIENCE, || log.count() >= before + 10);
    assert!(assert_complete(&log, &device) >= before + 8);
    assert_eq!(log.events("gap"), [] as [serde_json::Value; 0]);
    let port = gateway.wait_port(0, "open");
    assert_eq!((&port["bad_check"], &port["bad_decode"]), (&0.into(), &0.into()), "{port}");
}
