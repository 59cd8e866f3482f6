//! A machine with systemd: a container in which it boots as on a board, in three seconds.
//!
//! What it does not have: the kernel of its own, udev's devices, limits of memory and devices.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::deb::{PACKAGES, folder, root};

/// How long a condition may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Where the packages lie inside.
pub(crate) const PACKAGES_INSIDE: &str = "/mnt";
/// A person's configuration: one cloud that never answers, so that everything waits.
pub(crate) const WAITING: &str = "\
# mine
gateway: greenhouse
ports: []
bridges:
  - {name: cloud, url: \"mqtt://127.0.0.1:9\", forward: [\"serialgate/#\", \"sensors/#\"]}
";

/// Starts the container in a control group of its own: systemd counts and kills by groups, and a second
/// container would use the same ones. Groups of containers that are gone are removed on the way.
const START: &str = "
for tree in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e $tree/cgroup.procs ] || continue
    find $tree/serialgate-test-* -depth -type d -exec rmdir {} + 2>/dev/null
    mkdir -p $tree/serialgate-test-$$ && echo $$ > $tree/serialgate-test-$$/cgroup.procs
done
exec setpriv --pdeathsig KILL systemd-nspawn \"$@\"";

/// The container. It is gone when the tests are.
pub(crate) struct Machine {
    /// Its first process, as seen from here.
    leader: String,
}

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(|| Mutex::new(Machine::boot()));

/// The machine without a trace of the package. Nobody else has it meanwhile.
pub(crate) fn bare() -> MutexGuard<'static, Machine> {
    let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    machine.sh("systemctl stop 'board*' 2>/dev/null
         if dpkg-query --show serialgate >/dev/null 2>&1; then dpkg --purge serialgate; fi
         rm -rf /etc/serialgate /var/lib/serialgate /etc/systemd/system/serialgate.service.d
         systemctl daemon-reload; systemctl reset-failed");
    machine
}

/// The machine with the package as it was just installed.
pub(crate) fn installed() -> MutexGuard<'static, Machine> {
    let machine = bare();
    machine.install(&PACKAGES.current);
    machine.wait_for("the service runs", "systemctl is-active serialgate");
    machine
}

/// The same with a configuration: lines below the first level.
pub(crate) fn configured(text: &str) -> MutexGuard<'static, Machine> {
    let machine = installed();
    machine.write("/etc/serialgate/serialgate.yaml", text);
    machine.sh("systemctl restart serialgate");
    machine
}

impl Machine {
    fn boot() -> Self {
        let base = root().join("target/package/base");
        assert!(base.is_dir(), "{} is missing: scripts/setup package makes it", base.display());
        let packages = PACKAGES.current.parent().unwrap().display();
        let mut nspawn = Command::new("sh");
        nspawn
            .args(["-c", START, "sh", "--boot", "--quiet", "--private-network"])
            // What is written goes to memory, so that the base stays as it is.
            .args(["--volatile=overlay", "--directory"])
            .arg(&base)
            // The first process here need not be systemd.
            .args(["--register=no", "--keep-unit", "--console=read-only"])
            .arg(format!("--machine=serialgate-{}", std::process::id()))
            .arg(format!("--bind-ro={packages}:{PACKAGES_INSIDE}"))
            .arg("systemd.unit=multi-user.target")
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder().join("console")).unwrap())
            .stderr(fs::File::create(folder().join("nspawn")).unwrap());
        // The kernel ends it with the thread that started it: this one stays as long as the process.
        let (send, receive) = channel();
        thread::spawn(move || {
            send.send(nspawn.spawn().unwrap().id()).unwrap();
            loop {
                thread::park();
            }
        });
        let nspawn = receive.recv().unwrap();
        let leader = wait("systemd is the first process of the container", || first_child(nspawn));
        // A killed nspawn leaves its container behind. With its first process all others end.
        let mut end = Command::new("sh");
        end.args([
            "-c",
            "(tail --pid=$0 -f /dev/null; kill -KILL $1) &",
            &std::process::id().to_string(),
            &leader,
        ]);
        end.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let machine = Self { leader };
        machine.wait_for("the machine is up", "systemctl is-system-running --wait");
        machine
    }

    /// What a shell script does there, as root.
    pub(crate) fn try_sh(&self, script: &str) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.leader, "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup"])
            .args(["--root", "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"])
            .args(["sh", "-c", script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same, for a script that must succeed. Gives what it writes.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{out}{err}", output.status);
        out.into_owned()
    }

    /// Waits until the script succeeds. Gives what it writes.
    pub(crate) fn wait_for(&self, what: &str, script: &str) -> String {
        let attempt = || {
            let output = self.try_sh(script);
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let start = Instant::now();
        loop {
            if let Some(out) = attempt() {
                return out;
            }
            if start.elapsed() >= PATIENCE {
                let log = self.try_sh("systemctl status serialgate; journalctl --no-pager --lines 30");
                panic!("waited for: {what} ({script})\n{}", String::from_utf8_lossy(&log.stdout));
            }
            pause(LOOK_AGAIN);
        }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        self.sh(&format!("cat > {path} <<'END_OF_FILE'\n{text}END_OF_FILE"));
    }

    /// Installs a package as `dpkg` does when nobody is there to answer questions. Gives what it says.
    pub(crate) fn install(&self, package: &Path) -> String {
        self.sh(&format!("dpkg --install {} 2>&1", inside(package)))
    }

    /// A property of the service.
    pub(crate) fn show(&self, property: &str) -> String {
        self.sh(&format!("systemctl show --property {property} --value serialgate")).trim().to_owned()
    }
}

/// Where the machine sees a package.
pub(crate) fn inside(package: &Path) -> String {
    format!("{PACKAGES_INSIDE}/{}", package.file_name().unwrap().display())
}

/// The process that systemd-nspawn has started as number one.
fn first_child(nspawn: u32) -> Option<String> {
    // Without a child, ps fails.
    let ps = Command::new("ps").args(["-o", "pid=,comm=", "--ppid", &nspawn.to_string()]).output().unwrap();
    let out = String::from_utf8_lossy(&ps.stdout);
    let line = out.lines().find(|line| line.ends_with(" systemd"))?;
    Some(line.split_whitespace().next()?.to_owned())
}

/// Waits until there is something. Panics with `what` after [`PATIENCE`].
fn wait<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited for: {what}");
        pause(LOOK_AGAIN);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own thread, between two looks at a condition")]
fn pause(duration: Duration) {
    thread::sleep(duration);
}
