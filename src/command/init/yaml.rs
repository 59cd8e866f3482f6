//! From answers to the text of a configuration. Pure.

use std::fmt::{self, Display, Write};

use super::presets::{Forward, GATEWAY, Link, Preset};
use crate::config::Format;

/// All that `init` has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) gateway: String,
    pub(super) ports: Vec<Port>,
    /// Lines that are there and not wanted: they stand in the file as comments.
    pub(super) others: Vec<String>,
    /// The queue lies beside the configuration, not in `/var/lib/serialgate`.
    pub(super) queue_beside: bool,
    pub(super) cloud: Option<Cloud>,
}

/// One serial line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) path: String,
    pub(super) speaks: Speaks,
}

/// What is spoken on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Wire,
    Json { device: String, baud: u32 },
}

/// The bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    pub(super) preset: &'static Preset,
    pub(super) url: String,
    pub(super) login: Login,
    pub(super) ca: Option<String>,
}

/// Who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    Anonymous,
    Password { username: String, file: String },
    Certificate { client: String, as_user: bool, certificate: String, key: String },
    Sas { device: String, file: String },
}

const HEAD: &str = "\
# yaml-language-server: $schema=/usr/share/serialgate/serialgate.schema.json
# Serialgate, first written by `serialgate init`. `serialgate check` finds mistakes and says what to write.
# Keys that do not stand here have good defaults; `man serialgate.yaml` has all of them.
";

/// The text of the file.
pub(super) fn yaml(answers: &Answers) -> String {
    let mut text = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = write(&mut text, answers);
    text
}

fn write(text: &mut String, answers: &Answers) -> fmt::Result {
    let gateway = Scalar(&answers.gateway);
    writeln!(text, "\n# The name of this gateway in topics: serialgate/{}/DEVICE/data", answers.gateway)?;
    writeln!(text, "gateway: {gateway}")?;
    write_ports(text, answers)?;
    text.push_str(
        "\n# Readings wait here until the cloud has acknowledged them, however long the network is away.\n",
    );
    let path = if answers.queue_beside { "queue.db" } else { "/var/lib/serialgate/queue.db" };
    writeln!(text, "queue:\n  path: {path}\n  max_size: 1GiB\n  when_full: drop_oldest")?;
    text.push_str(
        "\n# Programs on this machine get the readings here. `listen: []` runs without a local broker.\n",
    );
    text.push_str("broker:\n  listen:\n    - 127.0.0.1:1883\n");
    match &answers.cloud {
        Some(cloud) => write_bridge(text, cloud, answers),
        None => text.write_str(NO_BRIDGE),
    }
}

const NO_BRIDGE: &str = "
# Other brokers that get the readings: none yet. docs/clouds.md has a recipe for each cloud.
bridges: []
#bridges:
#  - name: cloud
#    url: mqtts://broker.example.com
#    username: greenhouse
#    password: {file: secrets/cloud}
";

fn write_ports(text: &mut String, answers: &Answers) -> fmt::Result {
    text.push_str("\n# The serial lines. A name under /dev/serial/by-id follows the board to any socket.\n");
    let speaks = |format: Format| {
        answers.ports.iter().any(|port| matches!(port.speaks, Speaks::Wire) == (format == Format::Wire))
    };
    if answers.ports.is_empty() || speaks(Format::Wire) {
        text.push_str(
            "# wire: boards with the Serialgate library. They tell their names, channels and units.\n",
        );
    }
    if answers.ports.is_empty() || speaks(Format::Json) {
        text.push_str("# json: boards that print one JSON object a line, as in {\"temp\": 21.5}.\n");
    }
    text.push_str(if answers.ports.is_empty() { "ports: []\n" } else { "ports:\n" });
    for port in &answers.ports {
        writeln!(text, "  - path: {}", Scalar(&port.path))?;
        match &port.speaks {
            Speaks::Wire => text.push_str("    format: wire\n"),
            Speaks::Json { device, baud } => {
                writeln!(text, "    format: json\n    baud: {baud}")?;
                writeln!(text, "    device: {}  # its name in topics", Scalar(device))?;
            }
        }
    }
    let example = "/dev/serial/by-id/usb-Arduino_*".to_owned();
    let none = answers.ports.is_empty() && answers.others.is_empty();
    if answers.ports.is_empty() {
        text.push_str("#ports:\n");
    }
    for path in answers.others.iter().chain(none.then_some(&example)) {
        writeln!(text, "#  - path: {}\n#    format: wire", Scalar(path))?;
    }
    Ok(())
}

