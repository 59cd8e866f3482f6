//! What local clients are promised, across SIGKILL: their sessions, what waits for them, what is
//! retained, and their wills.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serialgate::mqtt::packet::Qos;
use tempfile::TempDir;

use crate::support::{Cloud, Gateway, Log, PATIENCE, Raw, free_port, pause, publish, wait_for};

/// Messages of one publisher that are under way at a time.
const WINDOW: usize = 50;
/// How long the kills may take altogether, and what was under way then.
const KILLS_WITHIN: Duration = Duration::from_secs(240);

fn gateway(dir: &Path, local: u16) -> Gateway {
    let gateway = Gateway::configured(dir, &Gateway::config(dir, &[], local, free_port()));
    gateway.wait_status("the start", |status| status["broker"]["state"] == "ok");
    gateway
}

/// Publishes so many, and waits for the last acknowledgement.
fn publish_all(raw: &mut Raw, count: usize, qos: Qos, retain: bool, topic: impl Fn(usize) -> String) {
    let before = raw.done;
    for n in 0..count {
        raw.publish(&topic(n), &n.to_string(), qos, retain).unwrap();
        raw.go_on("room", |raw| raw.open() < WINDOW);
    }
    raw.go_on("the last acknowledgement", |raw| raw.done == before + count);
}

fn numbers(raw: &Raw, topic: &str) -> Vec<usize> {
    let ours = raw.messages.iter().filter(|(name, _)| name == topic);
    ours.map(|(_, payload)| payload.parse().unwrap()).collect()
}

#[test]
fn ten_thousand_messages_for_a_client_that_is_away_survive_a_kill_in_order() {
    const COUNT: usize = 10_000;
    let dir = TempDir::new().unwrap();
    let local = free_port();
    let mut gateway = gateway(dir.path(), local);
    let mut away = Raw::persistent("away");
    away.connect(local).subscribe("t", Qos::AtLeastOnce);
    away.drop_connection();
    gateway.wait_status("it to be gone", |status| status["broker"]["clients"] == 0);
    let mut publisher = Raw::new("publisher", 0);
    publish_all(publisher.connect(local), COUNT, Qos::AtLeastOnce, false, |_| "t".into());
    gateway.kill();
    gateway.resume();
    away.connect(local);
    assert!(away.was_present);
    away.go_on("all messages", |away| away.messages.len() == COUNT);
    away.settle();
    assert_eq!(numbers(&away, "t"), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(away.copies, 0);
    assert_eq!(gateway.status().unwrap()["broker"]["dropped"], 0);
    // And what it has does not come again.
    away.drop_connection();
    gateway.wait_status("it to be gone", |status| status["broker"]["clients"] == 0);
    gateway.terminate();
    gateway.resume();
    away.connect(local).settle();
    assert_eq!(away.messages.len(), COUNT);
}

#[test]
fn a_thousand_retained_messages_survive_a_kill() {
    const COUNT: usize = 1000;
    let dir = TempDir::new().unwrap();
    let local = free_port();
    let mut gateway = gateway(dir.path(), local);
    let mut publisher = Raw::new("publisher", 0);
    publisher.connect(local);
    publish_all(&mut publisher, COUNT, Qos::AtLeastOnce, true, |n| format!("r/{n}"));
    publish_all(&mut publisher, 10, Qos::AtLeastOnce, true, |n| format!("r/{n}"));
    publisher.publish("r/7", "", Qos::AtLeastOnce, true).unwrap();
    publisher.go_on("its acknowledgement", |raw| raw.open() == 0);
    gateway.kill();
    gateway.resume();
    let mut late = Raw::new("late", 0);
    late.connect(local).subscribe("r/#", Qos::AtLeastOnce);
    late.go_on("all of them", |late| late.messages.len() == COUNT - 1);
    late.settle();
    let mut expected: Vec<(String, String)> =
        (0..COUNT).filter(|n| *n != 7).map(|n| (format!("r/{n}"), n.to_string())).collect();
    expected.sort();
    late.messages.sort();
    assert_eq!(late.messages, expected);
}

#[test]
fn messages_of_qos_2_arrive_exactly_once_however_often_the_gateway_is_killed() {
    const KILLS: usize = 20;
    let dir = TempDir::new().unwrap();
    let local = free_port();
    let mut gateway = gateway(dir.path(), local);
    let mut subscriber = Raw::persistent("subscriber");
    subscriber.connect(local).subscribe("t", Qos::ExactlyOnce);
    let (stop, total) = (AtomicBool::new(false), OnceLock::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut raw = Raw::persistent("publisher");
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) || raw.open() > 0 {
                let result = if raw.open() < WINDOW && !stop.load(Ordering::Relaxed) {
                    count += 1;
                    raw.publish("t", &(count - 1).to_string(), Qos::ExactlyOnce, false).map(|()| true)
                } else {
                    raw.step()
                };
                if result.is_err() {
                    raw.connect(local);
                }
            }
            assert_eq!(raw.done, count);
            total.set(count).unwrap();
        });
        scope.spawn(|| {
            let start = Instant::now();
            while total.get().is_none_or(|total| subscriber.messages.len() < *total) {
                assert!(start.elapsed() < KILLS_WITHIN, "{} messages came", subscriber.messages.len());
                if subscriber.step().is_err() {
                    subscriber.connect(local);
                    assert!(subscriber.was_present, "the session is lost");
                }
            }
            subscriber.settle();
        });
        for _ in 0..KILLS {
            pause(Duration::from_millis(fastrand::u64(50..500)));
            gateway.kill();
            gateway.resume();
        }
        gateway.wait_status("the last start", |status| status["broker"]["state"] == "ok");
        pause(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
    });
    let published = total.into_inner().unwrap();
    eprintln!("{published} messages over {KILLS} kills");
    assert!(published > 500, "only {published} messages: the test saw too little");
    assert_eq!(numbers(&subscriber, "t"), (0..published).collect::<Vec<_>>());
}

