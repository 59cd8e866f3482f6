//! Devices that come, go, and belong to others.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serialgate::reading::{Body, Event, EventKind};
use serialgate::status::PortState;
use serialgate::topic::Subject;
use tokio::time::{Instant, sleep};
use tokio_serial::SerialStream;

use crate::support::{Cable, PATIENCE, Rig, json, number, wire};

#[tokio::test]
async fn a_device_that_comes_back_is_read_at_once() {
    let mut rig = Rig::new();
    let link = rig.link("tty");
    let mut cable = rig.start_plugged(json()).await;
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        cable.send(format!("{{\"n\":{round}}}\n").as_bytes()).await;
        assert_eq!(number(&rig.next_reading().await), round);
        cable.unplug(&link);
        rig.wait_state(PortState::Absent).await;
        assert_eq!(rig.post(&Subject::Status("tty".into())).as_deref(), Some("offline"));
        if round % 2 == 0 {
            // Some leave a link behind that leads nowhere.
            std::os::unix::fs::symlink("/dev/pts/999999", &link).unwrap();
        }
        sleep(Duration::from_millis(37 * u64::try_from(round).unwrap())).await;
        let back = Instant::now();
        cable = rig.plug("tty").await;
        slowest = slowest.max(back.elapsed());
    }
    println!("slowest return {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(rig.status().disconnects, 10);
    rig.stop().await;
}

#[tokio::test]
async fn the_events_tell_of_each_change() {
    let mut rig = Rig::new();
    let cable = rig.start_plugged(json()).await;
    let link = rig.link("tty");
    let event = |state: &str| EventKind::Port { path: link.to_str().unwrap().into(), state: state.into() };
    assert_eq!(rig.next_event().await, event("open"));
    cable.unplug(&link);
    assert_eq!(rig.next_event().await, event("absent"));
    rig.wait_for("the reason", || rig.status().last_error.as_deref() == Some("no such device")).await;
    let cable = rig.plug("tty").await;
    assert_eq!(rig.next_event().await, event("open"));
    rig.stop().await;
    drop(cable);
}

#[tokio::test]
async fn a_loose_contact_is_told_once() {
    let mut rig = Rig::new();
    let link = rig.link("tty");
    rig.start_plugged(json()).await.unplug(&link);
    for _ in 0..20 {
        let cable = Cable::new();
        cable.plug(&link);
        sleep(Duration::from_millis(20)).await;
        cable.unplug(&link);
    }
    let mut cable = Cable::new();
    cable.plug(&link);
    // Nobody may be listening yet; the port shows itself as open once it has heard something.
    let deadline = Instant::now() + PATIENCE;
    while rig.status().frames == 0 {
        assert!(Instant::now() < deadline);
        cable.send(b"{\"n\":1}\n").await;
        sleep(Duration::from_millis(10)).await;
    }
    let mut states = Vec::new();
    while let Body::Event(Event { kind: EventKind::Port { state, .. }, .. }) = rig.next().await {
        states.push(state);
    }
    // Somebody else's gateway may still look for a pty of the same name: then it is busy, or absent
    // once more, but never open without having said anything.
    let opened = states.iter().filter(|state| *state == "open").count();
    assert_eq!((opened, states.first().map(String::as_str)), (2, Some("open")), "{states:?}");
    rig.stop().await;
}

#[tokio::test]
async fn an_absent_device_costs_nothing() {
    let mut rig = Rig::new();
    rig.start("by-id/tty", wire());
    rig.start("board*", json());
    let link = rig.link("tty");
    rig.start_plugged(json()).await.unplug(&link);
    rig.wait_state(PortState::Absent).await;
    let cpu = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap();
    let before = cpu();
    sleep(Duration::from_secs(3)).await;
    let spent = cpu() - before;
    println!("three absent ports: {:?} a second", spent / 3);
    assert!(spent < Duration::from_millis(15), "{spent:?} in three seconds");
    rig.stop().await;
}

#[tokio::test]
async fn a_busy_device_is_named_with_its_holder_and_taken_when_free() {
    let mut rig = Rig::new();
    let cable = Cable::new();
    cable.plug(&rig.link("tty"));
    let builder = tokio_serial::new(cable.device.to_str().unwrap(), 9600).exclusive(true);
    let holder = SerialStream::open(&builder).unwrap();
    rig.start("tty", json());
    rig.wait_state(PortState::Busy).await;
    assert_eq!(rig.status().last_error.as_deref(), Some("held by another port of this gateway"));
    drop(holder);
    rig.wait_state(PortState::Open).await;
    rig.stop().await;
    drop(cable);
}

#[tokio::test]
async fn a_pattern_finds_lines_as_they_appear() {
    let mut rig = Rig::new();
    rig.start("by-id/board*", json());
    rig.wait_for("the pattern", || rig.ports.document(0).len() == 1).await;
    std::fs::create_dir(rig.link("by-id")).unwrap();
    let mut cables = Vec::new();
    for name in ["board1", "board2"] {
        let mut cable = rig.plug(&format!("by-id/{name}")).await;
        cable.send(b"{\"n\":1}\n").await;
        assert_eq!(&*rig.next_reading().await.device, name);
        cables.push(cable);
    }
    assert_eq!(rig.ports.document(0).len(), 2, "the pattern itself is no port");
    rig.stop().await;
}

#[tokio::test]
async fn what_is_no_serial_device_is_absent() {
    let mut rig = Rig::new();
    std::fs::write(rig.link("tty"), "text").unwrap();
    rig.start("tty", json());
    rig.wait_for("the reason", || rig.status().last_error.is_some()).await;
    let status = rig.status();
    assert_eq!(
        (status.state, status.last_error.as_deref()),
        (PortState::Absent, Some("not a serial device"))
    );
    rig.stop().await;
}