fn write_bridge(text: &mut String, cloud: &Cloud, answers: &Answers) -> fmt::Result {
    let preset = cloud.preset;
    writeln!(text, "\n# The broker that gets the readings: {}.", preset.title)?;
    text.push_str("# What to create there, what it limits and the usual mistakes: docs/clouds.md\n");
    for line in preset.about {
        writeln!(text, "# {}", line.replace(GATEWAY, &answers.gateway))?;
    }
    writeln!(text, "bridges:\n  - name: {}\n    url: {}", preset.name, Scalar(&cloud.url))?;
    if let Some(protocol) = preset.protocol {
        writeln!(text, "    protocol: {protocol}")?;
    }
    write_login(text, cloud)?;
    preset.more.iter().try_for_each(|line| writeln!(text, "    {line}"))?;
    write_forward(text, cloud, answers)
}

const SECRET: &str = "    # The first line of this file. Nobody but the daemon has to be able to read it.\n";

fn write_login(text: &mut String, cloud: &Cloud) -> fmt::Result {
    let mut tls = Vec::new();
    tls.extend(cloud.ca.as_ref().map(|ca| ("ca", ca)));
    match &cloud.login {
        Login::Anonymous => {}
        Login::Password { username, file } => {
            writeln!(text, "    username: {}", Scalar(username))?;
            writeln!(text, "{SECRET}    password: {{file: {}}}", Scalar(file))?;
        }
        Login::Certificate { client, as_user, certificate, key } => {
            writeln!(text, "    client_id: {}", Scalar(client))?;
            if *as_user {
                writeln!(text, "    username: {}", Scalar(client))?;
            }
            tls.extend([("certificate", certificate), ("key", key)]);
        }
        Login::Sas { device, file } => {
            let host = host_of(&cloud.url);
            let user = format!("{host}/{device}/?api-version=2021-04-12");
            writeln!(text, "    client_id: {}\n    username: {}", Scalar(device), Scalar(&user))?;
            writeln!(text, "{SECRET}    password:\n      sas:\n        key: {{file: {}}}", Scalar(file))?;
            writeln!(text, "        resource: {}", Scalar(&format!("{host}/devices/{device}")))?;
        }
    }
    if !tls.is_empty() {
        text.push_str("    tls:\n");
    }
    tls.into_iter().try_for_each(|(key, file)| writeln!(text, "      {key}: {}", Scalar(file)))
}

fn write_forward(text: &mut String, cloud: &Cloud, answers: &Answers) -> fmt::Result {
    let gateway = &answers.gateway;
    match (cloud.preset.forward, &cloud.login) {
        (Forward::IotHub, Login::Sas { device, .. }) => {
            text.push_str("    # What goes there: the topic is taken away, and the properties say what it was.\n    forward:\n");
            let mut entry = |hash: &str, topic: &str, properties: &str| {
                let topic = format!("serialgate/{gateway}/{topic}");
                let there = format!("devices/{device}/messages/events/{properties}");
                writeln!(text, "{hash}      - filter: {0}\n{hash}        strip: {0}", Scalar(&topic))?;
                writeln!(text, "{hash}        prefix: {}", Scalar(&there))
            };
            let json = "&$.ct=application%2Fjson&$.ce=utf-8";
            entry("", "status", "kind=status")?;
            entry("", "event", &format!("kind=event{json}"))?;
            for port in &answers.ports {
                if let Speaks::Json { device, .. } = &port.speaks {
                    entry("", &format!("{device}/data"), &format!("device={device}{json}"))?;
                }
            }
            entry("#", "DEVICE/data", &format!("device=DEVICE{json}"))?;
            text.write_str(
                "    # One such entry for each device; `serialgate status` shows the names of boards.\n",
            )
        }
        (Forward::Filter(filter), _) => {
            let filter = filter.replace(GATEWAY, gateway);
            writeln!(text, "    # What goes there.\n    forward:\n      - {}", Scalar(&filter))
        }
        (Forward::Own | Forward::IotHub, _) => {
            text.push_str("    # What goes there: all of the gateway's own topics except `state`, unless `forward` says\n");
            text.write_str("    # otherwise, as in forward: [\"serialgate/#\", \"sensors/#\"]\n")
        }
    }
}

/// The host of `url`, without scheme, port and path.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split([':', '/', '?']).next().unwrap_or(rest)
}

