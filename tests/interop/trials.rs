//! What is tried with one broker over one transport.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::certificates::Certificates;
use crate::proxy::Proxy;
use crate::site::{Site, publish};
use crate::support::{pause, wait_for};
use crate::table::{Lost, Result};

/// Messages of each QoS and direction.
const MESSAGES: usize = 100;
/// Messages published while the link is cut …
const UNDER_LOAD: usize = 2000;
/// … so many times.
const CUTS: usize = 10;
/// Commands given while the gateway is down.
const COMMANDS: usize = 20;
/// Messages have this long to arrive.
const ARRIVE_WITHIN: Duration = Duration::from_secs(30);
/// And this long to arrive at others, once they have arrived at one.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);
/// A bridge has this long to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V5,
}

impl Version {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::V3 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    /// With a certificate of ours.
    MutualTls,
    WebSocket,
    WebSocketTls,
}

impl Transport {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::MutualTls => "mqtts, mutual",
            Self::WebSocket => "ws",
            Self::WebSocketTls => "wss",
        }
    }

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls | Self::MutualTls => "mqtts",
            Self::WebSocket => "ws",
            Self::WebSocketTls => "wss",
        }
    }
}

/// A broker's listener, and how to talk to it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) version: Version,
    pub(crate) transport: Transport,
    /// Where it listens.
    pub(crate) port: u16,
    /// Where it listens for plain MQTT 3.1.1: for those who watch.
    pub(crate) plain: u16,
    /// The path of a WebSocket.
    pub(crate) path: &'static str,
    /// The highest QoS that its manual promises.
    pub(crate) max_qos: usize,
    /// Whether it keeps anything for `mosquitto_sub -c` while that is away.
    pub(crate) keeps_sessions: bool,
}

/// Does `what`; a panic's words are the error.
pub(crate) fn attempt<T>(what: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|panic| words(&*panic))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// Everything, as far as it goes.
pub(crate) fn run(case: &Case, folder: &Path, certificates: &Certificates) -> Result {
    let mut result = Result::default();
    let proxy = Proxy::start(case.port);
    let mut site = match attempt(|| Site::start(folder, case, proxy.port, certificates)) {
        Ok(site) => site,
        Err(error) => {
            result.note(error);
            return result;
        }
    };
    if let Err(error) = attempt(|| site.wait_connected(CONNECT_WITHIN)) {
        result.note(format!("does not connect: {}", site.last_error().unwrap_or(error)));
        return result;
    }
    result.connects = true;
    for qos in 0..=case.max_qos {
        let arrived = attempt(|| up(&site, qos));
        result.up[qos] = arrived.map_err(|error| result.note(error)).ok();
    }
    for qos in 0..=case.max_qos {
        match attempt(|| down(&site, qos)) {
            Ok((arrived, control)) => {
                result.down[qos] = Some(arrived);
                result.control[qos] = Some(control);
            }
            Err(error) => {
                // It is published at the broker itself.
                result.broker_fails = true;
                result.note(error);
            }
        }
    }
    let arrived = attempt(|| under_load(&site, &proxy));
    result.under_load = arrived.map_err(|error| result.note(error)).ok();
    match attempt(|| resume(&mut site, &proxy)) {
        Ok(arrived) => result.resumed = Some(Lost { sent: COMMANDS, arrived, copies: 0 }),
        Err(error) => result.note(error),
    }
    match attempt(|| will(&mut site)) {
        Ok(came) => result.will = came,
        Err(error) => result.note(error),
    }
    result.judge(case.max_qos, case.keeps_sessions);
    result
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// How much of `sent` is in `arrived`.
fn compare(sent: &[String], arrived: &[String]) -> Lost {
    let there: BTreeSet<&String> = arrived.iter().collect();
    let found = sent.iter().filter(|one| there.contains(one)).count();
    Lost { sent: sent.len(), arrived: found, copies: arrived.len() - there.len() }
}

fn up(site: &Site, qos: usize) -> Lost {
    let topic = format!("up/{qos}/plain");
    let sent = numbers(MESSAGES);
    publish(site.port_here(), &topic, qos.max(1), &sent);
    site.wait_there(&topic, MESSAGES, ARRIVE_WITHIN);
    compare(&sent, &site.there(&topic))
}

/// What arrived here; and, for comparison, at somebody who is connected to the broker itself.
fn down(site: &Site, qos: usize) -> (Lost, Lost) {
    let topic = format!("down/{qos}/plain");
    let sent = numbers(MESSAGES);
    publish(site.port_there(), &topic, qos, &sent);
    site.wait_here(&topic, MESSAGES, ARRIVE_WITHIN);
    site.wait_there(&topic, MESSAGES, SETTLES_WITHIN);
    (compare(&sent, &site.here(&topic)), compare(&sent, &site.there(&topic)))
}

/// The link is cut again and again while messages of QoS 1 come in.
fn under_load(site: &Site, proxy: &Proxy) -> Lost {
    let sent = numbers(UNDER_LOAD);
    let cuts = || {
        for cut in 1..=CUTS {
            let from = site.there("up/1/load").len();
            let moves = attempt(|| {
                wait_for("messages to flow", ARRIVE_WITHIN, || {
                    let now = site.there("up/1/load").len();
                    now > from || now >= UNDER_LOAD
                });
            });
            if moves.is_err() {
                return;
            }
            proxy.cut();
            pause(Duration::from_millis(20 * cut as u64));
        }
    };
    let here = site.port_here();
    let sent = &sent;
    std::thread::scope(|scope| {
        let publisher = scope.spawn(move || {
            for part in sent.chunks(UNDER_LOAD / 40) {
                publish(here, "up/1/load", 1, part);
            }
        });
        cuts();
        publisher.join().unwrap();
    });
    site.wait_there("up/1/load", UNDER_LOAD, ARRIVE_WITHIN * 2);
    compare(sent, &site.there("up/1/load"))
}

/// Commands that are given while the gateway is down arrive when it is up again.
fn resume(site: &mut Site, proxy: &Proxy) -> usize {
    let sent = numbers(COMMANDS);
    site.stop();
    publish(site.port_there(), "down/1/late", 1, &sent);
    // The local broker keeps nothing for those who are not there: who watches must be before the bridge.
    proxy.refuse(true);
    site.restart();
    proxy.refuse(false);
    site.wait_here("down/1/late", COMMANDS, ARRIVE_WITHIN);
    compare(&sent, &site.here("down/1/late")).arrived
}

/// Whether the broker says that the gateway is offline when it dies.
fn will(site: &mut Site) -> bool {
    site.wait_connected(CONNECT_WITHIN);
    let topic = "serialgate/pi/status";
    let before = site.there(topic).len();
    site.kill();
    let came = || site.there(topic).iter().skip(before).any(|word| word == "offline");
    attempt(|| wait_for("the will", ARRIVE_WITHIN, came)).is_ok()
}
