//! Whether the clock is right: one process asks, for another that may not.

use std::process::{Command, Output};

/// `serialgate clock` where the kernel gives this answer; and whether it left its file.
fn clock(answer: &str) -> (Output, bool) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("synchronised");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=adjtimex,clock_adjtime", "-e"]);
    command.arg(format!("inject=adjtimex,clock_adjtime:{answer}"));
    command.arg(env!("CARGO_BIN_EXE_serialgate")).arg("clock").arg("--file").arg(&file);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (output, file.exists())
}

#[test]
fn a_clock_that_was_synchronised_leaves_a_file() {
    // The structure stays as the program made it, and says nothing of STA_UNSYNC.
    let (output, there) = clock("retval=0");
    assert!(output.status.success() && there, "{output:?}");
}

#[test]
fn who_may_not_ask_says_so_and_leaves_none() {
    let (output, there) = clock("error=EPERM");
    assert_eq!((output.status.code(), there), (Some(69), false), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("adjtimex"), "{output:?}");
}
