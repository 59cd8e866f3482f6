//! The brokers: how each of them is started.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::certificates::Certificates;
use crate::support::{Process, answers, free_port, wait_for};
use crate::trials::{Case, Transport, Version};

/// A broker has this long to come up: some run on a virtual machine of their own.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// Where `scripts/interop` puts what does not come as a Debian package.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop");
/// Programs of ours that make brokers out of libraries.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/brokers");

/// A broker that we did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mosquitto,
    RabbitMq,
    ActiveMq,
    Aedes,
    Mosca,
    Amqtt,
    Rumqttd,
    Mqtt5,
    Rmqtt,
}

pub(crate) const ALL: [Kind; 9] = [
    Kind::Mosquitto,
    Kind::RabbitMq,
    Kind::ActiveMq,
    Kind::Aedes,
    Kind::Mosca,
    Kind::Amqtt,
    Kind::Rumqttd,
    Kind::Mqtt5,
    Kind::Rmqtt,
];

/// A broker that is up.
pub(crate) struct Running {
    /// Its own version.
    pub(crate) version: String,
    ports: Ports,
    versions: &'static [Version],
    /// What it offers besides plain MQTT.
    transports: &'static [Transport],
    path: &'static str,
    max_qos: usize,
    keeps_sessions: bool,
    log: PathBuf,
    process: Process,
}

impl Drop for Running {
    /// With its children: some are started by a script.
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.process.pid().cast_signed()), Signal::SIGKILL);
    }
}

/// A port for each transport, in use or not.
#[derive(Clone, Copy, Debug)]
struct Ports {
    tcp: u16,
    tls: u16,
    mutual: u16,
    ws: u16,
    wss: u16,
    /// For a broker that has a port for each version.
    tcp_v5: u16,
    /// For what a broker needs besides.
    other: u16,
}

impl Ports {
    fn choose() -> Self {
        Self {
            tcp: free_port(),
            tls: free_port(),
            mutual: free_port(),
            ws: free_port(),
            wss: free_port(),
            tcp_v5: free_port(),
            other: free_port(),
        }
    }

    fn of(&self, transport: Transport) -> u16 {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
            Transport::MutualTls => self.mutual,
            Transport::WebSocket => self.ws,
            Transport::WebSocketTls => self.wss,
        }
    }
}

impl Running {
    /// What a broker in Rust says when a thread of it dies.
    pub(crate) fn panic(&self) -> Option<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let line = log.lines().find(|line| line.contains("panicked at"))?;
        // Where the registry's sources lie on this machine says nothing.
        let (who, place) = line.split_once("panicked at")?;
        let place = place.rsplit_once("/src/").map_or(place, |(_, file)| file);
        Some(format!("its {who}panicked at {}", place.trim().trim_end_matches(':')))
    }

    /// Every version over plain MQTT, and the newest over all other transports.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let newest = *self.versions.last().unwrap();
        let own_port = self.ports.tcp_v5;
        let plain = self.versions.iter().map(|version| {
            let port = if *version == Version::V5 && answers(own_port) { own_port } else { self.ports.tcp };
            (*version, Transport::Tcp, port)
        });
        let others = self.transports.iter().map(|transport| (newest, *transport, self.ports.of(*transport)));
        let case = |(version, transport, port)| Case {
            version,
            transport,
            port,
            plain: self.ports.tcp,
            path: self.path,
            max_qos: self.max_qos,
            keeps_sessions: self.keeps_sessions,
        };
        plain.chain(others).map(case).collect()
    }
}

