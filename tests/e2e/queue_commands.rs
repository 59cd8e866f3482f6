//! `serialgate queue …`: an operator sees and handles a backlog.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, Tty, assert_account, free_port, pause, port, publish, serialgate,
    wait_for,
};

/// What a bridge takes in these tests: all that is ours, and what LAN clients say under `sensors/`.
const FORWARD: &str = "    forward: [\"serialgate/#\", \"sensors/#\"]\n";

/// A gateway that has no cloud, with its folder.
struct Site {
    dir: TempDir,
    gateway: Gateway,
    local: u16,
}

impl Site {
    /// With a board on each of `ports`; `cloud` is where its cloud would be.
    fn start(ports: &[(&str, &str)], cloud: u16) -> Self {
        let dir = TempDir::new().unwrap();
        let local = free_port();
        let ports: Vec<String> = ports.iter().map(|(name, rest)| port(dir.path(), name, rest)).collect();
        let config = Gateway::config(dir.path(), &ports, local, cloud) + FORWARD;
        let gateway = Gateway::configured(dir.path(), &config);
        gateway.wait_status("the start", |_| true);
        Self { dir, gateway, local }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("queue.db")
    }

    /// `serialgate queue` with its configuration.
    fn queue(&self, args: &[&str]) -> Output {
        let config = self.path().join("serialgate.yaml");
        queue(&[args, &["--config", config.to_str().unwrap()]].concat())
    }

