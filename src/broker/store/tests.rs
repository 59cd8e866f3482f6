use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::broker::journal::{Offline, SessionImage, SessionRow};
use crate::broker::message::Message;
use crate::broker::routing::SessionKey;
use crate::broker::state::tests::{World, steps};
use crate::mqtt::packet::{Publish, Qos};
use crate::reading::Properties;

const ROOM: u64 = 1 << 20;
const MINUTE_US: i64 = 60_000_000;

fn storage(dir: &TempDir) -> Storage {
    Storage { path: dir.path().join("broker.db"), commit_within_us: 250_000, is_strict: false }
}

fn base(us: i64) -> Base {
    static START: std::sync::LazyLock<Instant> =
        std::sync::LazyLock::new(|| Instant::now() + Duration::from_secs(86_400));
    Base::new(*START + Duration::from_micros(us.unsigned_abs()), us)
}

fn reopen(dir: &TempDir, boot: &str, at: Base) -> Result<Opened, StoreError> {
    open(&storage(dir), boot, ROOM, at)
}

/// Whether a bridge wants a message of QoS 2 is not what the model knows.
fn without_bridges(mut image: Image) -> Image {
    image
        .sessions
        .values_mut()
        .for_each(|session| session.incoming.values_mut().for_each(|half| *half = false));
    image
}

/// Times are whole microseconds in the file, and what is not retained is nobody's.
fn rounded(mut image: Image, at: Base) -> Image {
    let round = |time: Instant| at.instant(at.us(time));
    for session in image.sessions.values_mut() {
        session.row.offline = session
            .row
            .offline
            .map(|Offline { since, ends }| Offline { since: round(since), ends: ends.map(round) });
    }
    for message in image.messages.values_mut() {
        *message = Arc::new(Message { is_ours: false, ..Message::clone(message) });
    }
    image.wills.values_mut().for_each(|will| will.due = will.due.map(round));
    image
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_file_has_what_the_batches_say(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let at = base(0);
        let store = Rc::new(RefCell::new(reopen(&dir, "boot", at).unwrap().store));
        let mut world = World::new();
        let disk = Rc::clone(&store);
        world.disk = Some(Box::new(move |batch, expected| {
            let mut store = disk.borrow_mut();
            store.commit(batch, at).unwrap();
            let image = load::image(&store.db, at).unwrap();
            assert_eq!(without_bridges(image), rounded(expected.clone(), at));
        }));
        steps.iter().for_each(|step| world.step(step));
    }
}

fn message(id: u64, expires: Option<Instant>) -> Arc<Message> {
    let publish = Publish::new("t/ü", vec![0xFF, 0, 1], Qos::ExactlyOnce, true);
    let properties = Properties {
        content_type: Some("text".into()),
        correlation_data: Some(vec![1, 2].into()),
        is_utf8_payload: true,
        user: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
        ..Properties::default()
    };
    Arc::new(Message { id, expires, properties, ..Message::new(publish, Instant::now()) })
}

fn image(at: Base) -> Image {
    let mut image = Image::default();
    let ends = Some(at.instant(10 * MINUTE_US));
    let row = SessionRow {
        client_id: "a".into(),
        owner: Some("eve".into()),
        expiry_s: 900,
        offline: Some(Offline { since: at.instant(0), ends }),
    };
    image.sessions.insert(SessionKey(3), SessionImage::new(row));
    image.messages.insert(1, message(1, Some(at.instant(20 * MINUTE_US))));
    image.messages.insert(2, message(2, None));
    image.retained.insert("t/ü".into(), 1);
    image.retained.insert("u".into(), 2);
    image
}

fn write(store: &mut Store, image: &Image, at: Base) {
    let batch: Batch<()> = Batch::whole(image.clone());
    store.commit(&batch, at).unwrap();
}

