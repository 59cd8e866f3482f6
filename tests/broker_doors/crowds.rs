//! Many connections, silent and slow ones above all.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serialgate::broker::{Access, Limits, Listen};
use serialgate::config::{self, User};
use serialgate::password::{Hash, SALT_BYTES};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::daemon::{Daemon, free};
use crate::papers::Authority;
use crate::site::{
    CONNACK, CONNECT, PATIENCE, Site, exchange, greet, ping, rest, tcp, through, tls, websocket,
};

/// One listener of each kind.
async fn all_kinds(authority: &Authority, limits: Limits) -> Site {
    let secure = Some(authority.server("a"));
    Site::new(limits, &[(None, false), (secure.clone(), false), (None, true), (secure, true)]).await
}

/// A client gets in at every door.
async fn all_doors_open(site: &Site, authority: &Authority) {
    let config = authority.believer(None);
    greet(&mut tcp(site.addresses[0]).await).await;
    greet(&mut tls(site.addresses[1], &config).await.unwrap()).await;
    let mut frames = websocket(tcp(site.addresses[2]).await, None).await.unwrap();
    assert_eq!(through(&mut frames, CONNECT, 4).await, CONNACK);
    let stream = tls(site.addresses[3], &config).await.unwrap();
    let mut frames = websocket(stream, None).await.unwrap();
    assert_eq!(through(&mut frames, CONNECT, 4).await, CONNACK);
}

#[tokio::test]
async fn silent_sockets_hold_nobody_up_at_any_door() {
    let authority = Authority::new("house");
    let site = all_kinds(&authority, Limits::default()).await;
    let mut silent = Vec::new();
    for address in &site.addresses {
        for _ in 0..20 {
            silent.push(tcp(*address).await);
        }
    }
    all_doors_open(&site, &authority).await;
    // Each is closed in time, and counted.
    let began = Instant::now();
    for stream in &mut silent {
        assert_eq!(rest(stream).await, b"");
    }
    assert!(began.elapsed() < PATIENCE);
    site.refused(80).await;
    all_doors_open(&site, &authority).await;
}

