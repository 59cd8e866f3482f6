//! The memory of the real program, while clients do whatever costs most of it. The bound is the one
//! that docs/broker.md states; whoever behaves is served all the while.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "what the other tests need")]
mod support;

mod client;

use std::fs;

use serialgate::mqtt::packet::{Connect, Publish, Qos, Version, Will};
use serialgate::reading::Properties;
use tempfile::TempDir;

use client::{Client, connect};
use support::{Gateway, PATIENCE, answers, free_port, wait_for};

/// What docs/broker.md promises.
const BOUND_KIB: u64 = 144 << 10;

/// A payload near the largest packet.
const LARGE: usize = 1_000_000;

/// A text near the longest that MQTT has.
const LONG: usize = 60_000;

struct Site {
    gateway: Gateway,
    port: u16,
    _dir: TempDir,
}

impl Site {
    fn start() -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let config = format!(
            "gateway: pi\nqueue: {{path: {dir}/queue.db}}\ncontrol: {{socket: {dir}/control.sock}}\n\
             broker: {{listen: [{{address: \"127.0.0.1:{port}\"}}]}}\n",
            dir = dir.path().display()
        );
        let gateway = Gateway::configured(dir.path(), &config);
        wait_for("the broker", PATIENCE, || answers(port));
        Self { gateway, port, _dir: dir }
    }

    /// The most memory that the program has ever had, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let (_, rest) = status.split_once("VmHWM:").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Somebody who behaves is served, and the bound holds.
    fn check(&self, after: &str) {
        let mut good = Client::enter(self.port, connect(Version::V5, "good"));
        good.subscribe("good/#", Qos::AtLeastOnce);
        good.publish(Publish::new("good/morning", "hello", Qos::AtLeastOnce, false));
        assert_eq!(good.hear().payload, "hello", "after {after}");
        let peak = self.peak_kib();
        assert!(peak < BOUND_KIB, "{} MiB after {after}", peak >> 10);
    }
}

/// Whoever announces large packets sends most of them and keeps the rest.
fn unfinished_packets(port: u16) -> Vec<Client> {
    (0..150)
        .map(|n| {
            let mut client = Client::enter(port, connect(Version::V5, &format!("half{n}")));
            let packet = client.encoded(Publish::new("half", vec![b'x'; LARGE], Qos::AtMostOnce, false));
            client.send_unless_closed(&packet[..packet.len() - 100]);
            client
        })
        .collect()
}

/// The same before there is a word of who it is.
fn unfinished_connects(port: u16) -> Vec<Client> {
    (0..200)
        .map(|_| {
            let mut client = Client::open(port, Version::V5);
            client.send_unless_closed(b"\x10\x80\x80\x04\x00\x04MQTT\x05\x02\x00\x00\x00\xff\xff");
            client.send_unless_closed(&[b'x'; LONG]);
            client
        })
        .collect()
}

/// Asks for much and reads nothing.
fn deaf_readers(port: u16) -> Vec<Client> {
    let mut publisher = Client::enter(port, connect(Version::V5, "large"));
    for n in 0..20 {
        publisher.publish(Publish::new(format!("large/{n}"), vec![b'x'; LARGE], Qos::AtLeastOnce, true));
    }
    (0..100)
        .map(|n| {
            let mut client = Client::enter(port, connect(Version::V5, &format!("deaf{n}")));
            client.ask("large/#", [Qos::AtMostOnce, Qos::AtLeastOnce][n % 2]);
            client
        })
        .collect()
}

fn long_aliases(port: u16) -> Vec<Client> {
    (0..50)
        .map(|n| {
            let mut client = Client::enter(port, connect(Version::V5, &format!("alias{n}")));
            for alias in 1..=32_u16 {
                let topic = format!("{}{alias}", "x".repeat(LONG));
                let publish = Publish {
                    topic_alias: alias.try_into().ok(),
                    ..Publish::new(topic, "x", Qos::AtMostOnce, false)
                };
                let packet = client.encoded(publish);
                client.send_unless_closed(&packet);
            }
            client
        })
        .collect()
}

fn costly_filters(port: u16) -> Vec<Client> {
    (0..12)
        .map(|n| {
            let mut client = Client::enter(port, connect(Version::V5, &format!("filters{n}")));
            for m in 0..60 {
                let long = format!("{}{n}/{m}", "x".repeat(LONG));
                let deep = format!("{n}/{m}/{}", "y/".repeat(120));
                client.ask(if m % 2 == 0 { &deep } else { &long }, Qos::AtMostOnce);
            }
            let many: Vec<String> = (0..8000).map(|m| format!("{n}/{m}")).collect();
            client.ask_all(&many, Qos::AtMostOnce);
            client
        })
        .collect()
}

fn long_names_and_wills(port: u16) {
    for n in 0..1500 {
        let will = Publish::new("will", vec![b'x'; LONG / 2], Qos::AtLeastOnce, false);
        let connect = Connect {
            will: Some(Will { message: will, delay_s: 3600 }),
            session_expiry_s: u32::MAX,
            ..connect(Version::V5, &format!("{n}{}", "x".repeat(LONG / 4)))
        };
        // Most are refused. Those that are not leave without a word, so that their wills stay.
        drop(Client::try_enter(port, connect));
    }
}

fn full_queues(port: u16) {
    for n in 0..12 {
        let away = Connect { session_expiry_s: u32::MAX, ..connect(Version::V5, &format!("away{n}")) };
        Client::enter(port, away).subscribe(&format!("many/{n}"), Qos::AtLeastOnce);
    }
    let mut publisher = Client::enter(port, connect(Version::V5, "many"));
    for n in 0..1200 {
        let payload = vec![b'x'; 50_000];
        publisher.publish(Publish::new(format!("many/{}", n % 12), payload, Qos::AtLeastOnce, false));
    }
}

fn many_properties(port: u16) {
    let mut publisher = Client::enter(port, connect(Version::V5, "properties"));
    let user: Vec<_> = (0..10_000).map(|_| ("k".into(), "v".into())).collect();
    for n in 0..40 {
        let properties = Properties { user: user.clone(), ..Properties::default() };
        let publish = Publish { properties, ..Publish::new(format!("p/{n}"), "x", Qos::AtLeastOnce, true) };
        publisher.publish(publish);
    }
}

/// Old clients have no limit on what they begin, and never end it.
fn unreleased_messages(port: u16) -> Vec<Client> {
    (0..10)
        .map(|n| {
            let mut client = Client::enter(port, connect(Version::V3, &format!("begun{n}")));
            client.begin(20_000);
            client
        })
        .collect()
}

#[test]
fn whatever_clients_do_the_memory_stays_bounded_and_others_are_served() {
    let mut site = Site::start();
    site.check("nothing");
    let mut there = unfinished_packets(site.port);
    site.check("packets that never end");
    there.extend(unfinished_connects(site.port));
    site.check("CONNECTs that never end");
    there.extend(deaf_readers(site.port));
    site.check("clients that do not read");
    there.extend(long_aliases(site.port));
    site.check("long topics with aliases");
    there.extend(costly_filters(site.port));
    site.check("long, deep and many filters");
    long_names_and_wills(site.port);
    site.check("long names and wills");
    full_queues(site.port);
    site.check("full queues");
    many_properties(site.port);
    site.check("many properties");
    there.extend(unreleased_messages(site.port));
    site.check("messages that are never released");
    drop(there);
    site.gateway.assert_runs();
    assert!(site.gateway.terminate().success());
    let log = site.gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}
