//! A hundred boards that come back all at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use bytes::BytesMut;
use serialgate::mqtt::codec::Codec;
use serialgate::mqtt::packet::{Connect, Packet, Reason, Version};

use crate::site::{PATIENCE, Site, serialgate, until};

const BOARDS: usize = 100;

/// Tries once: the connection, or why there is none.
fn connect(site: &Site, board: usize, password: &str) -> Result<TcpStream, Reason> {
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut codec = Codec::client(Version::V5, 1 << 20);
    let connect = Connect {
        version: Version::V5,
        client_id: format!("board{board}").into(),
        clean_start: true,
        keep_alive_s: 0,
        session_expiry_s: 0,
        receive_maximum: 10,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: Some(format!("user{}", board % 10).into()),
        password: Some(password.to_owned().into()),
        will: None,
    };
    let (mut output, mut input) = (BytesMut::new(), BytesMut::new());
    codec.encode(&Packet::Connect(Box::new(connect)), &mut output).unwrap();
    stream.write_all(&output).unwrap();
    loop {
        match codec.decode(&mut input).unwrap() {
            Some(Packet::ConnAck(answer)) if answer.reason == Reason::SUCCESS => return Ok(stream),
            Some(Packet::ConnAck(answer)) => return Err(answer.reason),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        let mut bytes = [0; 256];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "closed without a word");
        input.extend_from_slice(&bytes[..count]);
    }
}

/// All boards at once, each until it is in.
fn all_connect(site: &Site) -> Vec<TcpStream> {
    thread::scope(|scope| {
        let board = |board| {
            scope.spawn(move || {
                loop {
                    match connect(site, board, "hunter2") {
                        Ok(stream) => return stream,
                        Err(reason) => assert_eq!(reason, Reason::BUSY, "only for a moment"),
                    }
                    thread::sleep(std::time::Duration::from_millis(500));
                }
            })
        };
        let boards: Vec<_> = (0..BOARDS).map(board).collect();
        boards.into_iter().map(|board| board.join().unwrap()).collect()
    })
}

#[test]
fn a_hundred_boards_get_in_and_back_in() {
    let mut hash = std::process::Command::new(serialgate());
    hash.arg("passwd").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = hash.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    let hash = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let user = |n: usize| format!("- {{name: user{n}, password_hash: \"{}\"}}\n", hash.trim());
    let site = Site::start(&(0..10).map(user).collect::<String>());
    for _ in 0..3 {
        let boards = all_connect(&site);
        assert_eq!(site.broker_status("clients"), 100);
        drop(boards);
        until("all are gone", || site.broker_status("clients") == 0);
    }
    // What lets them back in quickly lets nobody else in.
    assert_eq!(connect(&site, 1, "hunter3").err(), Some(Reason::BAD_LOGIN));
    assert_eq!(connect(&site, 1, "").err(), Some(Reason::BAD_LOGIN));
}