/// What is started, and what it then offers.
struct Recipe {
    command: Command,
    version: String,
    versions: &'static [Version],
    transports: &'static [Transport],
    path: &'static str,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mosquitto => "mosquitto",
            Self::RabbitMq => "rabbitmq",
            Self::ActiveMq => "activemq",
            Self::Aedes => "aedes",
            Self::Mosca => "mosca",
            Self::Amqtt => "amqtt",
            Self::Rumqttd => "rumqttd",
            Self::Mqtt5 => "mqtt5",
            Self::Rmqtt => "rmqtt",
        }
    }

    fn max_qos(self) -> usize {
        match self {
            // The first takes QoS 2 for QoS 1 and does not answer PUBREL, the other answers nothing.
            Self::RabbitMq | Self::Mosca => 1,
            _ => 2,
        }
    }

    /// Starts it, with its files in `folder`.
    pub(crate) fn start(self, folder: &Path, certificates: &Certificates) -> Running {
        let ports = Ports::choose();
        let mut recipe = match self {
            Self::Mosquitto => mosquitto(folder, &ports, certificates),
            Self::RabbitMq => rabbitmq(folder, &ports, certificates),
            Self::ActiveMq => activemq(folder, &ports),
            Self::Aedes | Self::Mosca => node(self.name(), &ports, certificates),
            Self::Amqtt => amqtt(folder, &ports, certificates),
            Self::Rumqttd | Self::Mqtt5 | Self::Rmqtt => library(self.name(), folder, &ports),
        };
        let log = fs::File::create(folder.join("broker.log")).unwrap();
        recipe.command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        recipe.command.process_group(0);
        let mut process = Process::spawn(&mut recipe.command);
        wait_for(self.name(), UP_WITHIN, || {
            assert!(!process.has_ended(), "it ended: {}", last_line(folder));
            answers(ports.tcp) && recipe.transports.iter().all(|transport| answers(ports.of(*transport)))
        });
        let Recipe { version, versions, transports, path, .. } = recipe;
        Running {
            version,
            ports,
            versions,
            transports,
            path,
            max_qos: self.max_qos(),
            keeps_sessions: self != Self::Amqtt,
            log: folder.join("broker.log"),
            process,
        }
    }
}

fn last_line(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("broker.log")).unwrap_or_default();
    log.lines().last().unwrap_or_default().to_owned()
}

const V3_ONLY: &[Version] = &[Version::V3];
const BOTH: &[Version] = &[Version::V3, Version::V5];

fn installed(package: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn mosquitto(folder: &Path, ports: &Ports, certificates: &Certificates) -> Recipe {
    let tls = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\n",
        certificates.ca.display(),
        certificates.server.display(),
        certificates.server_key.display()
    );
    let Ports { tcp, tls: tls_port, mutual, ws, wss, .. } = ports;
    let text = format!(
        "user root\nallow_anonymous true\nmax_queued_messages 0\n\
         listener {tcp} 127.0.0.1\n\
         listener {tls_port} 127.0.0.1\n{tls}\
         listener {mutual} 127.0.0.1\n{tls}require_certificate true\n\
         listener {ws} 127.0.0.1\nprotocol websockets\n\
         listener {wss} 127.0.0.1\nprotocol websockets\n{tls}"
    );
    let file = folder.join("mosquitto.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(file);
    let transports = &[Transport::Tls, Transport::MutualTls, Transport::WebSocket, Transport::WebSocketTls];
    Recipe { command, version: installed("mosquitto"), versions: BOTH, transports, path: "/mqtt" }
}

fn rabbitmq(folder: &Path, ports: &Ports, certificates: &Certificates) -> Recipe {
    let Ports { tcp, tls, ws, other, .. } = ports;
    let text = format!(
        "listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{tcp}\nmqtt.listeners.ssl.1 = 127.0.0.1:{tls}\n\
         mqtt.allow_anonymous = true\nweb_mqtt.tcp.port = {ws}\nweb_mqtt.tcp.listener = 127.0.0.1:{ws}\n\
         ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\nloopback_users = none\nmqtt.prefetch = 100\n",
        certificates.ca.display(),
        certificates.server.display(),
        certificates.server_key.display()
    );
    fs::write(folder.join("rabbitmq.conf"), text).unwrap();
    fs::write(folder.join("plugins"), "[rabbitmq_mqtt,rabbitmq_web_mqtt].").unwrap();
    // The wrapper in /usr/sbin would change to another user.
    let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    command
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("interop{other}@localhost"))
        .env("RABBITMQ_DIST_PORT", other.to_string())
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
    let transports = &[Transport::Tls, Transport::WebSocket];
    Recipe { command, version: installed("rabbitmq-server"), versions: V3_ONLY, transports, path: "/ws" }
}

