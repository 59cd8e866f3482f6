//! An ext4 file system on a loop device, and what the device has written so far.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::namespace::lies_in;

/// The unit in which the kernel counts, in bytes.
const SECTOR: u64 = 512;

/// A mounted file system. Dropping it unmounts it, which frees the loop device too.
#[derive(Debug)]
pub(crate) struct Disk {
    /// `loop7`
    device: String,
    image: PathBuf,
    mounted: PathBuf,
}

/// What the block device has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Bytes written.
    pub(crate) bytes: u64,
    /// Times the write cache was flushed.
    pub(crate) flushes: u64,
}

impl Disk {
    /// A fresh file system of `mib` MiB under `scratch`.
    pub(crate) fn new(scratch: &Path, name: &str, mib: u64) -> anyhow::Result<Self> {
        let image = scratch.join(format!("{name}.img"));
        File::create(&image)?.set_len(mib * 1024 * 1024)?;
        let mounted = scratch.join(name);
        fs::create_dir(&mounted)?;
        let device = attach(&image, |device| {
            // Nothing is left for later: it would be written while we measure. 4 KiB blocks are what
            // mkfs takes for any real card; only for small images it would take less.
            let options = ["-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
            run(Command::new("mkfs.ext4").args(options).arg(device))?;
            mount(device, &mounted)
        })?;
        Ok(Self { device, image, mounted })
    }

    /// Mounts it again, with nothing of its content in memory.
    pub(crate) fn mount_again(&mut self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(&self.mounted))?;
        self.device = attach(&self.image, |device| mount(device, &self.mounted))?;
        Ok(())
    }

    /// Its root directory.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted
    }

    /// Brings everything that is still to be written to the device.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        Ok(nix::unistd::syncfs(File::open(&self.mounted)?)?)
    }

    pub(crate) fn counters(&self) -> anyhow::Result<Counters> {
        // Documentation/block/stat.rst: field 7 is sectors written, field 16 flushes.
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.device))?;
        let fields: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let (Some(sectors), Some(flushes)) = (fields.get(6), fields.get(15)) else {
            bail!("this kernel does not count flushes (needs Linux 5.5)");
        };
        Ok(Counters { bytes: sectors * SECTOR, flushes: *flushes })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What fails here is made good when the namespace ends.
        let _ = run(Command::new("umount").arg(&self.mounted));
        let _ = fs::remove_file(&self.image);
    }
}

impl Counters {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { bytes: self.bytes - earlier.bytes, flushes: self.flushes - earlier.flushes }
    }
}

/// Puts `image` on a loop device for as long as it is mounted; gives the device's name.
fn attach(image: &Path, mount: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let device = run(Command::new("losetup").args(["--direct-io=on", "--show", "--find"]).arg(image))?;
    let mounted = mount(&device);
    // While it is mounted this only marks the device: it goes with the mount.
    let detached = run(Command::new("losetup").arg("--detach").arg(&device));
    mounted.and(detached)?;
    Ok(device.trim_start_matches("/dev/").to_owned())
}

fn mount(device: &str, mounted: &Path) -> anyhow::Result<()> {
    let name = device.trim_start_matches("/dev/");
    let direct = fs::read_to_string(format!("/sys/block/{name}/loop/dio"))?;
    ensure!(direct.trim() == "1", "{device}: no direct I/O on the file system of the build directory");
    run(Command::new("mount").args(["-t", "ext4", "-o", "noatime"]).arg(device).arg(mounted))?;
    Ok(())
}

/// Detaches what an interrupt between attaching and mounting has left.
pub(crate) fn detach_all(scratch: &Path) {
    let list =
        run(Command::new("losetup").args(["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]));
    for line in list.unwrap_or_default().lines() {
        let Some((device, file)) = line.split_once(' ') else { continue };
        if lies_in(file, scratch) {
            let _ = run(Command::new("losetup").arg("--detach").arg(device));
        }
    }
}

/// Runs `command`; gives what it printed.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("PATH", path).output().context(name.clone())?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
