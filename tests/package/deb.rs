//! Makes the packages: the one of this version, and one that is newer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The version of the newer package.
pub(crate) const NEWER: &str = "999.0.0";

/// The top of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where everything lies that the tests of the package make.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("package")
}

/// What came out: paths on this machine.
pub(crate) struct Packages {
    pub(crate) current: PathBuf,
    pub(crate) debug: PathBuf,
    pub(crate) newer: PathBuf,
}

/// All packages, made once.
pub(crate) static PACKAGES: LazyLock<Packages> = LazyLock::new(|| {
    let dist = folder().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).unwrap();
    }
    // To compress well takes half a minute, and changes nothing that is looked at here.
    run(Command::new(root().join("scripts/deb"))
        .env("SERIALGATE_PROGRAM", env!("CARGO_BIN_EXE_serialgate"))
        .env("DIST", &dist)
        .env("WORK", folder().join("work"))
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1"));
    let arch = run(Command::new("dpkg").arg("--print-architecture"));
    let name = |package: &str, version: &str| dist.join(format!("{package}_{version}_{}.deb", arch.trim()));
    let version = env!("CARGO_PKG_VERSION");
    let packages = Packages {
        current: name("serialgate", version),
        debug: name("serialgate-dbgsym", version),
        newer: name("serialgate", NEWER),
    };
    renumber(&packages.current, &packages.newer);
    packages
});

/// Packs `from` again, as version [`NEWER`].
fn renumber(from: &Path, to: &Path) {
    let tree = tempfile::tempdir_in(folder()).unwrap();
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(from).arg(tree.path()));
    let control = tree.path().join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let old = concat!("Version: ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(text.contains(old), "{text}");
    fs::write(&control, text.replace(old, &format!("Version: {NEWER}\n"))).unwrap();
    run(Command::new("dpkg-deb")
        .args(["-Zgzip", "-z1", "--root-owner-group", "--build"])
        .arg(tree.path())
        .arg(to));
}

/// What the command writes. It must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `scripts/setup package` installs what these tests need")
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}
