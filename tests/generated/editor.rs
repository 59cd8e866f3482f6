//! What an editor shows: yaml-language-server, which `scripts/setup test` installs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::root;

const SERVER: &str = "target/editor/node_modules/yaml-language-server/bin/yaml-language-server";

/// Longest that it may think.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Editor {
    child: Child,
    stdin: ChildStdin,
    heard: Receiver<Value>,
}

impl Editor {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(root().join(SERVER)).arg("--stdio");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (say, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            while let Some(message) = read(&mut stdout) {
                if say.send(message).is_err() {
                    break;
                }
            }
        });
        let mut editor = Self { child, stdin, heard };
        let hello = json!({"processId": null, "rootUri": null, "capabilities": {}});
        editor.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
        editor.wait(|message| message["id"] == 1);
        editor.tell("initialized", &json!({}));
        let settings = json!({"yaml": {"validate": true, "schemaStore": {"enable": false}}});
        editor.tell("workspace/didChangeConfiguration", &json!({"settings": settings}));
        editor
    }

    /// What it finds wrong with each of `texts`.
    pub(crate) fn complaints<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
        let schema = root().join("config/serialgate.schema.json");
        let mut found: Vec<Option<Vec<String>>> = Vec::new();
        for text in texts {
            let uri = format!("file:///trial/{}.yaml", found.len());
            // The first such line counts: that of the text itself names a file of an installed package.
            let text = format!("# yaml-language-server: $schema={}\n{text}\n", schema.display());
            let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
            self.tell("textDocument/didOpen", &json!({"textDocument": document}));
            found.push(None);
        }
        while found.iter().any(Option::is_none) {
            let message = self.wait(|message| message["method"] == "textDocument/publishDiagnostics");
            let uri = message["params"]["uri"].as_str().unwrap().to_owned();
            let number = uri.trim_start_matches("file:///trial/").trim_end_matches(".yaml");
            let complaints = message["params"]["diagnostics"].as_array().unwrap();
            let complaints = complaints.iter().map(|complaint| complaint["message"].to_string());
            found[number.parse::<usize>().unwrap()] = Some(complaints.collect());
        }
        found.into_iter().flatten().collect()
    }

    fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.heard.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|_| panic!("yaml-language-server says nothing"));
            if is_it(&message) {
                return message;
            }
            // A question of its own.
            if message.get("method").is_some() && message.get("id").is_some() {
                self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": null}));
            }
        }
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.stdin.flush().unwrap();
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One message; none when it has ended.
fn read(stdout: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("Content-Length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut text = vec![0; length];
    stdout.read_exact(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
