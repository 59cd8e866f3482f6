//! The status document as one screen of text. Pure.

use std::fmt::Write;
use std::time::Duration;

use crate::config::units::print_size;
use crate::status::{Bridge, BridgeState, Broker, BrokerState, Port, PortState, Queue, QueueState, Status};

/// Widest column of names, in characters; longer ones lose their middle.
const MAX_NAME_CHARS: usize = 44;

/// Most devices shown per port.
const MAX_DEVICES: usize = 8;

/// Renders the queue's part of `status`, and what waits for each bridge.
pub(crate) fn render_queue(status: &Status) -> String {
    [queue(&status.queue), vec![String::new()], bridges(&status.bridges)].concat().join("\n")
}

/// Renders `status`, a line feed at the end of each line.
pub(super) fn render(status: &Status) -> String {
    let mut lines = vec![head(status), String::new()];
    lines.extend(ports(&status.ports));
    lines.push(String::new());
    lines.extend(queue(&status.queue));
    lines.push(String::new());
    lines.extend(bridges(&status.bridges));
    lines.push(String::new());
    lines.push(broker(&status.broker));
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn broker(broker: &Broker) -> String {
    let state = match (broker.state, &broker.last_error) {
        (BrokerState::Ok, _) => "",
        (BrokerState::Loading, None) => "LOADING; ",
        (BrokerState::Loading, Some(error)) => &format!("LOADING, {error}; "),
        (BrokerState::Degraded, None) => "DEGRADED; ",
        (BrokerState::Degraded, Some(error)) => &format!("DEGRADED, {error}; "),
    };
    let refused: String = [(broker.refused, "connection"), (broker.logins_refused, "login")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, thing)| format!("; {} refused", count(number, thing)))
        .collect();
    format!(
        "Local broker: {state}{}, {}, {} retained; {} received, {} sent, {} dropped{refused}",
        count(broker.clients, "client"),
        count(broker.subscriptions, "subscription"),
        broker.retained,
        broker.received,
        broker.sent,
        broker.dropped,
    )
}

fn head(status: &Status) -> String {
    let clock = if status.clock_synced { "clock synchronised" } else { "CLOCK NEVER SYNCHRONISED" };
    let up = age(Duration::from_secs(status.uptime_s));
    format!("serialgate {} on {}, up {up}, {clock}", status.version, status.gateway)
}

fn ports(ports: &[Port]) -> Vec<String> {
    if ports.is_empty() {
        return vec![String::from("Ports: none")];
    }
    let mut rows = vec![["PORT", "STATE", "LAST", "FRAMES", "BAD", "GONE", "DEVICES"].map(str::to_owned)];
    rows.extend(ports.iter().map(|port| {
        [
            shorten(&port.path),
            port.state.as_str().to_owned(),
            seconds(port.last_frame_age_s),
            port.frames.to_string(),
            (port.bad_check + port.bad_decode).to_string(),
            port.disconnects.to_string(),
            devices(&port.device),
        ]
    }));
    let errors = ports.iter().filter_map(|port| {
        let is_well = matches!(port.state, PortState::Open | PortState::Silent);
        trouble(&port.path, port.last_error.as_deref(), is_well)
    });
    table(&rows).into_iter().chain(errors).collect()
}

/// The first few: a line that garbles the key that names its devices can have hundreds.
fn devices(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(MAX_DEVICES));
    let shown = shown.join(" ");
    if more.is_empty() { shown } else { format!("{shown} and {} more", more.len()) }
}

fn queue(queue: &Queue) -> Vec<String> {
    let state = match (queue.state, &queue.last_error) {
        (QueueState::Ok, _) => "ok",
        (QueueState::Degraded, Some(error)) => &format!("DEGRADED, {error}"),
        (QueueState::Degraded, None) => "DEGRADED",
        (QueueState::Full, _) => "FULL",
    };
    let dropped = &queue.dropped;
    let purged = if dropped.purged > 0 { format!(", {} purged", dropped.purged) } else { String::new() };
    let mut lines = vec![
        format!(
            "Queue: {state}; {} waiting ({} in memory only), {} on disk, oldest {}",
            queue.readings,
            queue.volatile,
            size(queue.bytes),
            seconds(queue.oldest_age_s),
        ),
        format!(
            "  {} accepted = {} delivered + {} dropped ({} full, {} expired, {} corrupt, {} refused{purged}) + {} waiting",
            queue.accepted,
            queue.delivered,
            dropped.total(),
            dropped.full,
            dropped.expired,
            dropped.corrupt,
            dropped.refused,
            queue.readings,
        ),
        format!("  {}, {} written since start", count(queue.commits, "commit"), size(queue.flash_bytes)),
    ];
    let dead = &queue.dead_letters;
    if dead.count > 0 {
        let kept = count(dead.count, "dead letter");
        lines.push(format!("  {kept}, {}; see `serialgate queue dead-letters`", size(dead.bytes)));
    }
    lines
}

