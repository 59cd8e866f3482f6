use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::client::PATIENCE;
use super::*;
use crate::status::Status;

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        gateway: "greenhouse".into(),
        uptime_s: 7,
        clock_synced: true,
        ports: Vec::new(),
        queue: crate::status::Queue::default(),
        bridges: Vec::new(),
        broker: crate::status::Broker::default(),
    }
}

async fn serve(path: &Path) -> JoinHandle<()> {
    let server = Server::bind(path).await.unwrap();
    tokio::spawn(server.serve(|asked, answers| async move {
        let answer = match asked.request {
            Request::Import { .. } => Response::Error(String::from_utf8(asked.body).unwrap()),
            _ => Response::Status(Box::new(status())),
        };
        answers.send(answer).await.unwrap();
    }))
}

/// Sends `bytes`, ends the sending side, and gives all that comes back.
async fn say(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_daemon_tells_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for/it/control.sock");
    let _server = serve(&path).await;
    let response = ask(&path, Request::Status).await.unwrap();
    assert_eq!(response, Response::Status(Box::new(status())));
}

#[tokio::test]
async fn a_client_may_ask_as_often_as_it_likes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path).await;
    let answer = say(&path, b"{\"command\":\"status\"}\n{\"command\":\"status\"}\n").await;
    assert_eq!(answer.lines().count(), 2);
    assert!(answer.lines().all(|line| line.starts_with("{\"status\":{")), "{answer}");
}

#[tokio::test]
async fn what_is_imported_follows_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path).await;
    let mut client = Client::connect(&path).await.unwrap();
    for body in ["one\ntwo\n", "", "three"] {
        client.ask(&Request::Import { bytes: body.len() }, body.as_bytes()).await.unwrap();
        assert_eq!(client.answer().await.unwrap(), Response::Error(body.into()));
    }
    client.ask(&Request::Status, b"").await.unwrap();
    assert_eq!(client.answer().await.unwrap(), Response::Status(Box::new(status())));
    // More than the daemon holds at a time: refused before it is read.
    client.ask(&Request::Import { bytes: MAX_IMPORT_BYTES + 1 }, b"").await.unwrap();
    let Response::Error(error) = client.answer().await.unwrap() else { panic!("taken") };
    assert!(error.contains("too much for one import"), "{error}");
    assert!(client.answer().await.is_err(), "nobody knows where the next request would begin");
}

#[tokio::test]
async fn an_answer_may_take_its_time_and_many_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let server = Server::bind(&path).await.unwrap();
    let _server = tokio::spawn(server.serve(|_, answers| async move {
        for n in 0..1000 {
            answers.send(Response::Purged(n)).await.unwrap();
        }
        // Longer than a client waits for a line.
        tokio::time::sleep(PATIENCE + STILL_WORKING).await;
        answers.send(Response::Purged(1000)).await.unwrap();
    }));
    tokio::time::pause();
    let mut client = Client::connect(&path).await.unwrap();
    client.ask(&Request::Verify, b"").await.unwrap();
    for n in 0..=1000 {
        assert_eq!(client.answer().await.unwrap(), Response::Purged(n));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let server = Server::bind(&path).await.unwrap();
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let ended = std::sync::Mutex::new(Some(ended));
    let _server = tokio::spawn(server.serve(move |_, answers| {
        // Dropped with the future.
        let ended = ended.lock().unwrap().take();
        async move {
            let _ended = ended;
            while answers.send(Response::Purged(0)).await.is_ok() {}
        }
    }));
    let mut client = Client::connect(&path).await.unwrap();
    client.ask(&Request::Export { bridge: None }, b"").await.unwrap();
    client.answer().await.unwrap();
    drop(client);
    assert!(end.await.is_err());
}

#[tokio::test]
async fn whoever_takes_nothing_is_given_up_but_not_one_who_watches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let server = Server::bind(&path).await.unwrap();
    let _server = tokio::spawn(
        server.serve(|_, answers| async move { while answers.send(Response::Missed(1)).await.is_ok() {} }),
    );
    tokio::time::pause();
    for (request, is_kept) in [(Request::Verify, false), (Request::Watch { devices: Vec::new() }, true)] {
        let mut client = Client::connect(&path).await.unwrap();
        client.ask(&request, b"").await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        // More than waits in buffers.
        let mut left = 50_000;
        while left > 0 && client.answer().await.is_ok() {
            left -= 1;
        }
        assert_eq!(left == 0, is_kept, "{request:?}");
    }
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path).await;
    for nonsense in
        [&b"hello\n"[..], b"{}\n", b"{\"command\":\"explode\"}\n", b"\n", b"\xff\0\n", b"no line feed"]
    {
        let answer = say(&path, nonsense).await;
        assert!(answer.starts_with("{\"error\":\""), "{nonsense:?}: {answer}");
    }
    assert_eq!(say(&path, b"").await, "");
    assert!(ask(&path, Request::Status).await.is_ok());
}

#[tokio::test]
async fn an_endless_request_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&vec![b'x'; MAX_REQUEST_BYTES]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("at most 4096 bytes"), "{answer}");
}

#[tokio::test]
async fn a_silent_client_keeps_nobody_else_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path).await;
    let _silent = UnixStream::connect(&path).await.unwrap();
    assert!(ask(&path, Request::Status).await.is_ok());
}

#[tokio::test]
async fn what_a_killed_daemon_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = serve(&path).await;
    assert!(ask(&path, Request::Status).await.is_ok());
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path).await;
    let error = Server::bind(&path).await.unwrap_err();
    assert!(matches!(error, BindError::Running { .. }), "{error}");
    assert!(ask(&path, Request::Status).await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    fs::write(&path, "data").unwrap();
    assert!(matches!(Server::bind(&path).await, Err(BindError::InTheWay { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn owner_and_group_may_ask() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let server = Server::bind(&path).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    drop(server);
    assert!(!path.exists(), "a daemon that stops leaves nothing behind");
}

#[tokio::test]
async fn without_a_daemon_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = ask(&folder.path().join("none"), Request::Status).await.unwrap_err();
    assert!(matches!(missing, AskError::NotRunning { .. }), "{missing}");
    let dead = folder.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let dead = ask(&dead, Request::Status).await.unwrap_err();
    assert!(matches!(dead, AskError::NotRunning { .. }), "{dead}");
}

#[test]
fn the_usual_places_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let system = folder.path().join("run");
    let user = folder.path().join("user");
    let mut config = Config::default();
    config.queue.path = "/data/queue.db".into();
    let places = |config: &Config| usual_places(config, &system, Some(&user));

    assert_eq!(places(&config), [user.join("serialgate/control.sock"), "/data/control.sock".into()]);
    fs::create_dir(&system).unwrap();
    assert_eq!(places(&config).first(), Some(&system.join("control.sock")));
    assert_eq!(usual_places(&config, Path::new("/nowhere"), None), [PathBuf::from("/data/control.sock")]);
    config.control.socket = Some("/my/own.sock".into());
    assert_eq!(places(&config), [PathBuf::from("/my/own.sock")]);
}

#[test]
fn the_first_place_that_will_do_is_taken() {
    let places = || ["/a", "/b", "/c"].map(PathBuf::from).to_vec();
    assert_eq!(first(places(), |place| place == Path::new("/b")), Path::new("/b"));
    assert_eq!(first(places(), |_| false), Path::new("/c"));
}
