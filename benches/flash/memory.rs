//! What the whole gateway takes in memory while a large backlog waits.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use serialgate::control::{self, Request, Response};
use serialgate::status::Status;

use crate::process::{Helper, wait_for, wait_until};
use crate::section::{Section, Short};
use crate::targets::{Bar, Targets};

/// How long each phase is looked at.
const PHASE: Duration = Duration::from_secs(4);
const LOOK_EACH: Duration = Duration::from_millis(50);
/// Boards on one port, and the readings per second of each.
const BOARDS: (&str, &str) = ("10", "100");

struct Gateway<'a> {
    dir: &'a Path,
    helper: Helper,
}

pub(crate) fn measure(dir: &Path, backlog: u64, targets: &mut Targets) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "Memory",
        format!(
            "The real program with {backlog} readings in its queue: the most that was resident, in MiB, while nothing comes \
             and\nthe cloud is away, while {} boards send {} readings a second each, and while mosquitto takes the backlog.",
            BOARDS.0, BOARDS.1
        ),
        ["idle", "inserting", "draining"],
    );
    let cloud = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let gateway = Gateway::start(dir, cloud)?;
    let idle = gateway.most_resident()?;
    let before = gateway.status()?.queue.accepted;
    let mut boards = Command::new(env!("CARGO_BIN_EXE_serialgate"));
    boards.args(["sim", "--format", "json", "--devices", BOARDS.0, "--rate", BOARDS.1, "--link"]);
    let boards = Helper::spawn(boards.arg(dir.join("port")))?;
    wait_for("readings", || Ok(gateway.status()?.queue.accepted > before))?;
    let inserting = gateway.most_resident()?;
    drop(boards);
    let delivered = gateway.status()?.queue.delivered;
    let config = dir.join("mosquitto.conf");
    fs::write(
        &config,
        format!("listener {cloud} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\n"),
    )?;
    let mut mosquitto = Command::new("mosquitto");
    let _mosquitto = Helper::spawn(mosquitto.arg("-c").arg(config))?;
    wait_for("the cloud", || Ok(gateway.status()?.queue.delivered > delivered))?;
    let draining = gateway.most_resident()?;
    section.row([idle, inserting, draining].map(|mib| Short(mib).to_string()));
    let most = idle.max(inserting).max(draining);
    targets.add(format!("MiB resident, whole program, {backlog} waiting"), most, Bar::AtMost(16.0));
    Ok(section)
}

impl<'a> Gateway<'a> {
    fn start(dir: &'a Path, cloud: u16) -> anyhow::Result<Self> {
        let config = dir.join("serialgate.yaml");
        let text = format!(
            "gateway: bench\nports:\n  - {{path: {}, format: json, device_key: id}}\n\
             queue: {{path: queue.db, max_size: 8GiB}}\nbroker: {{listen: []}}\ncontrol: {{socket: control.sock}}\n\
             bridges:\n  - {{name: {}, url: \"mqtt://127.0.0.1:{cloud}\"}}\n",
            dir.join("port").display(),
            crate::ours::BRIDGE,
        );
        fs::write(&config, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_serialgate"));
        let gateway = Self { dir, helper: Helper::spawn(command.arg("run").arg("--config").arg(config))? };
        wait_for("the gateway", || Ok(gateway.status().is_ok()))?;
        Ok(gateway)
    }

    fn status(&self) -> anyhow::Result<Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(control::ask(&self.dir.join("control.sock"), Request::Status))? {
            Response::Status(status) => Ok(*status),
            other => bail!("{other:?}"),
        }
    }

    /// The most that is resident within [`PHASE`], in MiB.
    fn most_resident(&self) -> anyhow::Result<f64> {
        let end = Instant::now() + PHASE;
        let mut most: f64 = 0.0;
        while Instant::now() < end {
            most = most.max(self.helper.rss_mib()?);
            wait_until(Instant::now() + LOOK_EACH);
        }
        Ok(most)
    }
}