fn bridges(bridges: &[Bridge]) -> Vec<String> {
    if bridges.is_empty() {
        return vec![String::from("Bridges: none")];
    }
    let mut rows =
        vec![["BRIDGE", "STATE", "FOR", "BACKLOG", "IN FLIGHT", "DELIVERED", "ETA"].map(str::to_owned)];
    rows.extend(bridges.iter().map(|bridge| {
        [
            shorten(&bridge.name),
            bridge_state(bridge.state).to_owned(),
            age(Duration::from_secs(bridge.since_s)),
            bridge.backlog.to_string(),
            bridge.in_flight.to_string(),
            bridge.delivered.to_string(),
            bridge.eta_s.map_or_else(|| String::from("-"), |eta| age(Duration::from_secs(eta))),
        ]
    }));
    let errors = bridges.iter().filter_map(|bridge| {
        let is_well = bridge.state == BridgeState::Connected;
        trouble(&bridge.name, bridge.last_error.as_deref(), is_well)
    });
    table(&rows).into_iter().chain(errors).collect()
}

fn bridge_state(state: BridgeState) -> &'static str {
    match state {
        BridgeState::Connected => "connected",
        BridgeState::Connecting => "connecting",
        BridgeState::Backoff => "backoff",
        BridgeState::Paused => "paused",
    }
}

/// What is wrong, or was when `is_well`.
fn trouble(name: &str, error: Option<&str>, is_well: bool) -> Option<String> {
    let name = shorten(name);
    error.map(
        |error| {
            if is_well { format!("  {name}, last trouble: {error}") } else { format!("  {name}: {error}") }
        },
    )
}

/// Rows as lines: the first two columns and the last to the left, numbers to the right.
fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            let left = column < 2 || column == N - 1;
            if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A long name without its middle: both ends of a by-id link tell something.
fn shorten(name: &str) -> String {
    let length = name.chars().count();
    if length <= MAX_NAME_CHARS {
        return name.to_owned();
    }
    let end = MAX_NAME_CHARS / 2;
    let start = MAX_NAME_CHARS - end - 1;
    name.chars().take(start).chain(['…']).chain(name.chars().skip(length - end)).collect()
}

fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A size with three digits or so.
fn size(bytes: u64) -> String {
    let unit = [1_u64 << 30, 1 << 20, 1 << 10].into_iter().find(|unit| bytes >= 10 * unit).unwrap_or(1);
    print_size(bytes / unit * unit)
}

/// A time span in at most two units.
fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