#[tokio::test]
async fn nonsense_at_any_door_harms_nobody() {
    let authority = Authority::new("house");
    let site = all_kinds(&authority, Limits::default()).await;
    let config = authority.believer(None);
    let mut client = tls(site.addresses[1], &config).await.unwrap();
    greet(&mut client).await;
    // Beginnings that lead further than the first byte.
    let beginnings: [&[u8]; 4] =
        [b"", CONNECT, b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03", b"GET / HTTP/1.1\r\n"];
    let mut random = fastrand::Rng::with_seed(5);
    for case in 0..400 {
        let mut said = beginnings[case / 4 % 4].to_vec();
        said.extend((0..random.usize(..200)).map(|_| random.u8(..)));
        let mut stream = tcp(site.addresses[case % 4]).await;
        // It may be closed before all is said.
        let _ = stream.write_all(&said).await;
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
    }
    ping(&mut client).await;
    all_doors_open(&site, &authority).await;
}

#[tokio::test]
async fn one_byte_a_second_is_too_slow() {
    let authority = Authority::new("house");
    let site = all_kinds(&authority, Limits::default()).await;
    let beginnings: [&[u8]; 4] = [
        b"\x10\x80\x80\x01\x00\x04MQTT\x04\x02\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /mqtt HTTP/1.1\r\nHost: somewhere\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    let drip = |address: SocketAddr, bytes: &'static [u8]| async move {
        let mut stream = tcp(address).await;
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    };
    let dripping = site.addresses.iter().zip(beginnings).map(|(address, bytes)| drip(*address, bytes));
    let dripping: Vec<_> = dripping.map(tokio::spawn).collect();
    all_doors_open(&site, &authority).await;
    for task in dripping {
        timeout(PATIENCE, task).await.expect("it is cut").unwrap();
    }
    site.refused(4).await;
}

#[tokio::test]
async fn more_silent_sockets_than_there_is_room_for_give_way() {
    let limits = Limits { handshakes: 50, ..Limits::default() };
    let site = Site::new(limits, &[(None, false)]).await;
    let mut flood = Vec::new();
    for _ in 0..600 {
        flood.push(tcp(site.addresses[0]).await);
        if flood.len().is_multiple_of(50) {
            greet(&mut tcp(site.addresses[0]).await).await;
        }
    }
    // The oldest gave way at once.
    assert_eq!(rest(&mut flood[0]).await, b"");
    site.until("given way", |broker| broker.stats().refused >= 550).await;
}

#[tokio::test]
async fn many_clients_of_this_machine_are_welcome() {
    let site = Site::new(Limits::default(), &[(None, false)]).await;
    let mut clients = Vec::new();
    for _ in 0..250 {
        let mut client = tcp(site.addresses[0]).await;
        greet(&mut client).await;
        clients.push(client);
    }
    site.until("connected", |broker| broker.stats().clients == 250).await;
    assert_eq!(site.broker.stats().refused, 0);
}

/// An address of this machine that is not loopback, if it has one.
fn network_address() -> Option<IpAddr> {
    // Nothing is sent: this only asks which address would be used (TEST-NET-1, RFC 5737).
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.254:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
async fn one_address_of_the_network_gets_no_more_than_its_share() {
    let Some(address) = network_address() else {
        // Without a network there is no such address. The rule itself is tested beside it.
        return;
    };
    let bound = TcpListener::bind((address, 0)).await.unwrap();
    let there = bound.local_addr().unwrap();
    let site = Site::with(Limits::default(), vec![(there, Listen::from(bound))]);
    // Nobody comes in from there without a name.
    let salt = [7; SALT_BYTES];
    let board =
        User { name: "board".into(), password: Hash::new(b"pw", salt), publish: None, subscribe: None };
    let config = config::Broker { users: vec![board], ..config::Broker::default() };
    site.broker.reload_access(Access::new(&config, salt));
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(enter(there).await);
    }
    for _ in 100..250 {
        assert_eq!(rest(&mut TcpStream::connect(there).await.unwrap()).await, b"");
    }
    site.refused(150).await;
    assert_eq!(site.broker.stats().clients, 100);
    drop(clients.pop());
    site.until("a place", |broker| broker.stats().clients == 99).await;
    enter(there).await;
}

/// Connects as the user `board`.
async fn enter(address: SocketAddr) -> TcpStream {
    let connect = b"\x10\x17\x00\x04MQTT\x04\xc2\x00\x00\x00\x00\x00\x05board\x00\x02pw";
    let mut client = tcp(address).await;
    let heard = timeout(PATIENCE, exchange(&mut client, connect, CONNACK.len())).await.unwrap();
    assert_eq!(heard.unwrap(), CONNACK);
    client
}

#[tokio::test]
async fn the_wildcard_of_ipv6_takes_clients_of_ipv4_as_well() {
    let port = free().port();
    let address = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
    let site = Site::with(Limits::default(), vec![(address, address.into())]);
    for client in [SocketAddr::from(([127, 0, 0, 1], port)), format!("[::1]:{port}").parse().unwrap()] {
        let connected = async {
            loop {
                if let Ok(stream) = TcpStream::connect(client).await {
                    return stream;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        greet(&mut timeout(PATIENCE, connected).await.unwrap()).await;
    }
    assert_eq!(site.broker.stats().refused, 0);
}

#[tokio::test]
async fn a_flood_that_takes_all_descriptors_passes() {
    let address = free();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_serialgate")]);
    let daemon = Daemon::start_as(command, &format!("broker: {{listen: ['{address}']}}\n"), address).await;
    let mut client = tcp(address).await;
    greet(&mut client).await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(tcp(address).await);
    }
    daemon.until_said("cannot accept connections; will try again", 1).await;
    ping(&mut client).await;
    drop(flood);
    greet(&mut tcp(address).await).await;
    assert!(daemon.log().matches("cannot accept").count() < 5, "{}", daemon.log());
}
