//! `serialgate check`: is the configuration right, and what does it mean? And do its links work?

mod connect;

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{ConfigArg, Exit, complain, say};
use crate::config::units::{print_duration, print_size};
use crate::config::{self, Bridge, Config, Durability, Endpoint, Listener, Order, Port, User, WhenFull};
use crate::mqtt::packet::{Qos, Version};
use crate::topic::{self, Route, Routes};
use crate::transport::server::Papers;
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
    let listeners: Vec<String> = config.broker.listen.iter().map(describe_listener).collect();
    line("broker", if listeners.is_empty() { "none".to_owned() } else { listeners.join(", ") }.as_str());
    for user in &config.broker.users {
        line("user", &describe_user(user));
    }
    for bridge in &config.bridges {
        line("bridge", &describe_bridge(bridge));
    }
    text
}

fn describe_listener(listener: &Listener) -> String {
    let mut how = Vec::new();
    how.extend(listener.tls.is_some().then_some("TLS"));
    how.extend(listener.wants_certificates().then_some("client certificates"));
    how.extend(listener.websocket.then_some("WebSocket"));
    how.extend((!listener.anonymous).then_some("nobody without a name"));
    let address = listener.address;
    if how.is_empty() { address.to_string() } else { format!("{address} ({})", how.join(", ")) }
}

fn describe_user(user: &User) -> String {
    let how = if user.password.is_some() { "password or certificate" } else { "certificate" };
    let what = |filters: &Option<Vec<Arc<str>>>| match filters {
        None => "everything".to_owned(),
        Some(filters) if filters.is_empty() => "nothing".to_owned(),
        Some(filters) => filters.join(", "),
    };
    format!(
        "{} ({how}), publishes {}; subscribes to {}",
        user.name,
        what(&user.publish),
        what(&user.subscribe)
    )
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
        Some(routes) => describe_routes(routes),
    };
    let back = match describe_routes(&bridge.receive) {
        none if none.is_empty() => none,
        routes => format!("; gives {routes}"),
    };
    let kept = match bridge.session_expiry() {
        Duration::ZERO => String::new(),
        time => format!("; session kept for {}", print_duration(time)),
    };
    format!("{}, {url}{way} (MQTT {version}), gets {what}{order}{back}{kept}", bridge.name)
}

