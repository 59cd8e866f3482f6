//! `serialgate ports`: the serial ports of this machine. None is opened: many boards reset at that.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::unistd::geteuid;
use serde::Serialize;

use super::{DaemonArg, Exit, complain, say};
use crate::config::Config;
use crate::port::found::{self, Found, Kind};
use crate::port::open::{self, Holder};
use crate::port::usb::{self, Usb};

/// `ports` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  serialgate ports\n  serialgate ports --json | jq -r '.[].path'\n\n\
    Lists USB ports, and /dev/serial0 of a Raspberry Pi. None is opened, so no board is reset. Root also sees which \
    programs of other users hold a port.\n\n\
    Exit code 0: done, even where there is none. 78: the configuration that is named is wrong.")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The configuration that says which ports are in use [default: /etc/serialgate/serialgate.yaml, if it can be
    /// read]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// One port, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    /// The name to write into the configuration.
    path: String,
    /// `/dev/ttyUSB0`.
    device: String,
    /// Its other names.
    names: Vec<String>,
    /// `usb`, or `pins` of a Raspberry Pi.
    kind: &'static str,
    usb: Option<Usb>,
    driver: Option<String>,
    /// The path in the configuration that leads to it.
    configured: Option<String>,
    held_by: Option<Holder>,
    /// Why this user may not open it, and what to do about it.
    trouble: Option<String>,
}

/// Lists them.
///
/// # Errors
/// Where the answer cannot be written as JSON.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let daemon = DaemonArg { socket: None, config: args.config.clone() };
    let config = match daemon.load() {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Ok(Exit::Config);
        }
    };
    let (dev, sys) = (Path::new(found::DEV), Path::new(usb::SYS));
    let ports: Vec<Shown> = found::lines(dev).into_iter().map(|found| look(found, sys, &config)).collect();
    if args.json {
        say(serde_json::to_string_pretty(&ports).context("JSON")?);
        return Ok(Exit::Ok);
    }
    if ports.is_empty() {
        say(
            "No serial port: nothing is plugged in that the kernel has a driver for. `dmesg` tells what it saw.",
        );
    }
    ports.iter().for_each(|port| say(port.to_string().trim_end()));
    if !ports.is_empty() && !geteuid().is_root() {
        complain("Which programs of other users hold a port, only root sees.");
    }
    Ok(Exit::Ok)
}

fn look(found: Found, sys: &Path, config: &Config) -> Shown {
    let device = format!("{}/{}", found::DEV, found.device);
    let meant = config.ports.iter().find(|port| found.is_meant_by(&port.path));
    Shown {
        usb: usb::of(sys, &found.device),
        driver: usb::driver(sys, &found.device),
        configured: meant.map(|port| port.path.clone()),
        held_by: open::holder(&device),
        trouble: open::trouble(&device),
        kind: match found.kind {
            Kind::Usb => "usb",
            Kind::Pins => "pins",
        },
        names: found.names.into_iter().filter(|name| *name != found.path).collect(),
        path: found.path,
        device,
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path)?;
        let mut line = |name: &str, value: &str| writeln!(f, "    {name:<11} {value}");
        let mut text = String::new();
        if let Some(Usb { id, maker, product, serial }) = &self.usb {
            write!(text, "USB {id}")?;
            for word in [maker, product].into_iter().flatten() {
                write!(text, " {word}")?;
            }
            if let Some(serial) = serial {
                write!(text, ", serial number {serial}")?;
            }
        }
        if let Some(driver) = &self.driver {
            let comma = if text.is_empty() { "" } else { ", " };
            write!(text, "{comma}driver {driver}")?;
        }
        line("device", &self.device)?;
        for name in &self.names {
            line("also", name)?;
        }
        if !text.is_empty() {
            line("is", &text)?;
        }
        line("configured", self.configured.as_deref().unwrap_or("no"))?;
        if let Some(holder) = &self.held_by {
            line("held by", &format!("{} (pid {})", holder.name, holder.pid))?;
        }
        if let Some(trouble) = &self.trouble {
            line("trouble", trouble)?;
        }
        Ok(())
    }
}