#[test]
fn what_was_written_is_there_after_the_daemon_and_in_another_boot() {
    let dir = tempfile::tempdir().unwrap();
    let start = base(0);
    let mut store = reopen(&dir, "one", start).unwrap().store;
    let expected = image(start);
    write(&mut store, &expected, start);
    drop(store);
    // The same boot: time has gone on.
    let later = base(3 * MINUTE_US);
    let mut opened = reopen(&dir, "one", later).unwrap();
    assert_eq!(opened.image, expected);
    opened.store.note_time(later).unwrap();
    drop(opened);
    // Another: three minutes had passed, and how long the machine was off does not count.
    let after = base(MINUTE_US);
    let opened = reopen(&dir, "two", after).unwrap();
    let row = &opened.image.sessions[&SessionKey(3)].row;
    assert_eq!(row.offline.unwrap().ends, Some(after.instant((1 + 7) * MINUTE_US)));
    assert_eq!(opened.image.messages[&1].expires, Some(after.instant((1 + 17) * MINUTE_US)));
    assert_eq!(opened.image.messages[&2], expected.messages[&2]);
    drop(opened);
    assert_eq!(
        reopen(&dir, "two", after).unwrap().image.sessions[&SessionKey(3)].row.offline.unwrap().ends,
        Some(after.instant((1 + 7) * MINUTE_US)),
        "counted once"
    );
}

#[test]
fn a_file_that_is_not_ours_is_set_aside_and_one_of_a_newer_version_is_left_alone() {
    let mut dir = tempfile::tempdir().unwrap();
    for content in [String::new(), "no database at all, but long enough to be taken for one".repeat(40)] {
        dir = tempfile::tempdir().unwrap();
        let path = storage(&dir).path;
        fs::write(&path, &content).unwrap();
        let opened = reopen(&dir, "boot", base(0)).unwrap();
        assert_eq!(opened.damage.is_some(), !content.is_empty(), "an empty file is as good as none");
        assert_eq!(opened.image, Image::default());
        if let Some((aside, _)) = &opened.damage {
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
        }
    }
    let path = storage(&dir).path;
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let Err(StoreError::Refused(why)) = reopen(&dir, "boot", base(0)) else { panic!("opened") };
    assert!(why.contains("99"), "{why}");
    assert!(path.exists());
}

#[test]
fn the_log_has_its_size_from_the_first_day_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = base(0);
    let store = reopen(&dir, "boot", at).unwrap().store;
    store.tidy().unwrap();
    let size = log_bytes(&store.path);
    assert!(size >= log_pages(LOG_FOR) * u64::from(PAGE_BYTES), "{size}");
    assert!(fs::metadata(&store.path).unwrap().len() < 100 * 1024, "nothing in it yet");
    let mut big = image(at);
    for id in 10..30 {
        let publish = Publish::new("big", vec![7; 1 << 20], Qos::AtLeastOnce, true);
        big.messages.insert(id, Arc::new(Message { id, ..Message::new(publish, Instant::now()) }));
        big.retained.insert(id.to_string().into(), id);
    }
    drop(store);
    let mut store = open(&storage(&dir), "boot", 64 << 20, at).unwrap().store;
    write(&mut store, &big, at);
    assert!(log_bytes(&store.path) <= 2 * size, "{}", log_bytes(&store.path));
    write(&mut store, &image(at), at);
    drop(store);
    // Room that is not used any more is given back at the next start.
    let store = reopen(&dir, "boot", at).unwrap().store;
    store.tidy().unwrap();
    store.checkpoint("RESTART").unwrap();
    assert!(fs::metadata(&store.path).unwrap().len() < 100 * 1024);
}

#[test]
fn more_than_the_limit_is_refused_and_nothing_of_it_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = base(0);
    let mut store = reopen(&dir, "boot", at).unwrap().store;
    write(&mut store, &image(at), at);
    store.db.query_row("PRAGMA max_page_count = 100", [], |_| Ok(())).unwrap();
    let mut big = image(at);
    let publish = Publish::new("big", vec![7; 1 << 20], Qos::AtLeastOnce, true);
    big.messages.insert(9, Arc::new(Message { id: 9, ..Message::new(publish, Instant::now()) }));
    let batch: Batch<()> = Batch::whole(big);
    assert!(matches!(store.commit(&batch, at), Err(StoreError::Disk(_))));
    assert_eq!(load::image(&store.db, at).unwrap(), image(at));
}