pub(in crate::command) fn seconds(seconds: Option<f64>) -> String {
    match seconds.map(Duration::try_from_secs_f64) {
        None | Some(Err(_)) => String::from("-"),
        Some(Ok(span)) if span < Duration::from_secs(10) => format!("{:.1}s", span.as_secs_f64()),
        Some(Ok(span)) => age(span),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::status::{DeadLetters, Dropped};

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            gateway: "greenhouse".into(),
            uptime_s: 93_784,
            clock_synced: true,
            ports: Vec::new(),
            queue: Queue::default(),
            bridges: Vec::new(),
            broker: Broker::default(),
        }
    }

    #[test]
    fn a_busy_gateway_fits_on_a_screen() {
        let open = Port {
            path: "/dev/serial/by-id/usb-Arduino__www.arduino.cc__0043_7523230313535-if00".into(),
            state: PortState::Open,
            device: vec!["shed-1a2b".into(), "roof-9f00".into()],
            frames: 12_345,
            bad_check: 2,
            bad_decode: 1,
            last_frame_age_s: Some(0.21),
            ..Port::default()
        };
        let busy = Port {
            path: "/dev/ttyUSB1".into(),
            state: PortState::Busy,
            disconnects: 1,
            last_error: Some("held by minicom (pid 812)".into()),
            ..Port::default()
        };
        let cloud = Bridge {
            name: "cloud".into(),
            state: BridgeState::Backoff,
            since_s: 75,
            backlog: 3600,
            delivered: 8745,
            last_error: Some("connection refused".into()),
            ..Bridge::default()
        };
        let spare = Bridge {
            name: "spare".into(),
            state: BridgeState::Connected,
            since_s: 4000,
            backlog: 12,
            in_flight: 12,
            delivered: 12_333,
            eta_s: Some(1),
            ..Bridge::default()
        };
        let queue = Queue {
            readings: 3600,
            bytes: 123_456,
            oldest_age_s: Some(75.5),
            volatile: 4,
            accepted: 12_348,
            delivered: 8745,
            dropped: Dropped { full: 2, expired: 1, ..Dropped::default() },
            dead_letters: DeadLetters { count: 3, bytes: 2048, lost: 0 },
            commits: 301,
            flash_bytes: 50_000_000,
            state: QueueState::Degraded,
            last_error: Some("database or disk is full".into()),
        };
        let broker =
            Broker { clients: 1, subscriptions: 2, retained: 7, sent: 99, refused: 2, ..Broker::default() };
        let status =
            Status { ports: vec![open, busy], queue, bridges: vec![cloud, spare], broker, ..status() };
        assert_snapshot!(render(&status), @r"
        serialgate 0.1.0 on greenhouse, up 1d 2h, clock synchronised

        PORT                                          STATE  LAST  FRAMES  BAD  GONE  DEVICES
        /dev/serial/by-id/usb…043_7523230313535-if00  open   0.2s   12345    3     0  shed-1a2b roof-9f00
        /dev/ttyUSB1                                  busy      -       0    0     1
          /dev/ttyUSB1: held by minicom (pid 812)

        Queue: DEGRADED, database or disk is full; 3600 waiting (4 in memory only), 120KiB on disk, oldest 1min 15s
          12348 accepted = 8745 delivered + 3 dropped (2 full, 1 expired, 0 corrupt, 0 refused) + 3600 waiting
          301 commits, 47MiB written since start
          3 dead letters, 2KiB; see `serialgate queue dead-letters`

        BRIDGE  STATE           FOR  BACKLOG  IN FLIGHT  DELIVERED  ETA
        cloud   backoff    1min 15s     3600          0       8745  -
        spare   connected   1h 6min       12         12      12333  1s
          cloud: connection refused

        Local broker: 1 client, 2 subscriptions, 7 retained; 0 received, 99 sent, 0 dropped; 2 connections refused
        ");
    }

    #[test]
    fn an_idle_gateway_says_what_it_lacks() {
        assert_snapshot!(render(&Status { clock_synced: false, uptime_s: 3, ..status() }), @r"
        serialgate 0.1.0 on greenhouse, up 3s, CLOCK NEVER SYNCHRONISED

        Ports: none

        Queue: ok; 0 waiting (0 in memory only), 0B on disk, oldest -
          0 accepted = 0 delivered + 0 dropped (0 full, 0 expired, 0 corrupt, 0 refused) + 0 waiting
          0 commits, 0B written since start

        Bridges: none

        Local broker: 0 clients, 0 subscriptions, 0 retained; 0 received, 0 sent, 0 dropped
        ");
    }

    #[test]
    fn a_local_broker_in_trouble_says_so() {
        let degraded = Broker {
            clients: 2,
            state: BrokerState::Degraded,
            last_error: Some("database or disk is full".into()),
            refused: 1,
            logins_refused: 12,
            ..Broker::default()
        };
        let loading = Broker { state: BrokerState::Loading, ..Broker::default() };
        assert_snapshot!(format!("{}\n{}", broker(&degraded), broker(&loading)), @r"
        Local broker: DEGRADED, database or disk is full; 2 clients, 0 subscriptions, 0 retained; 0 received, 0 sent, 0 dropped; 1 connection refused; 12 logins refused
        Local broker: LOADING; 0 clients, 0 subscriptions, 0 retained; 0 received, 0 sent, 0 dropped
        ");
    }

    #[test]
    fn a_port_with_many_devices_and_a_past_has_a_line_for_each() {
        let port = Port {
            path: "/dev/ttyUSB1".into(),
            state: PortState::Open,
            device: (0..300).map(|n| format!("dev{n}")).collect(),
            disconnects: 1,
            last_error: Some("no such device".into()),
            ..Port::default()
        };
        assert_snapshot!(ports(&[port]).join("\n"), @r"
        PORT          STATE  LAST  FRAMES  BAD  GONE  DEVICES
        /dev/ttyUSB1  open      -       0    0     1  dev0 dev1 dev2 dev3 dev4 dev5 dev6 dev7 and 292 more
          /dev/ttyUSB1, last trouble: no such device
        ");
    }

    #[test]
    fn odd_numbers_do_no_harm() {
        for odd in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(seconds(Some(odd)), "-");
        }
        assert_eq!(size(u64::MAX), "17179869183GiB");
        assert_eq!(shorten(&"é".repeat(100)).chars().count(), MAX_NAME_CHARS);
    }
}