/// The url of a broker at `host`, which may be a whole url.
pub(super) fn url(host: &str, link: Link, tls: bool) -> String {
    match link {
        _ if host.contains("://") => host.to_owned(),
        Link::Own if !tls => format!("mqtt://{host}"),
        Link::Own | Link::Public => format!("mqtts://{host}"),
    }
}

/// A text as a YAML value: read back, it is the very same text, and never a number, a truth value or a
/// group of keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::command) struct Scalar<'a>(pub(in crate::command) &'a str);

impl Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if is_odd(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// What YAML does not take as it is (1.2.2, 5.1), or takes for the end of a line. All of it has up to four
/// hexadecimal digits.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether `text` can stand without quotes, also within braces.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let mut rest = text.chars().peekable();
    let mut fits = || {
        while let Some(c) = rest.next() {
            let inside = rest.peek().is_some_and(|next| next.is_ascii_alphanumeric() || *next == '/');
            if !(c.is_ascii_alphanumeric() || "/._-".contains(c) || (c == ':' && inside)) {
                return false;
            }
        }
        true
    };
    begins_well && fits() && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::super::presets::{Access, PRESETS, find};
    use super::*;
    use crate::config::{Config, Identity, Password, Secret};

    /// Answers for `preset` in which everything that a person can type is `text`.
    fn answers(preset: &'static Preset, text: &str) -> Answers {
        let file = || format!("{text}.file");
        let login = match preset.access {
            Access::Password { .. } => Login::Password { username: text.to_owned(), file: file() },
            Access::Certificate { as_user, .. } => {
                Login::Certificate { client: text.to_owned(), as_user, certificate: file(), key: file() }
            }
            Access::Sas => Login::Sas { device: in_topic(text), file: file() },
        };
        let json = Speaks::Json { device: "0123".into(), baud: 9600 };
        Answers {
            gateway: "007".into(),
            ports: vec![
                Port { path: format!("/dev/{}", glob_free(text)), speaks: json },
                Port { path: "/dev/ttyUSB0".into(), speaks: Speaks::Wire },
            ],
            others: vec![format!("/dev/{text}")],
            queue_beside: true,
            cloud: Some(Cloud {
                preset,
                url: url("broker.example.com", Link::Public, true),
                login,
                ca: Some(file()),
            }),
        }
    }

    /// A device of IoT Hub stands in a topic.
    fn in_topic(text: &str) -> String {
        text.replace(['+', '#'], "_")
    }

    /// A `[` would have to be a right pattern.
    fn glob_free(text: &str) -> String {
        text.replace(['[', ']', '*', '?'], "_")
    }

    fn parse(text: &str) -> Config {
        Config::parse(text, "s.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Whatever is typed arrives as it was typed.
    fn arrives(preset: &'static Preset, text: &str) {
        let answers = answers(preset, text);
        let config = parse(&yaml(&answers));
        assert_eq!(config.gateway, "007");
        assert_eq!(config.ports[0].path, answers.ports[0].path);
        assert_eq!(config.ports[0].device.as_deref(), Some("0123"));
        let bridge = &config.bridges[0];
        let file = std::path::Path::new(".").join(format!("{text}.file"));
        assert_eq!(bridge.endpoint.tls.ca.as_ref(), Some(&file));
        match preset.access {
            Access::Password { .. } => {
                assert_eq!(bridge.username.as_deref(), Some(text));
                assert_eq!(bridge.password, Some(Password::Plain(Secret::File(file))));
            }
            Access::Certificate { as_user, .. } => {
                assert_eq!(bridge.client_id.as_deref(), Some(text));
                assert_eq!(bridge.username.is_some(), as_user);
                let own = Identity { certificate: file.clone(), key: file };
                assert_eq!(bridge.endpoint.tls.identity, Some(own));
            }
            Access::Sas => {
                let device = in_topic(text);
                assert_eq!(bridge.client_id, Some(device.clone()));
                let user = format!("broker.example.com/{device}/?api-version=2021-04-12");
                assert_eq!(bridge.username, Some(user));
                let Some(Password::Sas(sas)) = &bridge.password else { panic!("{:?}", bridge.password) };
                assert_eq!(sas.key, Secret::File(file));
                assert_eq!(sas.resource, format!("broker.example.com/devices/{device}"));
            }
        }
    }

    #[test]
    fn whatever_people_type_is_quoted_rightly() {
        for text in [
            "greenhouse",
            "007",
            "1e3",
            "0x1f",
            "1_000",
            "12:30:45",
            ".5",
            "~",
            "null",
            "True",
            "no",
            "a: b",
            "a #b",
            "#a",
            "a,b",
            "[a]",
            "{a}",
            "'a'",
            "\"a\"",
            "a\\b",
            "\\",
            "- a",
            "-",
            "?",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a`",
            "a:",
            "täst",
            "日本",
            "a b",
            " a ",
            "=",
            "<<",
            "---",
            "...",
            "vhost:user",
            "/:guest",
            "\u{feff}a",
        ] {
            PRESETS.iter().for_each(|preset| arrives(preset, text));
        }
    }

    proptest! {
        #[test]
        fn any_text_arrives(text in "\\PC{1,40}", preset in 0..PRESETS.len()) {
            arrives(&PRESETS[preset], &text);
        }
    }

    #[test]
    fn every_preset_says_what_it_promises() {
        for preset in PRESETS {
            assert_eq!(find(preset.name), Some(preset));
            let text = yaml(&answers(preset, "me"));
            let bridge = &parse(&text).bridges[0];
            assert_eq!(bridge.name, preset.name);
            assert_eq!(bridge.forward.is_some(), preset.forward != Forward::Own, "{}", preset.name);
            if let Forward::Filter(filter) = preset.forward {
                assert!(text.contains(&filter.replace(GATEWAY, "007")), "{text}");
            }
        }
    }

    #[test]
    fn a_file_without_anything_is_right_too_and_shows_how_to_go_on() {
        let nothing =
            Answers { gateway: "pi".into(), ports: vec![], others: vec![], queue_beside: false, cloud: None };
        let text = yaml(&nothing);
        assert_eq!(parse(&text), Config { gateway: "pi".into(), ..Config::default() });
        // The examples in it are right: `#key` and `#  key`, where `# Words` are words.
        let text = text.replace("ports: []\n", "").replace("bridges: []\n", "");
        let lines: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => rest,
                _ => line,
            })
            .collect();
        let config = parse(&lines.join("\n"));
        assert_eq!((config.ports.len(), config.bridges.len()), (1, 1));
    }

    #[test]
    fn the_file_teaches_a_newcomer() {
        let preset = find("hivemq").unwrap();
        let mut answers = answers(preset, "greenhouse");
        answers.gateway = "greenhouse".into();
        answers.others = vec!["/dev/serial0".into()];
        assert_snapshot!(yaml(&answers), @r##"
        # yaml-language-server: $schema=/usr/share/serialgate/serialgate.schema.json
        # Serialgate, first written by `serialgate init`. `serialgate check` finds mistakes and says what to write.
        # Keys that do not stand here have good defaults; `man serialgate.yaml` has all of them.

        # The name of this gateway in topics: serialgate/greenhouse/DEVICE/data
        gateway: greenhouse

        # The serial lines. A name under /dev/serial/by-id follows the board to any socket.
        # wire: boards with the Serialgate library. They tell their names, channels and units.
        # json: boards that print one JSON object a line, as in {"temp": 21.5}.
        ports:
          - path: /dev/greenhouse
            format: json
            baud: 9600
            device: "0123"  # its name in topics
          - path: /dev/ttyUSB0
            format: wire
        #  - path: /dev/serial0
        #    format: wire

        # Readings wait here until the cloud has acknowledged them, however long the network is away.
        queue:
          path: queue.db
          max_size: 1GiB
          when_full: drop_oldest

        # Programs on this machine get the readings here. `listen: []` runs without a local broker.
        broker:
          listen:
            - 127.0.0.1:1883

        # The broker that gets the readings: HiveMQ Cloud.
        # What to create there, what it limits and the usual mistakes: docs/clouds.md
        bridges:
          - name: hivemq
            url: mqtts://broker.example.com
            username: greenhouse
            # The first line of this file. Nobody but the daemon has to be able to read it.
            password: {file: greenhouse.file}
            tls:
              ca: greenhouse.file
            # What goes there: all of the gateway's own topics except `state`, unless `forward` says
            # otherwise, as in forward: ["serialgate/#", "sensors/#"]
        "##);
    }

    #[test]
    fn a_host_becomes_a_url() {
        for (host, link, tls, expected) in [
            ("b", Link::Public, false, "mqtts://b"),
            ("b", Link::Own, false, "mqtt://b"),
            ("b:1884", Link::Own, true, "mqtts://b:1884"),
            ("wss://b/mqtt", Link::Public, true, "wss://b/mqtt"),
        ] {
            assert_eq!(url(host, link, tls), expected);
        }
    }
}