fn activemq(folder: &Path, ports: &Ports) -> Recipe {
    let jars = [
        "/usr/share/activemq/lib/*",
        "/usr/share/activemq/lib/optional/*",
        "/usr/share/java/mqtt-client.jar",
        "/usr/share/java/hawtdispatch.jar",
        "/usr/share/java/hawtbuf.jar",
    ];
    let mut command = Command::new("java");
    command.current_dir(folder);
    command.args(["-cp", &jars.join(":"), "org.apache.activemq.console.command.ShellCommand", "start"]);
    command.arg(format!("broker:(mqtt://127.0.0.1:{})?persistent=true&useJmx=false", ports.tcp));
    Recipe { command, version: installed("activemq"), versions: V3_ONLY, transports: &[], path: "" }
}

fn node(name: &str, ports: &Ports, certificates: &Certificates) -> Recipe {
    let modules = Path::new(TOOLS).join("node_modules");
    let manifest = fs::read_to_string(modules.join(name).join("package.json")).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap_or_default();
    let version = manifest["version"].as_str().unwrap_or_default().to_owned();
    let mut command = Command::new("node");
    // A program finds its modules in the folders above it.
    let program = Path::new(TOOLS).join(format!("{name}.cjs"));
    fs::copy(Path::new(PROGRAMS).join(format!("{name}.cjs")), &program).unwrap();
    command.arg(program).args([ports.tcp, ports.tls, ports.ws].map(|port| port.to_string()));
    command.arg(&certificates.server).arg(&certificates.server_key);
    let transports: &[Transport] =
        if name == "aedes" { &[Transport::Tls, Transport::WebSocket] } else { &[Transport::WebSocket] };
    Recipe { command, version, versions: V3_ONLY, transports, path: "/" }
}

fn amqtt(folder: &Path, ports: &Ports, certificates: &Certificates) -> Recipe {
    let Ports { tcp, tls, ws, .. } = ports;
    let text = format!(
        "listeners:\n  default: {{type: tcp, bind: \"127.0.0.1:{tcp}\", max_connections: 1000}}\n\
         \x20 tls: {{type: tcp, bind: \"127.0.0.1:{tls}\", ssl: true, certfile: {}, keyfile: {}}}\n\
         \x20 ws: {{type: ws, bind: \"127.0.0.1:{ws}\"}}\n\
         plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}\n",
        certificates.server.display(),
        certificates.server_key.display()
    );
    let file = folder.join("amqtt.yaml");
    fs::write(&file, text).unwrap();
    let bin: PathBuf = Path::new(TOOLS).join("venv/bin");
    let version = Command::new(bin.join("amqtt")).arg("--version").output().unwrap();
    let mut command = Command::new(bin.join("amqtt"));
    command.arg("-c").arg(file);
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let transports = &[Transport::Tls, Transport::WebSocket];
    Recipe { command, version, versions: V3_ONLY, transports, path: "/" }
}

/// A Rust library as a broker: a program of ours with nothing but its listeners.
fn library(name: &str, folder: &Path, ports: &Ports) -> Recipe {
    let program = Path::new(TOOLS).join("cargo/release").join(name);
    let version = Command::new(&program).arg("--version").output().unwrap();
    let mut command = Command::new(program);
    command.current_dir(folder).args([ports.tcp, ports.tcp_v5, ports.ws].map(|port| port.to_string()));
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    Recipe { command, version, versions: BOTH, transports: &[], path: "/mqtt" }
}
