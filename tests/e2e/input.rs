//! Bad input on a port: it is counted by reason, costs nothing else, and the next good reading
//! arrives.

use serde_json::Value;
use serialgate_wire::{Hello, MAX_WIRE, Message};
use tempfile::TempDir;

use crate::support::{
    Boards, Cable, Cloud, Gateway, Log, PATIENCE, Tty, assert_account, compare, free_port, port, wait_for,
};

/// Most lines that a gateway writes to its log while it starts, reads one port and stops.
const LOG_LINES: usize = 12;
/// Most memory that it may take for it, in KiB. A debug build takes more than what users run.
const RSS_KIB: u64 = 40 * 1024;

/// What a line of JSON must not do to its port: what is said, and how many bad lines that makes.
fn bad_json() -> Vec<(&'static str, Vec<u8>, u64)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut noise = |bytes| {
        let mut noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
        // Each its own line, none of which is JSON.
        noise.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r' | b'{')).for_each(|byte| *byte = 0xff);
        noise
    };
    let deep = |levels| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let channels = |n| (0..n).map(|i| format!("\"c{i}\":{i}")).collect::<Vec<_>>().join(",");
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("noise", noise(300), 1),
        ("a lot of noise", (0..50).flat_map(|_| [noise(2000), text("\n")].concat()).collect(), 50),
        ("half an object", text(r#"{"temp": 1"#), 1),
        ("the other half", text(r#"2.5, "hum": 4}"#), 1),
        ("an object in two lines", text("{\"temp\":\n12}"), 2),
        ("two objects in a line", text(r#"{"temp":1}{"temp":2}"#), 1),
        ("a megabyte without an end", vec![b'x'; 1_000_000], 1),
        ("a megabyte that begins well", [text(r#"{"temp":"#), vec![b'1'; 1_000_000]].concat(), 1),
        ("a megabyte of zeros", vec![0; 1_000_000], 0),
        ("no UTF-8", text("{\"temp\":\"\u{e9}\"}").into_iter().filter(|byte| *byte != 0xa9).collect(), 1),
        ("a byte order mark", text("\u{feff}{\"temp\":1}"), 1),
        ("an array", text("[1, 2, 3]"), 1),
        ("a number", text("42"), 1),
        ("a text", text(r#""temp""#), 1),
        ("null", text("null"), 1),
        ("nothing in it", text("{}"), 1),
        ("no value", text(r#"{"temp":}"#), 1),
        ("not a number", text(r#"{"temp":NaN}"#), 1),
        ("single quotes", text("{'temp':1}"), 1),
        ("a name twice", text(r#"{"temp":1,"temp":2}"#), 1),
        ("no name", text(r#"{"":1}"#), 1),
        ("half a surrogate pair", text(r#"{"temp":"\ud800"}"#), 1),
        ("a long name", format!("{{\"{}\":1}}", "n".repeat(65)).into_bytes(), 1),
        ("a long text", format!("{{\"a\":\"{}\"}}", "t".repeat(1025)).into_bytes(), 1),
        ("too many channels", format!("{{{}}}", channels(65)).into_bytes(), 1),
        ("too deep", deep(33).into_bytes(), 1),
        ("far too deep", deep(8000).into_bytes(), 1),
        ("empty lines", text("\r\n\n\r\n \n\n"), 1),
    ]
}

#[test]
fn bad_lines_are_counted_and_good_ones_arrive() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut line = Tty::plug(&dir.path().join("shed"));
    let ports = [port(dir.path(), "shed", "format: json")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_port(0, "open");
    // What comes before the first line end may be the rest of a line, and is no news.
    line.write(b"rest of a line\n");

    let (mut bad, mut resyncs) = (0, 0);
    for (good, (what, bytes, count)) in bad_json().into_iter().enumerate() {
        line.write(&bytes);
        line.write(format!("\n{{\"good\":{good}}}\n").as_bytes());
        wait_for(what, PATIENCE, || log.count() > good);
        assert_eq!(log.readings()[good].json["good"], good, "{what}");
        (bad, resyncs) = (bad + count, resyncs + u64::from(count > 0));
        let port = gateway.status().unwrap()["ports"][0].take();
        let counted = ["bad_decode", "resyncs", "bad_check", "disconnects"].map(|name| port[name].as_u64());
        assert_eq!(counted, [bad, resyncs, 0, 0].map(Some), "{what}: {port}");
    }
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(status["queue"]["accepted"], log.count());
    assert_eq!(status["ports"][0]["device"], serde_json::json!(["shed"]));
    assert_quiet(&mut gateway);
}

#[test]
fn odd_but_good_values_arrive_as_they_are() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut line = Tty::plug(&dir.path().join("shed"));
    let gateway =
        Gateway::start(dir.path(), &[port(dir.path(), "shed", "format: json")], free_port(), cloud.port);
    gateway.wait_port(0, "open");
    let cases = [
        (r#" {"temp" : -0.50 } "#, "temp", "-0.50"),
        ("{\"te\0mp\":\0 5}", "temp", "5"),
        (r#"{"temp":123456789012345678901234567890}"#, "temp", "123456789012345678901234567890"),
        (r#"{"temp":1e99}"#, "temp", "1e99"),
        (r#"{"temp":{"a": [1, 2]}}"#, "temp", r#"{"a":[1,2]}"#),
        (r#"{"temp":null}"#, "temp", "null"),
        (r#"{"text":"21 \u00b0C\t\"x\""}"#, "text", "\"21 °C\\t\\\"x\\\"\""),
        (r#"{"ts":1}"#, "ts_", "1"),
        (r#"{"a/b+#":true}"#, "a/b+#", "true"),
    ];
    for (said, _, _) in cases {
        line.write(format!("{said}\r\n").as_bytes());
    }
    wait_for("all of them", PATIENCE, || log.count() >= cases.len());
    let topic = "serialgate/pi/shed/data";
    for ((said, name, value), payload) in cases.into_iter().zip(log.payloads(topic)) {
        let expected = format!("{}:{value}", serde_json::to_string(name).unwrap());
        assert!(payload.contains(&expected), "{said} became {payload}");
    }
    assert_eq!(gateway.status().unwrap()["ports"][0]["bad_decode"], 0);
}

#[test]
fn devices_that_nobody_can_name_are_counted_and_the_others_arrive() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut line = Tty::plug(&dir.path().join("line"));
    let ports = [port(dir.path(), "line", "format: json, device_key: id")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_port(0, "open");
    line.write(b"\n{\"id\":\"Shed 1\",\"n\":0}\n");
    let nameless = [
        r#"{"n":1}"#,
        r#"{"id":null,"n":1}"#,
        r#"{"id":{"a":1},"n":1}"#,
        r#"{"id":"","n":1}"#,
        r#"{"id":"+/#","n":1}"#,
        r#"{"id":"a","id":"b","n":1}"#,
        r#"{"id":"shed"}"#,
    ];
    line.write(nameless.join("\n").as_bytes());
    line.write(b"\n{\"id\":7,\"n\":1}\n");
    for n in 0..300 {
        line.write(format!("{{\"id\":\"dev{n}\",\"n\":2}}\n").as_bytes());
    }
    line.write(b"{\"id\":\"Shed 1\",\"n\":3}\n");
    wait_for("the last one", PATIENCE, || {
        log.readings().iter().any(|reading| reading.device == "shed_1" && reading.json["n"] == 3)
    });
    let arrived = log.readings();
    let devices: std::collections::BTreeSet<&str> =
        arrived.iter().map(|reading| reading.device.as_str()).collect();
    assert!(devices.contains("7") && devices.contains("dev0"), "{devices:?}");
    // The port takes 256 names, the first two among them, and refuses the rest.
    assert_eq!(devices.len(), 256);
    let port = gateway.status().unwrap()["ports"][0].take();
    assert_eq!(port["bad_decode"], nameless.len() + 300 - 254, "{port}");
    assert!(port["last_error"].as_str().is_some_and(|error| error.contains("too many devices")), "{port}");
    gateway.assert_runs();
    assert!(gateway.rss_kib() < RSS_KIB, "{} KiB", gateway.rss_kib());
}

#[test]
fn noise_on_the_line_costs_a_wire_board_nothing() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut board =
        Boards::start(dir.path(), "board", "wire", 100, &["--noise", "0.001", "--count", "1000", "--wait"]);
    let ports = [port(dir.path(), "board", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    board.wait_all_acknowledged();
    let produced = board.ids("produced");
    wait_for("all readings in the cloud", PATIENCE, || log.has(&produced));
    let verdict = compare(&produced, &log.readings());
    assert_eq!((produced.len(), verdict.duplicates), (1000, 0));
    assert_eq!(log.events("gap"), [] as [Value; 0]);
    let status = gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    let port = &status["ports"][0];
    // A reading takes some 40 bytes with its answer, so that one in 25 is hit.
    assert!(port["bad_check"].as_u64() > Some(5) && port["resyncs"].as_u64() > Some(5), "{port}");
    assert_quiet(&mut gateway);
}

#[test]
fn garbage_before_a_wire_board_is_counted_and_forgotten() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let ports = [port(dir.path(), "board", "format: wire")];
    let mut line = Tty::plug(&dir.path().join("board"));
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_port(0, "open");
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(100_000).collect();
    let mut heard = 0;
    for bytes in [&noise[..], &vec![0x55; 1_000_000], &vec![0; 1_000_000], b"\0Guru Meditation Error\r\n\0"] {
        line.write(bytes);
        heard += bytes.len();
        gateway.wait_status("it to be read", |status| status["ports"][0]["bytes"] == heard);
    }
    let port = gateway.status().unwrap()["ports"][0].take();
    // Every 256th byte ends something, and no CRC-32 is right by chance.
    assert!((100..1000).contains(&port["bad_check"].as_u64().unwrap()), "{port}");
    assert_eq!(port["frames"], 0, "{port}");
    drop(line);
    gateway.wait_port(0, "absent");
    let mut board = Boards::start(dir.path(), "board", "wire", 100, &["--count", "100", "--wait"]);
    board.wait_all_acknowledged();
    let produced = board.ids("produced");
    wait_for("all readings in the cloud", PATIENCE, || log.has(&produced));
    assert_eq!(shown(&gateway).len(), 1, "noise is no text");
    assert_quiet(&mut gateway);
}

#[test]
fn text_between_frames_harms_no_frame() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let log = Log::of(dir.path(), cloud.port, "serialgate/#");
    let mut board = Boards::start(dir.path(), "silent", "wire", 50, &["--count", "200"]);
    let mut cable = Cable::between(&dir.path().join("silent"), &dir.path().join("board"));
    let ports = [port(dir.path(), "board", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    wait_for("all readings to be acknowledged", PATIENCE, || {
        cable.relay_with("sensor ok, 21 °C\r\n");
        board.has_ended()
    });
    let produced = board.ids("produced");
    assert_eq!(produced, board.ids("acknowledged"));
    wait_for("all readings in the cloud", PATIENCE, || log.has(&produced));
    assert!(cable.said() > 200, "{}", cable.said());
    let port = gateway.status().unwrap()["ports"][0].take();
    assert_eq!((&port["bad_check"], &port["bad_decode"]), (&0.into(), &0.into()), "{port}");
    assert!(shown(&gateway).iter().all(|line| line.contains("sensor ok, 21 °C")), "{}", gateway.log());
    assert_quiet(&mut gateway);
}

#[test]
fn what_a_board_says_for_people_is_shown_and_never_fills_the_log() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let mut line = Tty::plug(&dir.path().join("board"));
    let ports = [port(dir.path(), "board", "format: wire")];
    let mut gateway = Gateway::start(dir.path(), &ports, free_port(), cloud.port);
    gateway.wait_port(0, "open");
    let frame = |message: &Message<'_>| message.encode(5, &mut [0; MAX_WIRE]).unwrap().to_vec();

    // Before anybody knows who it is.
    line.write(b"\0starting\r\nsensor found\r\n\0");
    let at = format!("port=\"{}\"", dir.path().join("board").display());
    let shows = |text: &str, fields: &str| {
        shown(&gateway).iter().any(|line| line.ends_with(&format!("board: {text} {at}{fields}")))
    };
    for text in ["starting", "sensor found"] {
        wait_for(text, PATIENCE, || shows(text, ""));
    }
    line.write(&frame(&Message::Hello(Hello {
        minor: 0,
        caps: 0,
        boot: 5,
        uptime_ms: 1000,
        oldest: 0,
        next: 0,
        dropped: 0,
        rxmax: 64,
        channels: 0,
        schema_crc: 0,
        uid: &[0xAB, 0xCD, 0xEF, 0x01],
        firmware: "meter 1.0",
    })));
    let device = " device=\"meter-ef01\"";
    line.write(&frame(&Message::Log("tank is full\n2026-01-01 ERROR forged")));
    wait_for("the board's log", PATIENCE, || shows("tank is full", device));
    assert!(shows("2026-01-01 ERROR forged", device), "{}", gateway.log());
    // A loop that prints: twenty lines in ten seconds are shown, and then how many there were.
    for n in 0..1000 {
        line.write(format!("loop {n}\r\n\0").as_bytes());
    }
    wait_for("how many more there were", PATIENCE, || shows("984 more lines suppressed", device));
    assert_eq!(shown(&gateway).len(), 21);
    assert_quiet(&mut gateway);
}

/// What is shown of what a board says.
fn shown(gateway: &Gateway) -> Vec<String> {
    gateway.log().lines().filter(|line| line.contains("board: ")).map(Into::into).collect()
}

/// Bad input is no reason to restart, to fill the log or to take memory.
fn assert_quiet(gateway: &mut Gateway) {
    gateway.assert_runs();
    let log = gateway.log();
    assert!(log.lines().count() - shown(gateway).len() <= LOG_LINES, "{log}");
    assert!(gateway.rss_kib() < RSS_KIB, "{} KiB", gateway.rss_kib());
}
