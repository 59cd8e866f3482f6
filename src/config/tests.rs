mod wrong;

use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::mqtt::packet::{Qos, Version};
use crate::topic::{Route, Routes};

/// The file that is shipped.
const SHIPPED: &str = include_str!("../../config/serialgate.yaml");

fn parse(text: &str) -> Config {
    Config::parse(text, "/etc/serialgate/serialgate.yaml").unwrap_or_else(|error| panic!("{error}"))
}

fn mistakes(text: &str) -> String {
    Config::parse(text, "s.yaml").expect_err("should be refused").to_string()
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "# nothing\n", "---\n", "{}", "ports:\nbridges:\nqueue:\nbroker:\ncontrol:\n"] {
        assert_eq!(parse(text), Config::default(), "{text:?}");
    }
}

#[test]
fn the_shipped_file_equals_the_defaults() {
    assert_eq!(parse(SHIPPED), Config::default());
}

#[test]
fn the_examples_in_the_shipped_file_are_right() {
    let mut text = String::new();
    for line in SHIPPED.lines() {
        match line.strip_prefix('#') {
            // `#key` and `#  key` are examples, `# Words` are words.
            Some(example) if !example.starts_with(' ') || example.starts_with("  ") => text.push_str(example),
            _ if ["ports: []", "bridges: []", "control: {}"].contains(&line) => {}
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    // The command in the head of the file is indented too.
    let text = text.replace("  serialgate check", "# ");
    let config = parse(&text);
    assert_eq!(config.gateway, "greenhouse");
    assert_eq!(config.ports.len(), 3);
    assert_eq!(config.bridges.len(), 1);
    assert_eq!(config.control.socket, Some("/run/serialgate/control.sock".into()));
}

#[test]
fn every_key_of_the_gateway_arrives_where_it_belongs() {
    let config = parse("gateway: greenhouse\nbase: farm\ncontrol: {socket: run/c.sock}\n");
    let expected = Config {
        gateway: "greenhouse".into(),
        base: "farm".into(),
        control: Control { socket: Some("/etc/serialgate/run/c.sock".into()) },
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn every_key_of_a_port_arrives_where_it_belongs() {
    let config = parse(
        "ports:
  - path: /dev/serial/by-id/usb-Arduino_*
  - {path: /dev/ttyAMA0, format: json, device: shed, baud: 9600}
  - {path: /dev/ttyUSB1, format: json, device_key: id}
",
    );
    let json = |path: &str| Port { path: path.into(), format: Format::Json, ..Port::default() };
    let expected = [
        Port { path: "/dev/serial/by-id/usb-Arduino_*".into(), ..Port::default() },
        Port { device: Some("shed".into()), baud: 9600, ..json("/dev/ttyAMA0") },
        Port { device_key: Some("id".into()), ..json("/dev/ttyUSB1") },
    ];
    assert_eq!(config.ports, expected);
}

#[test]
fn every_key_of_the_queue_arrives_where_it_belongs() {
    let config = parse(
        "queue:
  path: q.db
  durability: always
  commit_within: 1s
  max_size: 64MiB
  max_age: 2h
  max_readings: 50000
  when_full: drop_newest
  dead_letters: 2MiB
",
    );
    let expected = Queue {
        path: "/etc/serialgate/q.db".into(),
        durability: Durability::Always,
        commit_within: Duration::from_secs(1),
        max_size: 64 << 20,
        max_age: Duration::from_secs(7200),
        max_readings: Some(50_000),
        when_full: WhenFull::DropNewest,
        dead_letters: 2 << 20,
    };
    assert_eq!(config.queue, expected);
    assert_eq!(parse("queue: {dead_letters: 0}").queue.dead_letters, 0);
}

#[test]
fn a_url_says_what_carries_mqtt_and_where() {
    for (text, shown, path) in [
        ("mqtt://h", "mqtt://h:1883", ""),
        ("mqtts://h/", "mqtts://h:8883", ""),
        ("ws://h", "ws://h:80/mqtt", "/mqtt"),
        ("wss://h:8084/", "wss://h:8084/", "/"),
        ("wss://[::1]/a/b?c=d:/e", "wss://[::1]:443/a/b?…", "/a/b?c=d:/e"),
        ("wss://h?token=x", "wss://h:443/mqtt?…", "/mqtt?token=x"),
    ] {
        let config = parse(&format!("bridges: [{{name: a, url: \"{text}\"}}]"));
        let url = &config.bridges[0].endpoint.url;
        assert_eq!((url.to_string().as_str(), url.path.as_str()), (shown, path), "{text}");
    }
}

#[test]
fn every_key_of_a_link_arrives_where_it_belongs() {
    let config = parse(
        "bridges:
  - name: cloud
    url: wss://broker.example.com
    tls: {ca: ca.pem, certificate: own.pem, key: /k, alpn: [x-amzn-mqtt-ca, mqtt], server_name: b.example.com}
    proxy: {url: 'http://proxy:3128/', username: u, password: {file: secrets/proxy}}
    username: hub.azure-devices.net/d
    password: {sas: {key: {file: secrets/key}, resource: hub.azure-devices.net/devices/d, policy: p, valid: 2h}}
  - {name: spare, url: 'mqtts://h', proxy: 'http://[::1]:8080'}
",
    );
    let folder = |file: &str| Path::new("/etc/serialgate").join(file);
    let Endpoint { tls, proxy, .. } = &config.bridges[0].endpoint;
    let expected = Tls {
        ca: Some(folder("ca.pem")),
        identity: Some(Identity { certificate: folder("own.pem"), key: "/k".into() }),
        alpn: vec!["x-amzn-mqtt-ca".into(), "mqtt".into()],
        server_name: Some("b.example.com".into()),
    };
    assert_eq!(*tls, expected);
    let expected = Proxy {
        host: "proxy".into(),
        port: 3128,
        username: Some("u".into()),
        password: Some(Secret::File(folder("secrets/proxy"))),
    };
    assert_eq!(*proxy, Some(expected));
    let expected = Sas {
        key: Secret::File(folder("secrets/key")),
        resource: "hub.azure-devices.net/devices/d".into(),
        policy: Some("p".into()),
        valid: Duration::from_secs(7200),
    };
    assert_eq!(config.bridges[0].password, Some(Password::Sas(expected)));
    let spare = &config.bridges[1].endpoint;
    assert_eq!(spare.tls, Tls::default());
    assert_eq!(spare.proxy.as_ref().unwrap().authority().to_string(), "[::1]:8080");
}

#[test]
fn every_key_of_a_bridge_arrives_where_it_belongs() {
    let config = parse(
        "bridges:
  - name: cloud
    url: mqtt://broker.example.com
    protocol: 3.1.1
    client_id: c1
    order: live_first
    receive: [a/+/set]
    session_expiry: 1h
    rate: {messages: 200/s, bytes: 64KiB/s}
    batch: {max: 50, within: 2s, compress: gzip}
    username: 0012
    password: {file: secrets/cloud}
    forward: [serialgate/#, {filter: sensors/+/temp, qos: 2, strip: sensors/, prefix: site/}]
  - {name: spare, url: 'mqtt://[2001:db8::1]:8883/', username: u, password: {env: SPARE}}
",
    );
    let cloud = Bridge {
        name: "cloud".into(),
        endpoint: Endpoint {
            url: Url {
                scheme: Scheme::Mqtt,
                host: "broker.example.com".into(),
                port: 1883,
                path: String::new(),
            },
            ..Endpoint::default()
        },
        protocol: Some(Version::V3),
        client_id: Some("c1".into()),
        username: Some("0012".into()),
        password: Some(Password::Plain(Secret::File("/etc/serialgate/secrets/cloud".into()))),
        order: Order::LiveFirst,
        receive: Routes::plain(["a/+/set"]).unwrap(),
        session_expiry: Some(Duration::from_secs(3600)),
        rate: Rate { messages: Some(200), bytes: Some(65_536) },
        batch: Some(Batch { max: 50, within: Duration::from_secs(2), compress: Some(Compression::Gzip) }),
        forward: Some(Routes::from_iter([
            Route::plain("serialgate/#").unwrap(),
            Route::plain("sensors/+/temp")
                .unwrap()
                .with_qos(Qos::ExactlyOnce)
                .renamed("sensors/", "site/")
                .unwrap(),
        ])),
    };
    let spare = Bridge {
        name: "spare".into(),
        endpoint: Endpoint::tcp("[2001:db8::1]:8883".parse().unwrap()),
        username: Some("u".into()),
        password: Some(Password::Plain(Secret::Env("SPARE".into()))),
        ..Bridge::default()
    };
    assert_eq!(config.bridges, [cloud, spare]);
}

#[test]
fn relative_paths_begin_at_the_folder_of_the_file() {
    for (file, path, expected) in [
        ("/etc/s/serialgate.yaml", "q.db", "/etc/s/q.db"),
        ("/etc/s/serialgate.yaml", "/var/q.db", "/var/q.db"),
        ("conf/s.yaml", "./q.db", "conf/q.db"),
        ("s.yaml", "q.db", "./q.db"),
    ] {
        let config = Config::parse(&format!("queue: {{path: {path}}}"), file).unwrap();
        assert_eq!(config.queue.path, Path::new(expected), "{path} in {file}");
        assert_ne!(config.queue.path.parent(), Some(Path::new("")), "{path} in {file}");
    }
}

#[test]
fn a_json_device_without_a_name_is_called_after_its_line() {
    let device = |port: &str| parse(&format!("ports: [{{path: {port}}}]")).ports[0].device.clone();
    assert_eq!(device("/dev/ttyUSB0, format: json").as_deref(), Some("ttyusb0"));
    assert_eq!(device("/dev/ttyUSB0, format: json, device_key: id"), None);
    assert_eq!(device("/dev/ttyUSB*, format: json"), None);
    assert_eq!(device("/dev/ttyUSB0"), None);
    assert_eq!(
        Port::device_at("/dev/serial/by-id/usb-Arduino_7-if00").as_deref(),
        Some("usb-arduino_7-if00")
    );
}

#[test]
fn the_protocol_may_be_written_as_a_number_or_a_text() {
    for (written, expected) in [
        ("5", Version::V5),
        ("\"5\"", Version::V5),
        ("5.0", Version::V5),
        ("3.1.1", Version::V3),
        ("'3.1.1'", Version::V3),
    ] {
        let config = parse(&format!("bridges: [{{name: a, url: \"mqtt://h\", protocol: {written}}}]"));
        assert_eq!(config.bridges[0].protocol, Some(expected), "{written}");
    }
}

#[test]
fn no_listener_means_no_local_broker() {
    assert_eq!(parse("broker: {listen: []}").broker.listen, []);
    assert_eq!(parse("broker:\n  listen:\n    # - 127.0.0.1:1883\n").broker.listen, []);
}

#[test]
fn a_file_that_is_not_there_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::load(&folder.path().join("no.yaml")).unwrap_err().to_string();
    assert!(error.ends_with("no.yaml: the configuration cannot be read: No such file or directory (os error 2); name another one with --config FILE"), "{error}");
}

#[test]
fn a_file_is_read_within_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, "queue: {path: q.db}").unwrap();
    assert_eq!(Config::load(&path).unwrap().queue.path, folder.path().join("q.db"));
    std::fs::write(&path, vec![b'#'; MAX_FILE_BYTES + 1]).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
    std::fs::write(&path, b"gateway: \xff\n").unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
}

#[test]
fn a_file_that_explodes_is_refused() {
    let deep = "[".repeat(100_000);
    let wide = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        text + &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 9].join(", "))
    });
    for text in [deep, wide] {
        assert!(Config::parse(&text, "s.yaml").is_err());
    }
}

