use std::time::Instant;

use nix::sys::termios::LocalFlags;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn next(pty: &mut Pty) -> Event {
    let mut buffer = [0; 64];
    tokio::time::timeout(PATIENCE, pty.event(&mut buffer, false)).await.unwrap().unwrap()
}

async fn read(pty: &mut Pty) -> Vec<u8> {
    let mut buffer = [0; 64];
    match tokio::time::timeout(PATIENCE, pty.event(&mut buffer, false)).await.unwrap().unwrap() {
        Event::Read(count) => buffer[..count].to_vec(),
        other => panic!("{other:?} instead of bytes"),
    }
}

/// Nothing happens, also not time and again.
async fn assert_silent(pty: &mut Pty) {
    let mut buffer = [0; 8];
    let waited = tokio::time::timeout(Duration::from_millis(30), pty.event(&mut buffer, true)).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn bytes_pass_unchanged_in_both_directions_for_one_listener_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let mut pty = Pty::open(&link).unwrap();
    // All that a cooked terminal would swallow, translate or echo.
    let bytes = b"\x00\x03\x04\r\n\x11\x13\x1a\xff end";
    for _ in 0..3 {
        let mut host = open_far_end(&link).unwrap();
        assert_eq!(next(&mut pty).await, Event::Opened);
        let local = tcgetattr(&host).unwrap().local_flags;
        assert!(!local.intersects(LocalFlags::ECHO | LocalFlags::ICANON));

        assert_eq!(pty.write(bytes).unwrap(), bytes.len());
        let mut came = [0; 13];
        host.read_exact(&mut came).unwrap();
        assert_eq!(&came, bytes);

        host.write_all(bytes).unwrap();
        assert_eq!(read(&mut pty).await, bytes);
        drop(host);
        assert_eq!(next(&mut pty).await, Event::Closed);
        assert_silent(&mut pty).await;
    }
}

#[tokio::test]
async fn without_a_listener_it_waits_and_what_is_written_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let mut pty = Pty::open(&link).unwrap();
    assert!(!pty.is_heard());
    assert_eq!(pty.write(b"into the void").unwrap(), 13);
    assert_silent(&mut pty).await;

    let mut host = open_far_end(&link).unwrap();
    assert_eq!(next(&mut pty).await, Event::Opened);
    assert_eq!(pty.write(b"heard").unwrap(), 5);
    let mut came = [0; 5];
    host.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"heard");
}

#[tokio::test]
async fn a_listener_that_closes_and_comes_back_unseen_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let mut pty = Pty::open(&link).unwrap();
    drop(open_far_end(&link).unwrap());
    let first = open_far_end(&link).unwrap();
    assert_eq!(next(&mut pty).await, Event::Opened);
    drop(first);
    let mut second = open_far_end(&link).unwrap();
    second.write_all(b"hi").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut came = Vec::<u8>::new();
    while came != b"hi" && Instant::now() < deadline {
        let mut buffer = [0; 8];
        if let Event::Read(count) = pty.event(&mut buffer, false).await.unwrap() {
            came.extend(&buffer[..count]);
        }
    }
    assert_eq!(came, b"hi");
}

#[tokio::test]
async fn a_listener_that_does_not_read_fills_the_line_until_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let mut pty = Pty::open(&link).unwrap();
    let mut host = open_far_end(&link).unwrap();
    assert_eq!(next(&mut pty).await, Event::Opened);
    for _ in 0..3 {
        let mut written = 0;
        loop {
            let room = pty.write(&[b'x'; 1000]).unwrap();
            written += room;
            assert!(written < 1_000_000, "a line without end");
            if room < 1000 {
                break;
            }
        }
        // The word that there is room may be a stale one, but only once.
        let mut buffer = [0; 8];
        while let Ok(event) =
            tokio::time::timeout(Duration::from_millis(30), pty.event(&mut buffer, true)).await
        {
            assert_eq!(event.unwrap(), Event::Writable);
            written += pty.write(b"x").unwrap();
        }
        let mut came = vec![0; written];
        host.read_exact(&mut came).unwrap();
        let event = tokio::time::timeout(PATIENCE, pty.event(&mut buffer, true)).await;
        assert_eq!(event.unwrap().unwrap(), Event::Writable);
    }
}

#[tokio::test]
async fn unplugging_ends_the_listener_and_plugging_in_again_takes_the_same_link() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let pty = Pty::open(&link).unwrap();
    let mut host = open_far_end(&link).unwrap();
    drop(pty);
    assert_eq!(host.read(&mut [0; 8]).unwrap(), 0);
    assert!(fs::symlink_metadata(&link).is_err());

    let old = Pty::open(&link).unwrap();
    let mut new = Pty::open(&link).unwrap();
    drop(old);
    let _host = open_far_end(&link).unwrap();
    assert_eq!(next(&mut new).await, Event::Opened);
}

#[tokio::test]
async fn it_does_not_replace_what_is_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "precious").unwrap();
    let error = Pty::open(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}
