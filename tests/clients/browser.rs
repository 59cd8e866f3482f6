//! A page in a real browser: MQTT.js over a WebSocket, in headless Chromium.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::agent::tools;
use crate::mosquitto;
use crate::site::Site;
use crate::support::{PATIENCE, Process, free_port};

/// Serves the page, and takes its verdict.
struct Home {
    port: u16,
    verdict: Receiver<Value>,
}

impl Home {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, verdict) = mpsc::channel();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                if let Some(said) = serve(stream.unwrap()) {
                    let _ = tell.send(said);
                }
            }
        });
        Self { port, verdict }
    }

    /// What a page says that comes from here under the name `host` and talks to `broker`.
    fn verdict(&self, folder: &Path, host: &str, broker: &str) -> Value {
        let profile = folder.join(format!("profile-{}", fastrand::u32(..)));
        let mut command = Command::new("chromium-headless-shell");
        // The sandbox needs rights that a build server may not give, and the page is ours.
        command.args(["--no-sandbox", "--remote-debugging-port=0", "--disable-background-networking"]);
        command.arg("--host-resolver-rules=MAP *.example 127.0.0.1");
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.arg(format!("http://{host}:{}/?broker={broker}", self.port));
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("browser.log")).unwrap());
        let _browser = Browser(Process::spawn(&mut command));
        let said = self.verdict.recv_timeout(PATIENCE);
        said.unwrap_or_else(|_| panic!("{}", fs::read_to_string(folder.join("browser.log")).unwrap()))
    }
}

/// A browser and its many processes.
struct Browser(Process);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.pid().cast_signed()), Signal::SIGKILL);
    }
}

/// Answers one request; gives what was posted.
fn serve(mut stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        // A browser opens connections in advance and may never use them.
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut posted = vec![0; length];
    reader.read_exact(&mut posted).unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/agents/page.html");
    let (kind, body) = match first.split(' ').nth(1).unwrap_or_default() {
        "/mqtt.min.js" => ("text/javascript", tools().join("node_modules/mqtt/dist/mqtt.min.js")),
        path if path.starts_with("/?") => ("text/html", page),
        _ => ("text/plain", "/dev/null".into()),
    };
    let body = fs::read(&body).unwrap_or_else(|error| panic!("{}: {error}", body.display()));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(&body);
    first.starts_with("POST /verdict").then(|| serde_json::from_slice(&posted).unwrap())
}

#[test]
fn a_page_exchanges_messages_of_every_qos_over_a_websocket() {
    let port = free_port();
    let site = Site::listening(|_| format!("    - {{address: \"127.0.0.1:{port}\", websocket: true}}\n"));
    let listener = mosquitto::Sub::start(&site, "mqttv5", 2, &["page/5/#"]);
    assert!(
        mosquitto::publish(&site, "mqttv311", "page/hello", &["-m", "hello", "-r", "-q", "1"])
            .status
            .success()
    );
    let home = Home::open();
    let verdict = home.verdict(site.folder(), "localhost", &format!("ws://localhost:{port}/mqtt"));
    let good = |user: Value| json!({"hello": "hello, retained: true", "large": 900_000, "user": user, "in_order": true});
    assert_eq!(verdict, json!({"4": good(Value::Null), "5": good(json!("page"))}));
    // And so do those outside.
    let messages = listener.wait_messages(901);
    assert_eq!(messages.iter().filter(|message| message.qos == 2).count(), 300);
    site.assert_well();
}

/// Any page may try to open a WebSocket to the machine that it is shown on, and where clients need
/// not say who they are, nothing else would stop it.
#[test]
fn a_page_from_elsewhere_does_not_get_in_where_nobody_has_to_log_in() {
    let port = free_port();
    let site = Site::listening(|_| format!("    - {{address: \"127.0.0.1:{port}\", websocket: true}}\n"));
    let verdict = Home::open().verdict(site.folder(), "evil.example", &format!("ws://localhost:{port}/mqtt"));
    assert!(verdict["error"].is_string(), "{verdict}");
    assert_eq!(verdict.as_object().unwrap().len(), 1, "{verdict}");
    let log = site.gateway.log();
    assert!(log.contains("evil.example"), "the log says who tried: {log}");
}
