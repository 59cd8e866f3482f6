//! Users: passwords made by `serialgate passwd`, certificates, and what each may do.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::agent::{Library, Version, everybody, payloads};
use crate::certificates::Certificates;
use crate::mosquitto;
use crate::reload::{assert_served, reload};
use crate::site::Site;
use crate::support::{PATIENCE, free_port, serialgate, wait_for};

const PASSWORD: &str = "ein Käfig voller Narren";

/// A user's line in the configuration, as `serialgate passwd` prints it, with more keys.
fn user(name: &str, more: &str) -> String {
    let mut command = serialgate();
    command.args(["passwd", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let line = String::from_utf8(output.stdout).unwrap();
    format!("{}, {more}}}\n", line.trim_end().strip_suffix('}').unwrap())
}

/// A broker with a board's user, who may do little, and one who may read everything.
fn site() -> Site {
    let board = "publish: [\"sensors/%u/#\", \"devices/%c/state\"], subscribe: [\"commands/%u\"]";
    Site::listening(|_| {
        format!("  users:\n{}{}", user("board", board), user("reader", "publish: [], subscribe: [\"#\"]"))
    })
}

fn as_user(name: &str) -> Value {
    json!({"username": name, "password": PASSWORD})
}

#[test]
fn every_client_logs_in_and_is_told_when_it_cannot() {
    // Each has a user of its own: after some wrong passwords a user has to wait.
    let names: Vec<String> = everybody()
        .map(|(library, version)| format!("{library:?}-{version:?}"))
        .chain(mosquitto::VERSIONS.map(str::to_owned))
        .collect();
    let site = Site::listening(|_| {
        let line = user("name", "publish: [\"#\"]");
        names
            .iter()
            .map(|name| line.replace("name: name", &format!("name: {name}")))
            .fold("  users:\n".into(), |all, line| all + &line)
    });
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        let name = format!("{library:?}-{version:?}");
        agent.connect("right", version, as_user(&name));
        let wrong = json!({"username": name, "password": "guessed"});
        let error = agent.try_connect("wrong", version, wrong).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("bad user"), "{name}: {error}");
    }
    for name in mosquitto::VERSIONS {
        let login = ["-m", "x", "-u", name, "-P"];
        let with = |password| mosquitto::publish(&site, name, "a", &[&login[..], &[password]].concat());
        assert!(with(PASSWORD).status.success());
        let refused = with("guessed");
        let words = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(!refused.status.success() && words.contains("bad user"), "{words}");
    }
    let log = site.gateway.log();
    assert!(log.contains("the password is wrong") && !log.contains("guessed"), "{log}");
}

#[test]
fn who_guesses_has_to_wait_and_others_have_not() {
    /// "Connection rate exceeded".
    const WAIT: u64 = 0x9F;
    let site = site();
    let mut agent = site.agent(Library::MqttJs);
    let guesses = (0..20).map(|n| {
        let guess = json!({"username": "board", "password": format!("guess {n}")});
        agent.try_connect("guesser", Version::V5, guess).unwrap_err()["reason"].as_u64()
    });
    let told: Vec<_> = guesses.collect();
    assert!(told[0] == Some(0x86) && told[19] == Some(WAIT), "{told:?}");
    agent.connect("other", Version::V5, as_user("reader"));
}

#[test]
fn a_user_may_do_what_its_filters_say_and_hears_of_the_rest() {
    let site = site();
    let mut reader = site.agent(Library::Paho);
    reader.connect("reader", Version::V5, as_user("reader"));
    assert_eq!(reader.subscribe("reader", "#", 1), 1);
    reader.wait_messages("reader", 1);
    let mut expected = Vec::new();
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        let id = format!("{library:?}-{version:?}");
        agent.connect(&id, version, as_user("board"));
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        for (filter, reason) in [("commands/board", 1), ("commands/+", refused), ("#", refused)] {
            assert_eq!(agent.subscribe(&id, filter, 1), reason, "{id}: {filter}");
        }
        for (topic, may) in [
            ("sensors/board/a".to_owned(), true),
            (format!("devices/{id}/state"), true),
            ("sensors/other/a".to_owned(), false),
            ("devices/other/state".to_owned(), false),
        ] {
            let order = json!({"topic": topic, "payload": id, "qos": 1});
            let answer = agent.try_ask("publish", &id, order);
            // gmqtt does not look at the reason, and 3.1.1 has none.
            if version == Version::V5 && library != Library::Gmqtt {
                let told =
                    answer.map_or_else(|error| error["reason"].clone(), |answer| answer["reason"].clone());
                assert_eq!(told == 0x87, !may, "{id}: {topic}: {told}");
            }
            if may {
                expected.push((topic, id.clone()));
            }
        }
    }
    let seen = || {
        let of_boards = |message: &crate::agent::Message| !message.topic.starts_with("serialgate/");
        reader
            .messages("reader")
            .into_iter()
            .filter(of_boards)
            .map(|message| (message.topic, message.payload))
    };
    wait_for("what was allowed", PATIENCE, || seen().count() >= expected.len());
    assert_eq!(seen().collect::<Vec<_>>(), expected);
    let answer = reader.try_ask("publish", "reader", json!({"topic": "commands/board", "qos": 1}));
    assert_eq!(answer.unwrap()["reason"], 0x87);
}

