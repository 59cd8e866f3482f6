//! A small disk of our own: a real ext4 in a file, which others can fill and which can be mounted
//! read-only.
//!
//! It is mounted in a mount namespace of the calling thread and its children. However a test ends,
//! the kernel unmounts it with the last of them.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;

/// What such a test needs, for whoever runs it without.
const NEEDS: &str = "this test mounts a small ext4: it needs root, a free loop device and mkfs.ext4";

/// Mounted until it is dropped.
pub(crate) struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// An empty one of `mib` MiB at `dir/disk`.
    pub(crate) fn make(dir: &Path, mib: u64) -> Self {
        let disk = Self { image: dir.join("disk.img"), at: dir.join("disk") };
        fs::create_dir(&disk.at).unwrap();
        File::create(&disk.image).unwrap().set_len(mib << 20).unwrap();
        // No blocks kept back for root: full is full, for whoever writes.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&disk.image));
        unshare(CloneFlags::CLONE_NEWNS).unwrap_or_else(|error| panic!("{NEEDS}; namespace: {error}"));
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .unwrap_or_else(|error| panic!("{NEEDS}; private mounts: {error}"));
        disk.mount();
        disk
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&self.at));
    }

    /// The path of `name` on it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// Bytes that anybody can still write.
    pub(crate) fn free(&self) -> u64 {
        let stat = statvfs(&self.at).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    /// Another program writes until nothing more goes in.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let mut piece = vec![0xAA; 1 << 16];
        while !piece.is_empty() {
            match file.write(&piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
                Err(error) => panic!("filling the disk: {error}"),
            }
        }
        // What is written late would take its blocks late.
        file.sync_all().unwrap();
    }

    /// That program's file is deleted.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path("somebody-elses.log")
    }

    /// As `mount -o remount,ro` does. Nobody may have a file open for writing.
    pub(crate) fn read_only(&self) {
        self.remount(MsFlags::MS_RDONLY);
    }

    /// As `mount -o remount,rw` does.
    pub(crate) fn writable(&self) {
        self.remount(MsFlags::empty());
    }

    fn remount(&self, flags: MsFlags) {
        let flags = MsFlags::MS_REMOUNT | flags;
        mount(None::<&str>, &self.at, None::<&str>, flags, None::<&str>).unwrap();
    }

    /// What ext4 does after an error of the device: nothing can be written any more, and no remount
    /// helps.
    pub(crate) fn abort(&self) {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.at));
    }

    /// What the operator does about it: the file system is checked and mounted anew at the same
    /// place. Files that are open on the old one stay there.
    pub(crate) fn replace(&self) {
        umount2(&self.at, MntFlags::MNT_DETACH).unwrap();
        // Exit code 1: errors were corrected.
        let _ = Command::new("e2fsck").args(["-p", "-f"]).arg(&self.image).output();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{NEEDS}; {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{NEEDS}; {command:?}: {}", said.trim());
}
