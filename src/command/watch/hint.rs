//! Why no reading comes, as far as the status tells. Pure.

use std::collections::BTreeSet;

use crate::command::status::screen::seconds;
use crate::status::{Port, PortState, Status};

/// Most ports and devices that are named.
const NAMED_MAX: usize = 8;

/// The lines to show to somebody who waits for readings of `wanted`; of any device, if that is empty.
pub(super) fn lines(status: &Status, wanted: &[String]) -> Vec<String> {
    if status.ports.is_empty() {
        return vec![
            "serialgate: no port is configured: `serialgate init` writes a configuration for what is plugged in".into(),
        ];
    }
    let known: BTreeSet<&str> =
        status.ports.iter().flat_map(|port| &port.device).map(String::as_str).collect();
    let (named, more) = status.ports.split_at(status.ports.len().min(NAMED_MAX));
    let more = (!more.is_empty()).then(|| format!("  and {} more: `serialgate status`", more.len()));
    ["serialgate: no reading yet; still waiting".to_owned()]
        .into_iter()
        .chain(strangers(&known, wanted))
        .chain(named.iter().map(|port| format!("  {} {}", port.path, state(port))))
        .chain(more)
        .collect()
}

/// What is said where none of `wanted` is known.
fn strangers(known: &BTreeSet<&str>, wanted: &[String]) -> Option<String> {
    if wanted.is_empty() || wanted.iter().any(|name| known.contains(name.as_str())) {
        return None;
    }
    let devices = if known.is_empty() {
        "no device is known yet".to_owned()
    } else {
        let names: Vec<&str> = known.iter().take(NAMED_MAX).copied().collect();
        let more = if known.len() > NAMED_MAX { ", …" } else { "" };
        format!("devices that are: {}{more}", names.join(", "))
    };
    Some(format!("  {} not known; {devices}", is_or_are(wanted)))
}

fn is_or_are(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// How a port is, and what to do about it.
fn state(port: &Port) -> String {
    let why = port.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    match port.state {
        PortState::Absent => format!("is absent{why}; plug the board in, and see `serialgate ports`"),
        PortState::Busy => format!("is busy{why}; end what holds it"),
        PortState::Denied => format!("is denied{why}"),
        PortState::Open | PortState::Silent => heard(port),
    }
}

fn heard(port: &Port) -> String {
    let bad = port.bad_check + port.bad_decode;
    match (port.bytes, port.frames) {
        (0, _) => "is open, but nothing comes: is the board's program running, and its TX at our RX?".into(),
        (_, 0) if bad > 0 => format!(
            "is open, but none of {bad} frames makes sense: are `baud` and `format` in the configuration those of the \
             board?"
        ),
        (bytes, 0) => format!(
            "is open, and {bytes} bytes have come, but no whole frame: are `baud` and `format` in the configuration those \
             of the board?"
        ),
        _ => {
            let devices =
                port.device.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            let of = if devices.is_empty() { String::new() } else { format!(" ({devices})") };
            let damaged = if bad > 0 { format!(", {bad} damaged") } else { String::new() };
            format!("is open; the last good frame came {} ago{of}{damaged}", seconds(port.last_frame_age_s))
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::status::{Broker, Queue};

    fn told(ports: Vec<Port>, wanted: &[&str]) -> String {
        let status = Status {
            version: "0.1.0".into(),
            gateway: "greenhouse".into(),
            uptime_s: 7,
            clock_synced: true,
            ports,
            queue: Queue::default(),
            bridges: Vec::new(),
            broker: Broker::default(),
        };
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        lines(&status, &wanted).join("\n")
    }

    fn port(state: PortState, last_error: Option<&str>) -> Port {
        Port {
            path: "/dev/ttyUSB0".into(),
            state,
            last_error: last_error.map(str::to_owned),
            ..Port::default()
        }
    }

    #[test]
    fn each_state_of_a_port_has_its_remedy() {
        let open = || port(PortState::Open, None);
        assert_snapshot!(told(vec![], &[]), @"serialgate: no port is configured: `serialgate init` writes a configuration for what is plugged in");
        assert_snapshot!(told(vec![
            port(PortState::Absent, Some("no such device")),
            port(PortState::Busy, Some("held by minicom (pid 812)")),
            port(PortState::Denied, Some("belongs to root:dialout, mode 660; we are pi")),
            open(),
            Port { bytes: 700, bad_check: 9, bad_decode: 1, ..open() },
            Port { bytes: 700, ..open() },
            Port { bytes: 700, frames: 7, bad_check: 1, device: vec!["shed".into()], last_frame_age_s: Some(75.0), ..open() },
        ], &[]), @"
        serialgate: no reading yet; still waiting
          /dev/ttyUSB0 is absent: no such device; plug the board in, and see `serialgate ports`
          /dev/ttyUSB0 is busy: held by minicom (pid 812); end what holds it
          /dev/ttyUSB0 is denied: belongs to root:dialout, mode 660; we are pi
          /dev/ttyUSB0 is open, but nothing comes: is the board's program running, and its TX at our RX?
          /dev/ttyUSB0 is open, but none of 10 frames makes sense: are `baud` and `format` in the configuration those of the board?
          /dev/ttyUSB0 is open, and 700 bytes have come, but no whole frame: are `baud` and `format` in the configuration those of the board?
          /dev/ttyUSB0 is open; the last good frame came 1min 15s ago (shed), 1 damaged
        ");
    }

    #[test]
    fn who_waits_for_a_device_that_is_not_there_learns_which_are() {
        let with = |devices: &[&str]| Port {
            device: devices.iter().map(|&name| name.to_owned()).collect(),
            ..port(PortState::Absent, None)
        };
        let about = |devices: &[&str], wanted: &[&str]| {
            told(vec![with(devices)], wanted).lines().nth(1).map(str::to_owned).unwrap_or_default()
        };
        assert_snapshot!(about(&["roof", "shed"], &["attic"]), @"  attic is not known; devices that are: roof, shed");
        assert_snapshot!(about(&[], &["attic", "cellar"]), @"  attic, cellar are not known; no device is known yet");
        assert!(about(&["roof"], &["attic", "roof"]).starts_with("  /dev/ttyUSB0"));
        assert_eq!(told((0..20).map(|_| with(&[])).collect(), &[]).lines().count(), 1 + NAMED_MAX + 1);
    }
}
