//! What a commit asks of the disk: one `fdatasync`, and never an `fsync`, which would make the file
//! system write its own journal each time. The test binary defines both calls itself and counts.

#![expect(unsafe_code, reason = "stands in for the two system calls")]

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc::{SYS_fdatasync, SYS_fsync, syscall};
use serialgate::config;
use serialgate::queue::{Consumer, Queue};
use serialgate::reading::{Body, Message, Properties};
use serialgate::topic::{Forward, Topics};

static DATA_SYNCS: AtomicU32 = AtomicU32::new(0);
static FULL_SYNCS: AtomicU32 = AtomicU32::new(0);

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    DATA_SYNCS.fetch_add(1, Ordering::SeqCst);
    c_int::try_from(unsafe { syscall(SYS_fdatasync, fd) }).unwrap_or(-1)
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    FULL_SYNCS.fetch_add(1, Ordering::SeqCst);
    c_int::try_from(unsafe { syscall(SYS_fsync, fd) }).unwrap_or(-1)
}

fn message(n: u32) -> Body {
    Body::Message(Message {
        topic: "sensors/x".into(),
        payload: n.to_string().into(),
        qos: 1,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    })
}

#[tokio::test(flavor = "current_thread")]
async fn a_commit_is_one_data_sync() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Queue {
        path: dir.path().join("queue.db"),
        durability: config::Durability::Late,
        commit_within: Duration::from_millis(10),
        max_size: 64 << 20,
        max_age: Duration::from_secs(86_400),
        max_readings: None,
        when_full: config::WhenFull::DropOldest,
    };
    let consumer = Consumer {
        name: "cloud".into(),
        forward: Forward::Filters(vec!["#".into()]),
        order: Default::default(),
    };
    let queue = Queue::open(&config, Topics::new("serialgate", "pi"), vec![consumer]).unwrap();
    // The first commit restarts the log that was grown at creation.
    queue.push_ticketed(message(0)).unwrap().await.unwrap();
    let (data, full) = (DATA_SYNCS.load(Ordering::SeqCst), FULL_SYNCS.load(Ordering::SeqCst));
    assert!(data > 0, "the counters count nothing");
    let before = queue.status().commits;
    for n in 1..=20 {
        queue.push_ticketed(message(n)).unwrap().await.unwrap();
    }
    let commits = u32::try_from(queue.status().commits - before).unwrap();
    assert_eq!(commits, 20);
    assert_eq!(DATA_SYNCS.load(Ordering::SeqCst) - data, commits);
    assert_eq!(FULL_SYNCS.load(Ordering::SeqCst), full);
    queue.close();
}