#[test]
fn secrets_are_never_repeated() {
    for text in [
        "bridges: [{name: a, url: \"mqtt://h\", username: u, password: hunter2}]",
        "bridges: [{name: a, url: \"mqtt://u:hunter2@h\"}]",
        "bridges: [{name: a, url: \"u:hunter2@h\"}]",
    ] {
        assert!(!mistakes(text).contains("hunter2"), "{}", mistakes(text));
    }
    let config = parse("bridges: [{name: a, url: \"mqtt://h\", username: u, password: {env: PATH}}]");
    let value = config.bridges[0].password.as_ref().unwrap().secret().read().unwrap();
    assert!(!format!("{config:?}").contains(&value));
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_list_of_mistakes(text: String) {
        let _ = Config::parse(&text, "s.yaml").map_err(|error| error.to_string());
    }

    #[test]
    fn a_damaged_file_is_a_configuration_or_a_list_of_mistakes(
        cuts in proptest::collection::vec((0..SHIPPED.len(), 0..40_usize, "[-#:{}\\[\\],*&!|>'\"%@`a-z0-9 \n\t]{0,6}"), 1..6)
    ) {
        let mut text: Vec<char> = SHIPPED.replace("\n#", "\n").chars().collect();
        for (at, length, new) in cuts {
            let start = at.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(ConfigError::Invalid(problems)) = Config::parse(&text, "s.yaml") {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
        }
    }
}
