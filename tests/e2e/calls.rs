//! Commands down to boards, and their results.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Boards, Cloud, Gateway, Log, PATIENCE, Tty, free_port, port, publish, serialgate, wait_for,
};

/// A gateway with simulated boards behind a cloud that sends commands, and who hears what on either side.
struct Scene {
    dir: TempDir,
    cloud: Cloud,
    local: u16,
    gateway: Gateway,
    here: Log,
    there: Log,
}

impl Scene {
    fn new(ports: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = TempDir::new().unwrap();
        let cloud = Cloud::start(dir.path());
        let local = free_port();
        let ports = ports(dir.path());
        let receive = "    receive: [\"serialgate/pi/+/set\"]\n";
        let config = Gateway::config(dir.path(), &ports, local, cloud.port) + receive;
        let gateway = Gateway::configured(dir.path(), &config);
        gateway.wait_bridge();
        let here = Log::of(dir.path(), local, "serialgate/#");
        let there = Log::of(dir.path(), cloud.port, "serialgate/#");
        Self { dir, cloud, local, gateway, here, there }
    }

    /// Sends a command and gives its result, which the cloud gets too.
    fn call(&self, from: u16, device: &str, payload: &str) -> Value {
        let topic = format!("serialgate/pi/{device}/result");
        let before = self.here.payloads(&topic).len();
        publish(from, &format!("serialgate/pi/{device}/set"), payload);
        wait_for("the result", PATIENCE, || self.here.payloads(&topic).len() > before);
        wait_for("the result in the cloud", PATIENCE, || self.there.payloads(&topic).len() > before);
        let results = self.here.payloads(&topic);
        assert_eq!(results, self.there.payloads(&topic));
        assert_eq!(results.len(), before + 1, "one result for {payload}");
        serde_json::from_str(results.last().unwrap()).unwrap()
    }

