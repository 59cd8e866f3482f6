//! Two hosts and the cable between them, made of network namespaces.
//!
//! The namespaces have no name: however a test ends, the kernel takes them away with the last of the
//! threads and processes in them.

use std::fs::{self, File};
use std::io::Write;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::gettid;

/// What such a test needs, for whoever runs it without.
const NEEDS: &str = "this test makes network namespaces: it needs root, ip (iproute2) and nft (nftables)";
/// Where the cloud is, seen from the gateway.
pub(crate) const CLOUD: &str = "10.77.0.2";

/// One host, with its own network.
pub(crate) struct Host(File);

impl Host {
    /// A host that has nothing but its loopback.
    pub(crate) fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| panic!("{NEEDS}; namespace: {error}"));
            run("ip link set lo up", "");
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(in_a_thread(make))
    }

    /// Does it there: sockets and children belong to this host.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        in_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        })
    }

    /// The same, where names are looked up as `/etc/resolv.conf` with this content says.
    pub(crate) fn within_resolving<T: Send>(
        &self,
        dir: &Path,
        conf: &str,
        act: impl FnOnce() -> T + Send,
    ) -> T {
        let file = dir.join("resolv.conf");
        fs::write(&file, conf).unwrap();
        self.within(|| {
            let nothing = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).unwrap_or_else(|error| panic!("{NEEDS}; mounts: {error}"));
            mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
            mount(Some(&file), "/etc/resolv.conf", nothing, MsFlags::MS_BIND, nothing).unwrap();
            act()
        })
    }

    /// What becomes of packets that come in, as nft says it; nothing before that is kept.
    fn filter(&self, rule: &str) {
        let rules = format!(
            "flush ruleset\n\
             table inet faults {{\n chain input {{\n  type filter hook input priority 0;\n  {rule}\n }}\n}}\n"
        );
        self.within(|| run("nft -f -", &rules));
    }
}

/// A gateway's host and a cloud's, and their link.
pub(crate) struct Net {
    pub(crate) gateway: Host,
    pub(crate) cloud: Host,
}

impl Net {
    pub(crate) fn new() -> Self {
        let (gateway, cloud) = (Host::new(), Host::new());
        gateway.within(|| {
            let here = gettid();
            cloud.within(|| run(&format!("ip link add eth0 type veth peer name eth0 netns {here}"), ""));
        });
        for (host, address) in [(&gateway, "10.77.0.1"), (&cloud, CLOUD)] {
            host.within(|| {
                run(&format!("ip addr add {address}/24 dev eth0"), "");
                run("ip link set eth0 up", "");
            });
        }
        Self { gateway, cloud }
    }

    /// Nothing comes through, either way, and nobody is told.
    pub(crate) fn black_hole(&self) {
        self.both("iifname eth0 drop");
    }

    /// So many of a hundred packets are lost, either way.
    pub(crate) fn lose(&self, percent: u32) {
        self.both(&format!("iifname eth0 numgen random mod 100 < {percent} drop"));
    }

    /// Whatever the gateway says is answered with an RST.
    pub(crate) fn reset(&self) {
        self.cloud.filter("iifname eth0 meta l4proto tcp reject with tcp reset");
    }

    /// All is well again.
    pub(crate) fn heal(&self) {
        self.both("accept");
    }

    fn both(&self, rule: &str) {
        self.gateway.filter(rule);
        self.cloud.filter(rule);
    }
}

fn in_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(act).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs a command, with `input`.
fn run(command: &str, input: &str) {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{NEEDS}; {command}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{NEEDS}; {command}");
}