/// Filters, where something is renamed with what it is called there, and every QoS that is not 1.
fn describe_routes(routes: &Routes) -> String {
    let one = |route: &Route| {
        let (here, there) = (route.filter(), route.filter_there());
        let renamed = if **here == *there { String::new() } else { format!(" as {there}") };
        let qos = match route.qos() {
            Qos::AtLeastOnce => String::new(),
            qos => format!(" (QoS {})", qos as u8),
        };
        format!("{here}{renamed}{qos}")
    };
    routes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The first filter of what `bridge` forwards that the broker will send back, since over 3.1.1 it
/// sends us our own messages as well.
fn echoed(bridge: &Bridge, own: &str) -> Option<String> {
    if bridge.protocol != Some(Version::V3) {
        return None;
    }
    let up = match &bridge.forward {
        None => vec![own.to_owned()],
        Some(routes) => routes.iter().map(Route::filter_there).collect(),
    };
    let comes_back = |up: &String| bridge.receive.iter().any(|down| topic::overlap(up, down.filter()));
    up.into_iter().find(comes_back)
}

/// What is wrong with a listener's files, or will be soon. It listens all the same, and tries again.
fn listener_warning(listener: &Listener) -> Option<String> {
    let tls = listener.tls.as_ref()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let warning = match Papers::read(tls) {
        Ok(papers) => {
            let subject = &papers.own().subject;
            papers.own().warning(now).map(|warning| format!("the certificate of {subject} {warning}"))
        }
        Err(error) => Some(error.to_string()),
    };
    warning.map(|warning| format!("listener {}: {warning}", listener.address))
}

/// Passwords on a network that anybody can listen to, or that nobody can use.
fn user_warnings(broker: &config::Broker) -> Vec<String> {
    let has_passwords = broker.users.iter().any(|user| user.password.is_some());
    let is_open = |listener: &&Listener| {
        has_passwords && listener.tls.is_none() && !listener.address.ip().to_canonical().is_loopback()
    };
    let open = broker.listen.iter().filter(is_open).map(|listener| {
        format!(
            "listener {}: passwords cross the network in the clear; give it `tls`, unless nobody else is on that \
             network",
            listener.address
        )
    });
    let takes_certificates = broker.listen.iter().any(Listener::wants_certificates);
    let useless = broker.users.iter().filter(|user| user.password.is_none() && !takes_certificates);
    let useless = useless.map(|user| {
        format!(
            "user {}: without `password_hash` only a client certificate lets it in, and no listener has `client_ca`; \
             `serialgate passwd` makes a hash",
            user.name
        )
    });
    open.chain(useless).collect()
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
    warnings.extend(config.broker.listen.iter().filter_map(listener_warning));
    warnings.extend(user_warnings(&config.broker));
    let own = format!("{}/{}/#", config.base, config.gateway);
    for bridge in &config.bridges {
        if let Some(filter) = echoed(bridge, &own) {
            warnings.push(format!(
                "bridge {}: what goes up to {filter} falls under `receive` as well, and over MQTT 3.1.1 the broker \
                 sends it back, which costs traffic; use `protocol: 5`, or names that differ by direction",
                bridge.name
            ));
        }
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
  - {name: spare, url: 'mqtt://[::1]:1884', forward: ['a/#', {filter: b/c, qos: 0, strip: b/, prefix: x/}], receive: ['c/+/set'], username: u, password: {file: /no/such/file}}
",
            "s.yaml",
        ).unwrap();
        assert_snapshot!(describe(&config), @r"
        gateway  greenhouse, which publishes under serialgate/greenhouse/
        port     /dev/serial/by-id/usb-Arduino_*, wire, 115200 baud
        port     /dev/ttyAMA0, json, 9600 baud, device shed
        port     /dev/ttyUSB1, json, 115200 baud, device named by the key id
        queue    /var/lib/serialgate/queue.db, on disk or delivered within 250ms; at 1GiB the oldest give way; kept for 30d
        broker   127.0.0.1:1883
        bridge   cloud, mqtt://broker.example.com:1883 (MQTT 3.1.1), gets our own topics except state
        bridge   spare, mqtt://[::1]:1884 (MQTT 5, else 3.1.1), gets a/#, b/c as x/c (QoS 0); gives c/+/set; session kept for 1d
        ");
        assert_snapshot!(warnings(&config).join("\n"), @"bridge spare: the password file /no/such/file cannot be read: No such file or directory (os error 2)");
    }

    #[test]
    fn listeners_are_told_with_what_is_wrong_with_their_files() {
        use rcgen::{CertificateParams, KeyPair, date_time_ymd};
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["gateway.lan".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2001, 2, 3);
        params.not_before = date_time_ymd(2000, 2, 3);
        let certificate = params.self_signed(&key).unwrap().pem();
        let other = KeyPair::generate().unwrap();
        for (name, content) in
            [("a.pem", &certificate), ("a.key", &key.serialize_pem()), ("b.key", &other.serialize_pem())]
        {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let text = "gateway: pi
ports: [{path: /dev/a}]
broker:
  listen:
    - 127.0.0.1:1883
    - {address: '0.0.0.0:8883', tls: {certificate: a.pem, key: a.key, client_ca: a.pem}}
    - {address: '127.0.0.1:8884', tls: {certificate: a.pem, key: b.key}}
    - {address: '127.0.0.1:8084', websocket: true, tls: {certificate: no.pem, key: a.key}}
";
        let config = Config::parse(text, folder.path().join("s.yaml")).unwrap();
        let told = describe(&config);
        let told = told.lines().find(|line| line.contains("broker")).unwrap();
        assert_snapshot!(told.trim(), @r"
        broker   127.0.0.1:1883, 0.0.0.0:8883 (TLS, client certificates), 127.0.0.1:8884 (TLS), 127.0.0.1:8084 (TLS, WebSocket)
        ");
        let warnings = warnings(&config).join("\n").replace(folder.path().to_str().unwrap(), "");
        assert_snapshot!(warnings, @r"
        listener 0.0.0.0:8883: the certificate of CN=rcgen self signed cert ended at 2001-02-03 00:00 UTC, and clients will not accept it; renew it
        listener 127.0.0.1:8884: the key /b.key does not belong to the certificate /a.pem; give the key that it was made with
        listener 127.0.0.1:8084: the file /no.pem of `tls` cannot be read: No such file or directory (os error 2)
        ");
    }

    #[test]
    fn users_are_told_with_what_is_wrong_with_their_ways_in() {
        let hash = "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8";
        let text = format!(
            "gateway: g
ports: [{{path: /dev/a}}]
broker:
  listen: [0.0.0.0:1883, {{address: 127.0.0.1:1884, anonymous: false}}]
  users:
    - {{name: esp32, password_hash: '{hash}', publish: [sensors/%c/#, up], subscribe: []}}
    - {{name: board}}
"
        );
        let config = Config::parse(&text, "s.yaml").unwrap();
        let told = describe(&config);
        let told: Vec<&str> =
            told.lines().filter(|line| line.contains("broker ") || line.contains("user ")).collect();
        assert_snapshot!(told.join("\n"), @r"
        broker   0.0.0.0:1883, 127.0.0.1:1884 (nobody without a name)
        user     esp32 (password or certificate), publishes sensors/%c/#, up; subscribes to nothing
        user     board (certificate), publishes everything; subscribes to everything
        ");
        assert_snapshot!(warnings(&config).join("\n"), @r"
        listener 0.0.0.0:1883: passwords cross the network in the clear; give it `tls`, unless nobody else is on that network
        user board: without `password_hash` only a client certificate lets it in, and no listener has `client_ca`; `serialgate passwd` makes a hash
        ");
    }

    #[test]
    fn what_would_come_back_is_warned_about() {
        let warned = |protocol: &str, forward: &str| {
            let text = format!(
                "ports: [{{path: /dev/a}}]\nbridges: [{{name: a, url: 'mqtt://h', protocol: {protocol}, \
                 forward: [{forward}], receive: [x/#]}}]"
            );
            warnings(&Config::parse(&text, "s.yaml").unwrap()).len()
        };
        assert_eq!(warned("3.1.1", "x/a"), 1);
        assert_eq!(warned("3.1.1", "{filter: x/a, strip: x/, prefix: up/}"), 0);
        assert_eq!(warned("3.1.1", "{filter: a, prefix: x/}"), 1);
        assert_eq!(warned("5", "x/a"), 0);
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
