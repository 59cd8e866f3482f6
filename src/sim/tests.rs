use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use super::host::Host;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the port as soon as it is there.
async fn open(link: &Path) -> SerialStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tokio_serial::new(link.to_string_lossy(), 115_200).open_native_async() {
            Ok(port) => return port,
            Err(error) => assert!(Instant::now() < deadline, "{}: {error}", link.display()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Serves the board at `link` until it is unplugged for good.
async fn serve(link: PathBuf) -> Host {
    let (mut host, start) = (Host::default(), Instant::now());
    let mut port = open(&link).await;
    let mut buffer = [0; 1024];
    let mut count = 0;
    loop {
        let now_ms = u64::try_from(start.elapsed().as_millis()).unwrap();
        let reply = host.step(now_ms, &buffer[..count]);
        if !reply.is_empty() && port.write_all(&reply).await.is_err() {
            return host;
        }
        count = match tokio::time::timeout(Duration::from_millis(100), port.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return host,
            Ok(Ok(count)) => count,
            Err(_timeout) => 0,
        };
    }
}

fn ledger_lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

#[tokio::test]
async fn wire_boards_run_until_all_their_readings_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (link, ledger_path) = (dir.path().join("board"), dir.path().join("ledger"));
    let options = Options {
        devices: NonZeroUsize::new(2).unwrap(),
        count: Some(200),
        uid: Uid::new(&[0xAB, 0xFF]),
        boot: Some(0x1F2),
        ..Options::new(&link, Format::Wire, 1000.0)
    };
    let ledger = Ledger::create(&ledger_path).unwrap();
    let hosts = [link.clone(), dir.path().join("board.1")].map(|link| tokio::spawn(serve(link)));
    let summary = in_time(run(options, ledger.clone(), std::future::pending())).await.unwrap();

    assert_eq!(summary, Summary { produced: 400, acknowledged: 400, ..Summary::default() });
    assert_eq!((ledger.produced(), ledger.acknowledged()), (400, 400));
    for host in hosts {
        assert_eq!(in_time(host).await.unwrap().stored, (0..200).collect::<Vec<_>>());
    }
    let mut ids = BTreeMap::<String, Vec<String>>::new();
    for line in ledger_lines(&ledger_path) {
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        assert!(["sim-abff", "sim-ac00"].contains(&text("device").as_str()));
        ids.entry(text("event")).or_default().push(text("id"));
    }
    let expected =
        ["abff", "ac00"].iter().flat_map(|uid| (0..200).map(move |seq| format!("{uid}-1f2/{seq}")));
    let mut expected = expected.collect::<Vec<_>>();
    expected.sort();
    for (event, mut ids) in ids {
        ids.sort();
        assert_eq!(ids, expected, "{event}");
    }
}

#[tokio::test]
async fn a_wire_board_that_nobody_listens_to_gives_up_after_the_linger_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        count: Some(30),
        ring: 20,
        linger: Duration::from_millis(50),
        ..Options::new(&dir.path().join("board"), Format::Wire, 1000.0)
    };
    let summary = in_time(run(options, Ledger::unwritten(), std::future::pending())).await.unwrap();
    assert_eq!(summary, Summary { produced: 30, dropped: 10, held: 20, ..Summary::default() });
}

#[tokio::test]
async fn json_boards_share_a_line_and_print_what_the_ledger_says() {
    let dir = tempfile::tempdir().unwrap();
    let (link, ledger_path) = (dir.path().join("board"), dir.path().join("ledger"));
    let options = Options {
        devices: NonZeroUsize::new(3).unwrap(),
        count: Some(50),
        wait: true,
        ..Options::new(&link, Format::Json, 500.0)
    };
    let reader = tokio::spawn(async move {
        let mut lines = BufReader::new(open(&link).await).lines();
        let mut values = Vec::<Value>::new();
        while values.len() < 150 {
            values.push(serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap());
        }
        values
    });
    let ledger = Ledger::create(&ledger_path).unwrap();
    let summary = in_time(run(options, ledger, std::future::pending())).await.unwrap();
    assert_eq!(summary, Summary { produced: 150, ..Summary::default() });

    let printed = in_time(reader).await.unwrap();
    let key = |line: &Value, device: &str| {
        (line[device].clone(), line["n"].clone(), line["temp"].clone(), line["hum"].clone())
    };
    let produced = ledger_lines(&ledger_path);
    assert_eq!(
        printed.iter().map(|line| format!("{:?}", key(line, "id"))).collect::<Vec<_>>(),
        produced.iter().map(|line| format!("{:?}", key(line, "device"))).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn stopping_takes_the_links_away() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let options =
        Options { devices: NonZeroUsize::new(3).unwrap(), ..Options::new(&link, Format::Wire, 1.0) };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(run(options, Ledger::unwritten(), async {
        stopped.await.ok();
    }));
    for link in ["board", "board.1", "board.2"] {
        drop(open(&dir.path().join(link)).await);
    }
    stop.send(()).unwrap();
    in_time(running).await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_board_that_was_unplugged_still_has_its_readings() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("board");
    let (plug, plugged) = watch::channel(true);
    let options =
        Options { count: Some(300), plugged: Some(plugged), ..Options::new(&link, Format::Wire, 1000.0) };
    let ledger = Ledger::unwritten();
    let running = tokio::spawn(run(options, ledger.clone(), std::future::pending()));
    let mut host = tokio::spawn(serve(link.clone()));
    while ledger.acknowledged() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    plug.send(false).unwrap();
    let before = in_time(&mut host).await.unwrap();
    assert!(std::fs::symlink_metadata(&link).is_err());

    while ledger.produced() < 300 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    plug.send(true).unwrap();
    let host = tokio::spawn(serve(link));
    let summary = in_time(running).await.unwrap().unwrap();
    assert_eq!((summary.produced, summary.acknowledged), (300, 300));
    let after = in_time(host).await.unwrap();
    // Stored, but the acknowledgement was lost with the line: a second host takes it again.
    let first = after.stored[0];
    assert!(0 < first && first <= u32::try_from(before.stored.len()).unwrap());
    assert_eq!(after.stored, (first..300).collect::<Vec<_>>());
}
