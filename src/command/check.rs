//! `serialgate check`: is the configuration right, and what does it mean? And do its links work?

mod connect;

use std::fmt::{Display, Write};
use std::time::SystemTime;

use super::{ConfigArg, Exit, complain, say};
use crate::config::units::{print_duration, print_size};
use crate::config::{Bridge, Config, Durability, Endpoint, Order, Port, WhenFull};
use crate::mqtt::packet::Version;
use crate::transport::{self, Token};

/// `check` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate check --config /etc/serialgate/serialgate.yaml\n  \
    serialgate check --connect\n\n\
    Exit code 0: all is right. 78: the file is not, and every mistake stands on standard error as\n\
    FILE:LINE:COLUMN: what is wrong, and what to write instead. 69: a bridge cannot reach its broker.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Try the link of every bridge, step by step, beside a daemon that may be running
    #[arg(long)]
    connect: bool,
}

/// Checks the file and says in words what it means.
#[must_use]
pub fn run(args: &Args) -> Exit {
    match Config::load(&args.config.config) {
        Ok(config) => {
            say(format_args!("OK: {}\n{}", args.config.config.display(), describe(&config).trim_end()));
            for warning in warnings(&config) {
                complain(format_args!("warning: {warning}"));
            }
            if args.connect { connect::run(&config) } else { Exit::Ok }
        }
        Err(error) => {
            complain(error);
            Exit::Config
        }
    }
}

fn describe(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<8} {value}");
    };
    line(
        "gateway",
        &format!("{}, which publishes under {}/{}/", config.gateway, config.base, config.gateway),
    );
    for port in &config.ports {
        line("port", &describe_port(port));
    }
    line("queue", &describe_queue(&config.queue));
    let listeners: Vec<String> = config.broker.listen.iter().map(|l| l.address.to_string()).collect();
    line("broker", if listeners.is_empty() { "none".to_owned() } else { listeners.join(", ") }.as_str());
    for bridge in &config.bridges {
        line("bridge", &describe_bridge(bridge));
    }
    text
}

fn describe_port(port: &Port) -> String {
    let device = match (&port.device, &port.device_key) {
        (Some(device), _) => format!(", device {device}"),
        (None, Some(key)) => format!(", device named by the key {key}"),
        (None, None) => String::new(),
    };
    format!("{}, {}, {} baud{device}", port.path, port.format.as_str(), port.baud)
}

fn describe_queue(queue: &crate::config::Queue) -> String {
    let durability = match queue.durability {
        Durability::Late => "on disk or delivered within",
        Durability::Always => "on disk before it is sent, within",
    };
    let full = match queue.when_full {
        WhenFull::DropOldest => "the oldest give way",
        WhenFull::DropNewest => "new ones are dropped",
        WhenFull::Thin => "older ones are thinned out",
    };
    let readings = queue.max_readings.map_or_else(String::new, |most| format!(" or {most} readings"));
    format!(
        "{}, {durability} {}; at {}{readings} {full}; kept for {}",
        queue.path.display(),
        print_duration(queue.commit_within),
        print_size(queue.max_size),
        print_duration(queue.max_age),
    )
}

fn describe_bridge(bridge: &Bridge) -> String {
    let version = match bridge.protocol {
        None => "5, else 3.1.1",
        Some(Version::V5) => "5",
        Some(Version::V3) => "3.1.1",
    };
    let order = match bridge.order {
        Order::Oldest => "",
        Order::LiveFirst => ", live ones first",
    };
    let Endpoint { url, proxy, .. } = &bridge.endpoint;
    let way = proxy.as_ref().map_or(String::new(), |proxy| format!(" by the proxy {}", proxy.authority()));
    let what = match &bridge.forward {
        None => String::from("our own topics except state"),
        Some(filters) => filters.join(", "),
    };
    format!("{}, {url}{way} (MQTT {version}), gets {what}{order}", bridge.name)
}

/// What is allowed but probably not meant.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.ports.is_empty() {
        warnings.push("there are no ports, so nothing will be read".to_owned());
    }
    if config.broker.listen.is_empty() && config.bridges.is_empty() {
        warnings.push("there is no broker and no bridge, so readings go nowhere".to_owned());
    }
    for bridge in &config.bridges {
        let mut warn = |error: &dyn Display| warnings.push(format!("bridge {}: {error}", bridge.name));
        let token = bridge.password.as_ref().map(|password| Token::read(password, SystemTime::now()));
        token.transpose().err().iter().for_each(|error| warn(error));
        transport::check_files(&bridge.endpoint).err().iter().for_each(|error| warn(error));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_configuration_is_told_in_words() {
        let config = Config::parse(
            "gateway: greenhouse
ports:
  - path: /dev/serial/by-id/usb-Arduino_*
  - {path: /dev/ttyAMA0, format: json, baud: 9600, device: shed}
  - {path: /dev/ttyUSB1, format: json, device_key: id}
bridges:
  - {name: cloud, url: mqtt://broker.example.com, protocol: 3.1.1}
  - {name: spare, url: 'mqtt://[::1]:1884', forward: ['a/#', b], username: u, password: {file: /no/such/file}}
",
            "s.yaml",
        )
        .unwrap();
        assert_snapshot!(describe(&config), @r"
        gateway  greenhouse, which publishes under serialgate/greenhouse/
        port     /dev/serial/by-id/usb-Arduino_*, wire, 115200 baud
        port     /dev/ttyAMA0, json, 9600 baud, device shed
        port     /dev/ttyUSB1, json, 115200 baud, device named by the key id
        queue    /var/lib/serialgate/queue.db, on disk or delivered within 250ms; at 1GiB the oldest give way; kept for 30d
        broker   127.0.0.1:1883
        bridge   cloud, mqtt://broker.example.com:1883 (MQTT 3.1.1), gets our own topics except state
        bridge   spare, mqtt://[::1]:1884 (MQTT 5, else 3.1.1), gets a/#, b
        ");
        assert_snapshot!(warnings(&config).join("\n"), @"bridge spare: the password file /no/such/file cannot be read: No such file or directory (os error 2)");
    }

    #[test]
    fn an_idle_configuration_is_warned_about() {
        let config = Config::parse("broker: {listen: []}", "s.yaml").unwrap();
        assert_snapshot!(warnings(&config).join("\n"), @r"
        there are no ports, so nothing will be read
        there is no broker and no bridge, so readings go nowhere
        ");
    }
}