    /// `serialgate send`: exit code, standard output, standard error.
    fn send(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = serialgate();
        command.arg("send").arg("--socket").arg(self.dir.path().join("control.sock")).args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

/// The device of the one simulated board.
fn device(log: &Log) -> String {
    wait_for("a reading", PATIENCE, || log.count() > 0);
    log.readings()[0].device.clone()
}

#[test]
fn a_command_reaches_its_board_from_the_lan_from_the_cloud_and_from_the_shell() {
    let mut boards = None;
    let scene = Scene::new(|dir| {
        boards = Some(Boards::start(dir, "a", "wire", 5, &[]));
        vec![port(dir, "a", "format: wire")]
    });
    let device = device(&scene.here);
    // The simulated board counts pings.
    let ping = r#"{"$call":{"command":16},"$transaction":"t1"}"#;
    for (expected, from) in [(1, scene.local), (2, scene.cloud.port), (3, scene.local)] {
        let result = scene.call(from, &device, ping);
        let told = (&result["status"], &result["answer"], &result["transaction"]);
        assert_eq!(told, (&json!("ok"), &json!([expected]), &json!("t1")), "{result}");
        assert!(result["ts"].as_str().unwrap().ends_with('Z'), "{result}");
    }
    let ping = [&device, "$call", r#"{"command":16}"#];
    assert_eq!(scene.send(&ping), (0, format!("{device}: done: 4"), String::new()));
    // A gateway that knows nothing of the numbers that the last one gave does not repeat them.
    let Scene { dir, cloud, local, mut gateway, here, there } = scene;
    gateway.kill();
    gateway.resume();
    let before = here.count();
    wait_for("readings", PATIENCE, || here.count() > before);
    let scene = Scene { dir, cloud, local, gateway, here, there };
    for expected in 5..=7 {
        assert_eq!(scene.send(&ping), (0, format!("{device}: done: {expected}"), String::new()));
    }
    drop(boards);
}

#[test]
fn what_cannot_be_done_is_said_with_the_reason() {
    let mut boards = None;
    let scene = Scene::new(|dir| {
        boards = Some(Boards::start(dir, "a", "wire", 5, &[]));
        vec![port(dir, "a", "format: wire")]
    });
    let device = device(&scene.here);
    for (to, payload, status, said) in [
        (device.as_str(), "ON", "invalid", "{\"relay\":true}"),
        (&device, r#"{"heater":1}"#, "invalid", "there is no channel \"heater\""),
        (&device, r#"{"$call":{"command":99}}"#, "unknown", ""),
        (&device, r#"{"$interval":1}"#, "refused", ""),
        ("attic", r#"{"relay":true}"#, "offline", "device attic is not online; those that are: "),
    ] {
        let result = scene.call(scene.local, to, payload);
        assert_eq!(result["status"], status, "{result}");
        assert!(result["error"].as_str().unwrap_or_default().contains(said), "{result}");
    }
    // What an old retained message says may be wrong by now.
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &scene.cloud.port.to_string(), "-r", "-q", "1"]);
    command.args(["-t", &format!("serialgate/pi/{device}/set"), "-m", r#"{"$reboot":true}"#]);
    assert!(command.status().unwrap().success());
    let topic = format!("serialgate/pi/{device}/result");
    wait_for("the refusal", PATIENCE, || {
        scene.here.payloads(&topic).iter().any(|result| result.contains("retained"))
    });

    assert_eq!(
        scene.send(&["attic", "relay", "on"]),
        (69, String::new(), format!("serialgate: device attic is not online; those that are: {device}"))
    );
    let (code, _, error) = scene.send(&[&device, "heater", "21.5"]);
    assert_eq!(code, 65, "{error}");
    let (code, _, error) = scene.send(&[&device, "$interval", "1"]);
    assert_eq!((code, error), (1, format!("{device} refuses it")));
    let (code, json, _) = scene.send(&["--json", &device, "$call", r#"{"command":99}"#]);
    assert_eq!((code, &serde_json::from_str::<Value>(&json).unwrap()["status"]), (1, &json!("unknown")));

    // A board that is unplugged is not there, and nothing waits for it.
    drop(boards);
    scene.gateway.wait_port(0, "absent");
    assert_eq!(scene.call(scene.local, &device, r#"{"relay":true}"#)["status"], "offline");
}

#[test]
fn a_gateway_without_a_local_broker_takes_commands_from_the_cloud() {
    let dir = TempDir::new().unwrap();
    let cloud = Cloud::start(dir.path());
    let _boards = Boards::start(dir.path(), "a", "wire", 5, &[]);
    let config = Gateway::config(dir.path(), &[port(dir.path(), "a", "format: wire")], 1, cloud.port);
    let config = config.replace("[{address: \"127.0.0.1:1\"}]", "[]");
    let gateway = Gateway::configured(
        dir.path(),
        &(config + "    receive: [{filter: \"cmd/+/set\", qos: 2, strip: cmd/, prefix: serialgate/pi/}]\n"),
    );
    gateway.wait_bridge();
    let there = Log::of(dir.path(), cloud.port, "serialgate/#");
    let device = device(&there);
    publish(cloud.port, &format!("cmd/{device}/set"), r#"{"$call":{"command":16}}"#);
    let topic = format!("serialgate/pi/{device}/result");
    wait_for("the result", PATIENCE, || !there.payloads(&topic).is_empty());
    let result: Value = serde_json::from_str(&there.payloads(&topic)[0]).unwrap();
    assert_eq!((&result["status"], &result["answer"]), (&json!("ok"), &json!([1])), "{result}");
}

#[test]
fn a_device_that_speaks_json_gets_a_line() {
    let mut ttys = Vec::new();
    let scene = Scene::new(|dir| {
        ttys = ["one", "many"].map(|name| Tty::plug(&dir.join(name))).into();
        vec![
            port(dir, "one", "format: json, device: shed"),
            port(dir, "many", "format: json, device_key: id"),
        ]
    });
    ttys[0].write(b"\n{\"temp\":1}\n");
    ttys[1].write(b"\n{\"id\":\"Box 1\",\"temp\":2}\n{\"id\":7,\"temp\":3}\n");
    wait_for("three devices", PATIENCE, || scene.here.count() >= 3);
    for (tty, device, payload, line) in [
        (0, "shed", r#"{ "relay":true, "setpoint":21.50 }"#, "{\"relay\":true,\"setpoint\":21.50}\n"),
        (1, "box_1", r#"{"relay":"on"}"#, "{\"id\":\"Box 1\",\"relay\":\"on\"}\n"),
        (1, "7", r#"{"relay":null}"#, "{\"id\":\"7\",\"relay\":null}\n"),
    ] {
        assert_eq!(scene.call(scene.local, device, payload)["status"], "sent");
        let mut heard = Vec::new();
        wait_for("the line", PATIENCE, || {
            heard.extend(ttys[tty].read());
            heard.ends_with(b"\n")
        });
        assert_eq!(String::from_utf8(heard).unwrap(), line);
    }
    let refused = scene.call(scene.local, "shed", r#"{"$reboot":true}"#);
    assert_eq!(refused["status"], "invalid", "{refused}");
}