    fn queue_json(&self, args: &[&str]) -> Value {
        let output = self.queue(&[args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The lines of an export.
    fn export(&self, args: &[&str]) -> Vec<String> {
        let output = self.queue(&[&["export"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// So many readings of a wire board, all of them on disk.
    fn produce(&self, name: &str, count: usize) -> BTreeSet<String> {
        let mut board =
            Boards::start(self.path(), name, "wire", 1000, &["--count", &count.to_string(), "--wait"]);
        board.wait_all_acknowledged();
        board.ids("acknowledged")
    }

    fn waiting(&self) -> u64 {
        let status = self.gateway.status().unwrap();
        assert_account(&status);
        status["queue"]["readings"].as_u64().unwrap()
    }
}

fn queue(args: &[&str]) -> Output {
    serialgate().arg("queue").args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ids(lines: &[String]) -> BTreeSet<String> {
    let json = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    json.filter(|line| line["kind"] == "reading").map(|line| line["id"].as_str().unwrap().into()).collect()
}

#[test]
fn a_backlog_is_shown_held_and_let_go() {
    let cloud_dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(cloud_dir.path());
    let log = Log::of(cloud_dir.path(), cloud.port, "#");
    cloud.stop();
    let site = Site::start(&[("board", "format: wire")], cloud.port);
    let produced = site.produce("board", 300);

    let stats = site.queue_json(&["stats"]);
    assert_eq!(stats["queue"]["readings"], 300);
    assert_eq!(stats["bridges"][0]["name"], "cloud");
    assert!(stats["bridges"][0]["backlog"].as_u64() >= Some(300), "{stats}");
    let people = text(&site.queue(&["stats"]).stdout);
    assert!(people.contains("300 waiting") && people.contains("BRIDGE"), "{people}");

    for args in [&["peek", "-n", "7"][..], &["peek", "-n", "7", "--bridge", "cloud"]] {
        let shown = site.queue_json(args);
        let shown = shown.as_array().unwrap();
        assert_eq!(shown.len(), 7);
        let positions: Vec<u64> = shown.iter().map(|entry| entry["position"].as_u64().unwrap()).collect();
        assert!(positions.is_sorted() && positions[0] < 10, "{positions:?}");
        let readings = shown.iter().filter(|entry| entry["topic"].as_str().unwrap().ends_with("/data"));
        let payloads = readings.map(|entry| entry["payload"].as_str().unwrap());
        let seen: Vec<Value> = payloads.map(|payload| serde_json::from_str(payload).unwrap()).collect();
        assert!(
            seen.len() >= 4 && seen.iter().all(|p| produced.contains(p["id"].as_str().unwrap())),
            "{seen:?}"
        );
        assert!(shown[0]["age_s"].as_f64().unwrap() > 0.0);
    }
    let all = site.queue_json(&["peek", "-n", "1000"]);
    assert!(all.as_array().unwrap().len() > 300, "entries behind the first slice are shown, too");
    assert_eq!(text(&site.queue(&["peek", "-n", "1"]).stdout).lines().count(), 1);
    assert_eq!(site.waiting(), 300, "looking takes nothing");

    assert_eq!(site.queue_json(&["pause"]), json!({"paused": ["cloud"]}));
    cloud.resume();
    wait_for("the retained words in the cloud", PATIENCE, || {
        !log.payloads("serialgate/pi/status").is_empty()
    });
    pause(Duration::from_secs(1));
    assert_eq!(log.count(), 0, "a bridge that is held sends nothing from the queue");
    let status = site.gateway.status().unwrap();
    assert_eq!(status["bridges"][0]["state"], "paused");
    // What comes now waits, too.
    let more = site.produce("board", 50);
    assert_eq!(site.waiting(), 350);
    assert_eq!(log.count(), 0);

    assert_eq!(site.queue_json(&["resume", "cloud"]), json!({"paused": []}));
    wait_for("the backlog in the cloud", PATIENCE, || log.has(&(&produced | &more)));
    let status = site.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(status["bridges"][0]["state"], "connected");
    // Nobody there, for a wrong name.
    let wrong = site.queue(&["pause", "clod"]);
    assert_eq!(wrong.status.code(), Some(69));
    assert!(text(&wrong.stderr).contains("no bridge \"clod\"; bridges: cloud"), "{}", text(&wrong.stderr));
}

#[test]
fn what_the_cloud_refuses_is_kept_tried_again_and_removed() {
    const LIMIT: &str = "max_packet_size 3000\n";
    let cloud_dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start_with(cloud_dir.path(), LIMIT);
    let log = Log::of(cloud_dir.path(), cloud.port, "#");
    let site = Site::start(&[], cloud.port);
    let none = site.queue(&["dead-letters"]);
    assert_eq!((none.status.code(), text(&none.stderr).trim()), (Some(0), "no dead letters"));
    for (topic, payload) in [
        ("sensors/large/a", "a".repeat(4000)),
        ("sensors/small", "21.5".into()),
        ("sensors/large/b", "b".repeat(5000)),
    ] {
        publish(site.local, topic, &payload);
    }
    let status = site.gateway.wait_status("the dead letters on disk", |status| {
        status["queue"]["dead_letters"]["count"] == 2 && status["queue"]["readings"] == 0
    });
    assert_account(&status);
    assert_eq!(status["queue"]["dropped"]["refused"], 2);
    assert_eq!(status["bridges"][0]["refused"], 2);
    wait_for("the rest in the cloud", PATIENCE, || log.payloads("sensors/small") == ["21.5"]);

    let kept = site.queue_json(&["dead-letters"]);
    let first = &kept[0];
    assert_eq!(kept.as_array().unwrap().len(), 2);
    assert_eq!(
        (&first["bridge"], &first["topic"], &first["bytes"]),
        (&json!("cloud"), &json!("sensors/large/a"), &json!(4000))
    );
    assert_eq!(first["payload"], "a".repeat(64));
    assert!(first["reason"].as_str().unwrap().contains("over the limit of 3000"), "{first}");
    let chosen = site.queue_json(&["dead-letters", "--topic", "+/+/b", "--bridge", "cloud"]);
    assert_eq!(chosen[0]["topic"], "sensors/large/b");
    let people = text(&site.queue(&["dead-letters"]).stdout);
    assert!(people.lines().count() == 2 && people.contains("  cloud  sensors/large/b  "), "{people}");
    let wrong = site.queue(&["dead-letters", "--topic", "a/#/b"]);
    assert!(wrong.status.code() == Some(69) && text(&wrong.stderr).contains("no topic filter"), "{wrong:?}");

    // Removing asks first.
    let asked = site.queue(&["dead-letters", "drop", "--topic", "sensors/large/b"]);
    assert_eq!(asked.status.code(), Some(64));
    assert!(
        text(&asked.stderr).contains("1 dead letter would be removed; to do that, add --yes"),
        "{asked:?}"
    );
    let gone = site.queue_json(&["dead-letters", "drop", "--topic", "sensors/large/b", "--yes"]);
    assert_eq!(gone, json!({"dropped": 1}));

    // The cloud takes larger ones now.
    cloud.stop();
    cloud.without(LIMIT);
    cloud.resume();
    site.gateway.wait_status("the cloud", |status| status["bridges"][0]["state"] == "connected");
    assert_eq!(site.queue_json(&["dead-letters", "retry"]), json!({"retried": 1, "unwanted": 0}));
    wait_for("the other one in the cloud", PATIENCE, || {
        log.payloads("sensors/large/a").iter().any(|payload| payload.len() == 4000)
    });
    let status = site.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);
    assert_eq!(status["queue"]["dead_letters"]["count"], 0);
    assert_eq!(site.queue_json(&["dead-letters"]), json!([]));
}

/// A backlog of everything that a queue can hold.
fn mixed_backlog(site: &Site) -> BTreeSet<String> {
    let produced = site.produce("board", 2500);
    let mut line = Tty::plug(&site.path().join("json"));
    site.gateway.wait_status("the line", |status| status["ports"][1]["state"] == "open");
    for n in 0..40 {
        let values =
            r#""a":23.40,"b":-0.05,"c":null,"d":true,"e":"grün \u0001","f":{"g":[1,2.50]},"h":1e300"#;
        line.write(format!("{{\"n\":{n},{values}}}\n").as_bytes());
    }
    publish(site.local, "sensors/text", "21.50");
    publish(site.local, "sensors/umlaut", "grün");
    let mut command = std::process::Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &site.local.to_string(), "-V", "mqttv5", "-q", "2", "-r"]);
    command.args(["-t", "sensors/bytes", "-s", "-D", "publish", "user-property", "a", "b"]);
    command.args(["-D", "publish", "content-type", "x/y", "-D", "publish", "correlation-data", "c"]);
    let bytes = site.path().join("bytes");
    fs::write(&bytes, [0, 159, 146, 150]).unwrap();
    assert!(command.stdin(fs::File::open(bytes).unwrap()).status().unwrap().success());
    site.gateway.wait_status("all of it on disk", |status| {
        status["queue"]["readings"].as_u64() >= Some(2503 + 40) && status["queue"]["volatile"] == 0
    });
    produced
}

#[test]
fn what_is_exported_comes_back_in_another_gateway_exactly() {
    let cloud_dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(cloud_dir.path());
    let log = Log::of(cloud_dir.path(), cloud.port, "#");
    cloud.stop();
    let ports = [("board", "format: wire"), ("json", "format: json")];
    let mut first = Site::start(&ports, free_port());
    let produced = mixed_backlog(&first);
    let file = first.path().join("backlog.jsonl");
    let waiting = first.waiting();
    let output = first.queue(&["export", "--output", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(first.waiting(), waiting, "an export takes nothing");
    let lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    let kinds = |kind: &str| {
        let kind = format!("{{\"kind\":\"{kind}\",\"v\":1,");
        lines.iter().filter(|line| line.starts_with(&kind)).count() as u64
    };
    assert_eq!(kinds("reading") + kinds("message"), waiting);
    assert_eq!(kinds("message"), 3);
    assert!(kinds("event") > 0);
    assert!(ids(&lines).is_superset(&produced));
    assert_eq!(first.export(&["--bridge", "cloud"]).len(), lines.len());

    // Into a gateway that knows nothing of those boards, and is killed as soon as it says that all is safe.
    let mut second = Site::start(&[], cloud.port);
    let output = second.queue(&["import", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    second.gateway.kill();
    second.gateway.resume();
    second.gateway.wait_status("the restart", |_| true);
    assert_eq!(second.waiting(), waiting);
    let again = second.export(&[]);
    let again: Vec<&String> = again.iter().filter(|line| lines.contains(line)).collect();
    assert_eq!(again, lines.iter().collect::<Vec<_>>(), "every id, value and time is the same");

    cloud.resume();
    let all = ids(&lines);
    wait_for("all of it in the cloud", PATIENCE, || log.has(&all));
    let arrived = log.readings();
    assert!(arrived.iter().all(|reading| reading.late), "what was imported is late");
    let one: Value = serde_json::from_str(&lines[lines.len() / 2]).unwrap();
    let its = arrived.iter().find(|reading| one["id"] == reading.id.as_str()).unwrap();
    let (name, value) = (one["values"][0][0].as_str().unwrap(), one["values"][0][2].as_str().unwrap());
    assert_eq!(its.json[name].to_string(), value, "every digit");
    wait_for("the messages", PATIENCE, || log.payloads("sensors/text") == ["21.50"]);
    let status = second.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    assert_account(&status);

    // Straight through a bridge that is connected: late as well, and no board's link is touched by it.
    let before = log.count();
    let output = second.queue(&["import", file.to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report, json!({"imported": lines.len(), "unwanted": 0, "skipped": 0}));
    wait_for("the copies", PATIENCE, || log.count() >= before + all.len());
    assert!(log.readings().iter().all(|reading| reading.late));
    // The first gateway's own board goes on where it was.
    let output = first.queue(&["import", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(first.waiting(), waiting * 2);
    assert_eq!(first.produce("board", 20).len(), 20);
    assert_eq!(first.gateway.terminate().code(), Some(0));
}

#[test]
fn a_file_with_a_bad_line_is_not_imported_unless_told() {
    let site = Site::start(&[("board", "format: wire")], free_port());
    site.produce("board", 5);
    let good = site.export(&[]);
    let file = site.path().join("harmed.jsonl");
    let harmed = [
        &good[..2],
        &["nonsense".into(), String::new()],
        &good[2..],
        &[good[0].replace("\"v\":1", "\"v\":9")],
    ];
    fs::write(&file, harmed.concat().join("\n")).unwrap();
    let (waiting, file) = (site.waiting(), file.to_str().unwrap());

    let output = site.queue(&["import", file]);
    assert_eq!(output.status.code(), Some(65));
    let said = text(&output.stderr);
    assert!(said.contains("harmed.jsonl:3: not an entry: "), "{said}");
    assert!(said.contains(&format!("harmed.jsonl:{}: version 9 is newer", good.len() + 3)), "{said}");
    assert!(said.contains("2 bad lines; nothing was imported"), "{said}");
    assert_eq!(site.waiting(), waiting);

    let report = site.queue_json(&["import", file, "--skip-bad"]);
    assert_eq!(report, json!({"imported": good.len(), "unwanted": 0, "skipped": 2}));
    assert_eq!(site.waiting(), waiting + 5);

    assert_eq!(site.queue(&["import", "/nowhere/backlog.jsonl"]).status.code(), Some(66));
    // Nothing but the entries themselves can be sent, whoever speaks to the socket.
    let no_daemon = queue(&["import", file, "--skip-bad", "--socket", "/nowhere/control.sock"]);
    assert_eq!(no_daemon.status.code(), Some(69));
}

#[test]
fn a_purge_is_exact_and_told_of() {
    let cloud_dir = TempDir::new().unwrap();
    let mut cloud = Cloud::start(cloud_dir.path());
    let log = Log::of(cloud_dir.path(), cloud.port, "#");
    cloud.stop();
    let ports = [("a", "format: wire, device: shed"), ("b", "format: wire, device: barn")];
    let mut site = Site::start(&ports, cloud.port);
    // By turns, so that the one device's readings stand between the other's.
    let (mut shed, mut barn) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..3 {
        shed.extend(site.produce("a", 700));
        barn.extend(site.produce("b", 500));
    }
    assert_eq!(site.waiting(), 3600);

    let asked = site.queue(&["purge", "--device", "shed"]);
    assert_eq!(asked.status.code(), Some(64));
    assert!(
        text(&asked.stderr).contains("2100 waiting readings would be given up"),
        "{}",
        text(&asked.stderr)
    );
    assert_eq!(site.queue_json(&["purge", "--older-than", "1h", "--yes"]), json!({"purged": 0}));
    assert_eq!(site.waiting(), 3600);

    assert_eq!(site.queue_json(&["purge", "--device", "shed", "--yes"]), json!({"purged": 2100}));
    let check = |site: &Site, waiting: u64| {
        let status = site.gateway.status().unwrap();
        assert_account(&status);
        assert_eq!(status["queue"]["readings"], waiting);
        assert_eq!(status["queue"]["dropped"]["purged"], 2100);
    };
    check(&site, 1500);
    assert_eq!(ids(&site.export(&[])), barn);
    let found = site.queue_json(&["verify"]);
    assert_eq!((&found["readings"], &found["bad_chunks"]), (&json!(1500), &json!(0)), "{found}");
    // It is in the file, and not only in memory.
    site.gateway.wait_status("the account on disk", |status| status["queue"]["volatile"] == 0);
    assert_eq!(site.gateway.terminate().code(), Some(0));
    site.gateway.resume();
    site.gateway.wait_status("the restart", |_| true);
    check(&site, 1500);

    cloud.resume();
    wait_for("what was left in the cloud", PATIENCE, || log.has(&barn));
    site.gateway.wait_status("an empty queue", |status| status["queue"]["readings"] == 0);
    check(&site, 0);
    let lost = |gaps: &[Value]| gaps.iter().map(|gap| gap["lost"].as_u64().unwrap()).sum::<u64>();
    wait_for("the gaps", PATIENCE, || lost(&log.events("gap")) >= 2100);
    let gaps = log.events("gap");
    // The board began anew twice, and no range spans two of its boots.
    assert_eq!((gaps.len(), lost(&gaps)), (3, 2100), "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["device"] == "shed" && gap["reason"] == "purged"), "{gaps:?}");
    let arrived: BTreeSet<String> = log.readings().into_iter().map(|reading| reading.id).collect();
    assert!(arrived.is_disjoint(&shed), "what was given up does not arrive");
}

/// The names, bytes and times of all that lies beside the queue's file.
fn beside(file: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("queue.db")).collect();
    files.sort();
    let look = |path: PathBuf| {
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), fs::read(path).unwrap(), modified)
    };
    files.into_iter().map(look).collect()
}

#[test]
fn a_cold_file_is_read_and_checked_and_not_touched() {
    let mut site = Site::start(&[("board", "format: wire")], free_port());
    let produced = site.produce("board", 2500);
    let live = site.export(&[]);
    let file = site.file();
    let path = file.to_str().unwrap();
    let found = site.queue_json(&["verify"]);
    assert_eq!((&found["readings"], &found["bad_chunks"]), (&json!(2500), &json!(0)), "{found}");
    let in_use = queue(&["verify", "--file", path]);
    assert_eq!(in_use.status.code(), Some(69));
    let pid = site.gateway.pid().to_string();
    assert!(text(&in_use.stderr).contains(&pid), "{}", text(&in_use.stderr));
    assert_eq!(site.gateway.terminate().code(), Some(0));

    let before = beside(&file);
    assert!(before.iter().any(|(path, bytes, _)| path.ends_with("queue.db-wal") && !bytes.is_empty()));
    let output = queue(&["verify", "--file", path, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let cold: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(cold["readings"], 2500, "the log counts, too: {cold}");
    // Found through the configuration, because no daemon answers.
    let again = site.export(&[]);
    assert_eq!(ids(&again), produced);
    assert!(again.len() >= live.len());
    let output = queue(&["export", "--file", path, "--bridge", "cloud"]);
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), again);
    assert_eq!(queue(&["export", "--file", path, "--bridge", "clod"]).status.code(), Some(64));
    assert!(beside(&file) == before, "not a byte and not a time of it changes");

    // The same without a log: all that was in it is written back.
    Connection::open(&file).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    fs::remove_file(site.path().join("queue.db-wal")).ok();
    let before = beside(&file);
    assert_eq!(queue(&["verify", "--file", path]).status.code(), Some(0));
    assert_eq!(text(&queue(&["export", "--file", path]).stdout).lines().collect::<Vec<_>>(), again);
    assert!(beside(&file) == before);
}

#[test]
fn damage_in_a_cold_file_is_found() {
    let mut site = Site::start(&[("board", "format: wire")], free_port());
    site.produce("board", 600);
    assert_eq!(site.gateway.terminate().code(), Some(0));
    let file = site.file();
    let verify = |file: &Path| queue(&["verify", "--file", file.to_str().unwrap()]);
    // Copies of the file, each harmed in another way.
    let harm = |sql: &str| {
        let copy = site.path().join("harmed.db");
        let _ = fs::remove_file(site.path().join("harmed.db-wal"));
        fs::copy(&file, &copy).unwrap();
        fs::copy(site.path().join("queue.db-wal"), site.path().join("harmed.db-wal")).unwrap();
        let db = Connection::open(&copy).unwrap();
        db.execute_batch(sql).unwrap();
        copy
    };
    let second = "(SELECT id FROM chunk ORDER BY id LIMIT 1 OFFSET 1)";
    for (sql, expected) in [
        (format!("UPDATE chunk SET data = zeroblob(length(data)) WHERE id = {second}"), "check sum is wrong"),
        (format!("UPDATE chunk SET codec = 77 WHERE id = {second}"), "codec 77 is unknown"),
        (format!("UPDATE chunk SET last = last + 1 WHERE id = {second}"), "is said to end at position"),
        (format!("UPDATE chunk SET n = n + 1 WHERE id = {second}"), "readings, but holds"),
        (format!("UPDATE chunk SET total = total + 1 WHERE id = {second}"), "running total is"),
    ] {
        let copy = harm(&sql);
        let output = verify(&copy);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(65), "{sql}: {said}");
        assert!(said.contains("chunk at position ") && said.contains(expected), "{sql}: {said}");
        assert!(said.contains(" DAMAGED"), "{said}");
    }
    let copy = harm(&format!("UPDATE chunk SET data = zeroblob(length(data)) WHERE id = {second}"));
    let output = queue(&["export", "--file", copy.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(65), "an export that leaves something out says so");
    assert!(text(&output.stderr).contains("check sum is wrong") && !output.stdout.is_empty());

    // Bytes of the file itself: the page at the root of the chunks, and the number of free pages.
    let copy = harm("PRAGMA wal_checkpoint(TRUNCATE)");
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'";
    let root: u32 = Connection::open(&copy).unwrap().query_row(root, [], |row| row.get(0)).unwrap();
    let root = usize::try_from(root).unwrap();
    for (bytes, expected) in [((root - 1) * 1024..root * 1024, "chunk at position 0: "), (36..40, "file: ")] {
        let harmed = site.path().join("bytes.db");
        let mut content = fs::read(&copy).unwrap();
        content[bytes.clone()].fill(0x55);
        fs::write(&harmed, content).unwrap();
        let output = verify(&harmed);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(65), "{bytes:?}: {said}");
        assert!(said.contains(expected) && said.contains("DAMAGED"), "{bytes:?}: {said}");
    }

    for (content, expected) in [(&b"nonsense"[..], 65), (b"", 65)] {
        let other = site.path().join("other.db");
        fs::write(&other, content).unwrap();
        let output = verify(&other);
        assert_eq!(output.status.code(), Some(expected), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("other.db: "), "{}", text(&output.stderr));
    }
    assert_eq!(verify(Path::new("/nowhere/queue.db")).status.code(), Some(66));
}