#[test]
fn a_certificate_says_who_a_client_is() {
    let port = free_port();
    let mut made = None;
    let site = Site::listening(|folder| {
        let certificates = Certificates::make(folder);
        let Certificates { ca, server, server_key, .. } = &certificates;
        let tls = format!(
            "certificate: {}, key: {}, client_ca: {}",
            server.display(),
            server_key.display(),
            ca.display()
        );
        let users = "  users:\n    - {name: client, publish: [\"only/%u\"], subscribe: [\"only/#\"]}\n";
        made = Some(certificates);
        format!("    - {{address: \"127.0.0.1:{port}\", tls: {{{tls}}}}}\n{users}")
    });
    let Certificates { ca, client, client_key, server, server_key } = made.unwrap();
    for (library, version) in everybody() {
        let mut agent = site.agent(library);
        let papers = json!({"port": port, "ca": ca, "certificate": client, "key": client_key});
        agent.connect("client", version, papers);
        assert_eq!(agent.subscribe("client", "only/client", 1), 1);
        let _ = agent.try_ask("publish", "client", json!({"topic": "only/other", "payload": "no", "qos": 1}));
        agent.ask("publish", "client", json!({"topic": "only/client", "payload": "yes", "qos": 1}));
        assert_eq!(payloads(&agent.wait_messages("client", 1)), ["yes"]);
        // A certificate of somebody who is no user, though by the same authority.
        let stranger = json!({"port": port, "ca": ca, "certificate": server, "key": server_key});
        let error = agent.try_connect("stranger", version, stranger).unwrap_err().to_string().to_lowercase();
        assert!(error.contains("not authori"), "{library:?}: {error}");
    }
}

#[test]
fn new_passwords_and_rights_hold_from_then_on() {
    let users = |board: &str, more: &str| format!("  users:\n{board}{more}");
    let (board, guest) = (user("board", "publish: [\"#\"]"), user("guest", "publish: [\"#\"]"));
    let site = Site::listening(|_| users(&board, &guest));
    let mut agent = site.agent(Library::Paho);
    for (client, name) in [("board", "board"), ("guest", "guest")] {
        agent.connect(client, Version::V5, as_user(name));
        agent.subscribe(client, &format!("own/{client}"), 1);
        assert_served(&mut agent, client, "before");
    }
    // A mistake in the file changes nothing.
    let file = site.folder().join("serialgate.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("publish:", "publsh:")).unwrap();
    reload(&site);
    wait_for("the mistake to be told", PATIENCE, || site.gateway.log().contains("publsh"));
    assert_served(&mut agent, "board", "still");
    assert_served(&mut agent, "guest", "still");
    // The guest is no user any more; the board may do less, and there is a third.
    let less = board.replace("publish: [\"#\"]", "publish: [\"own/#\"]");
    let third = guest.replace("guest", "third");
    fs::write(&file, text.replace(&board, &less).replace(&guest, &third)).unwrap();
    reload(&site);
    assert_eq!(agent.wait_end("guest").1, Some(0x87), "it is told why");
    let answer = agent.ask("publish", "board", json!({"topic": "elsewhere", "qos": 1}));
    assert_eq!(answer["reason"], 0x87);
    assert_served(&mut agent, "board", "after");
    agent.connect("third", Version::V5, as_user("third"));
    agent.try_connect("again", Version::V5, as_user("guest")).unwrap_err();
    assert_eq!(payloads(&agent.messages("board")), ["before", "still", "after"]);
}