#[test]
fn a_command_from_the_cloud_for_a_client_that_is_away_survives_a_kill() {
    for (qos, level) in [("1", Qos::AtLeastOnce), ("2", Qos::ExactlyOnce)] {
        let dir = TempDir::new().unwrap();
        let mut cloud = Cloud::start(dir.path());
        let local = free_port();
        let receive = "    receive: [{filter: \"cmd/#\", qos: 2}]\n";
        let config = Gateway::config(dir.path(), &[], local, cloud.port) + receive;
        let mut gateway = Gateway::configured(dir.path(), &config);
        gateway.wait_bridge();
        let log = Log::of(dir.path(), local, "#");
        wait_for("the bridge to receive", PATIENCE, || {
            publish(cloud.port, "cmd/probe", "probe");
            log.any(|message| message.payload == "probe")
        });
        let mut lamp = Raw::persistent("lamp");
        lamp.connect(local).subscribe("cmd/lamp", level);
        lamp.drop_connection();
        let mut tell = std::process::Command::new("mosquitto_pub");
        tell.args([
            "-h",
            "127.0.0.1",
            "-p",
            &cloud.port.to_string(),
            "-q",
            qos,
            "-t",
            "cmd/lamp",
            "-m",
            "on",
        ]);
        let before = gateway.status().unwrap()["bridges"][0]["received"].as_u64();
        assert!(tell.status().unwrap().success());
        gateway.wait_status("the command", |status| status["bridges"][0]["received"].as_u64() > before);
        // The cloud forgets it with the acknowledgement, or with its own end.
        pause(Duration::from_secs(1));
        gateway.kill();
        cloud.stop();
        gateway.resume();
        lamp.connect(local);
        assert!(lamp.was_present);
        lamp.go_on("the command", |lamp| !lamp.messages.is_empty());
        assert_eq!(lamp.messages, [("cmd/lamp".to_owned(), "on".to_owned())]);
    }
}

#[test]
fn a_damaged_file_costs_the_sessions_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/pi/event");
    let local = free_port();
    let mut gateway = Gateway::start(dir.path(), &[], local, cloud.port);
    gateway.wait_bridge();
    let mut away = Raw::persistent("away");
    away.connect(local).subscribe("t", Qos::AtLeastOnce);
    gateway.kill();
    for suffix in ["", "-wal"] {
        let path = dir.path().join(format!("broker.db{suffix}"));
        let garbage: Vec<u8> = (0..fs::metadata(&path).unwrap().len()).map(|_| fastrand::u8(..)).collect();
        fs::write(&path, garbage).unwrap();
    }
    gateway.resume();
    away.connect(local);
    assert!(!away.was_present);
    away.subscribe("t", Qos::AtLeastOnce);
    let status = gateway.wait_status("the start", |status| status["broker"]["state"] == "ok");
    assert_eq!(status["broker"]["set_aside"], 1, "{status}");
    assert!(dir.path().join("broker.db.damaged-1").exists());
    wait_for("the event", PATIENCE, || !log.events("quarantine").is_empty());
    let event = log.events("quarantine").remove(0);
    assert!(event["path"].as_str().unwrap().ends_with("broker.db.damaged-1"), "{event}");
    assert!(gateway.log().contains("the local broker's file is damaged"), "{}", gateway.log());
    // It is a file as before.
    gateway.kill();
    gateway.resume();
    away.connect(local);
    assert!(away.was_present);
}

#[test]
fn wills_of_clients_that_do_not_come_back_are_published_after_a_kill() {
    let dir = TempDir::new().unwrap();
    let local = free_port();
    let mut gateway = gateway(dir.path(), local);
    let mut gone = Raw::new("gone", 0).with_will("w/gone", "offline");
    let mut back = Raw::new("back", 0).with_will("w/back", "offline");
    for (raw, topic) in [(&mut gone, "w/gone"), (&mut back, "w/back")] {
        raw.connect(local).publish(topic, "online", Qos::AtLeastOnce, true).unwrap();
        raw.go_on("its acknowledgement", |raw| raw.open() == 0);
    }
    // Wills are not waited for, but not for long either.
    pause(Duration::from_secs(1));
    gateway.kill();
    gateway.resume();
    back.connect(local);
    let mut watch = Raw::new("watch", 0);
    watch.connect(local).subscribe("w/#", Qos::AtLeastOnce);
    let is = |raw: &Raw, topic: &str, payload: &str| {
        raw.messages.iter().any(|(name, word)| name == topic && word == payload)
    };
    watch.go_on("what is retained", |raw| is(raw, "w/gone", "online") && is(raw, "w/back", "online"));
    watch.go_on("the will", |raw| is(raw, "w/gone", "offline"));
    watch.settle();
    assert!(!is(&watch, "w/back", "offline"), "it came back in time");
    drop(back);
    watch.go_on("the other will", |raw| is(raw, "w/back", "offline"));
}
