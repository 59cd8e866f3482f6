//! The broker's ports, on real sockets.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::broker::Listen;

const CONNECT_V3: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
const CONNACK_V3: &[u8] = b"\x20\x02\x00\x00";

fn start(broker: &Broker, listeners: Vec<Listen>) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let (broker, stop) = (broker.clone(), CancellationToken::new());
    let token = stop.clone();
    (stop, tokio::spawn(async move { broker.serve(listeners, token).await }))
}

async fn bound() -> (Listen, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

/// Connects and hears that much.
async fn greet(address: SocketAddr) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(CONNECT_V3).await?;
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await?;
    Ok((stream, heard.to_vec()))
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_tried_again_while_the_others_serve() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let (free, address) = bound().await;
    let broker = broker();
    let (_stop, _task) = start(&broker, vec![taken.into(), free]);
    assert_eq!(greet(address).await.unwrap().1, CONNACK_V3);
    tokio::time::sleep(Duration::from_secs(12)).await;
    drop(holder);
    let before = tokio::time::Instant::now();
    while greet(taken).await.is_err() {
        assert!(before.elapsed() < Duration::from_secs(10), "never bound");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_client_too_many_is_told_so_and_a_place_is_free_again() {
    let (listen, address) = bound().await;
    let broker = Broker::new(Limits { connections: 2, ..Limits::default() }, NoIntake);
    let (_stop, _task) = start(&broker, vec![listen]);
    let first = greet(address).await.unwrap();
    let _second = greet(address).await.unwrap();
    assert_eq!(greet(address).await.unwrap().1, b"\x20\x02\x00\x03", "server unavailable");
    assert_eq!((broker.stats().clients, broker.stats().refused), (2, 1));
    drop(first);
    while greet(address).await.unwrap().1 != CONNACK_V3 {
        tokio::time::sleep(MOMENT).await;
    }
}

#[tokio::test]
async fn a_client_that_is_thought_to_be_there_finds_its_place_again() {
    let broker = Broker::new(Limits { connections: 1, ..Limits::default() }, NoIntake);
    // The broker hears of none of their ends.
    let mut lost = Vec::new();
    for _ in 0..5 {
        lost.push(Peer::new(&broker, Version::V5, "a").await);
    }
    let mut other = Peer::open(&broker, Version::V5);
    other.say(Packet::Connect(Box::new(connect(Version::V5, "b")))).await;
    let Packet::ConnAck(answer) = other.hear().await else { panic!("no CONNACK") };
    assert_eq!(answer.reason, Reason::BUSY);
}

#[tokio::test(start_paused = true)]
async fn stopping_closes_connections_and_ports() {
    let (listen, address) = bound().await;
    let broker = broker();
    let (stop, task) = start(&broker, vec![listen]);
    let (mut polite, _) = greet(address).await.unwrap();
    let (_stubborn, _) = greet(address).await.unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    let mut rest = Vec::new();
    polite.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    drop(polite);
    timeout(Duration::from_secs(3), task).await.expect("stops in time").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
    assert_eq!(broker.stats().clients, 0);
}

#[tokio::test(start_paused = true)]
async fn unread_input_does_not_eat_the_last_words() {
    let (listen, address) = bound().await;
    let (_stop, _task) = start(&broker(), vec![listen]);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00").await.unwrap();
    let mut connack = [0; 64];
    assert!(stream.read(&mut connack).await.unwrap() > 0);
    // More than the broker reads at a time, and wrong from the first byte on.
    stream.write_all(&[0; 100_000]).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert!(matches!(heard[..], [0xE0, _, code, ..] if code == Reason::MALFORMED.0), "{heard:?}");
}
