//! TLS: both versions, client certificates, and those who speak something else.

use serialgate::broker::Limits;
use serialgate::config::{Listener, ServerTls};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::daemon::free;
use crate::papers::{Authority, client};
use crate::site::{CONNECT, Site, greet, rest, tcp, tls};

#[tokio::test]
async fn mqtt_goes_through_tls_of_both_versions() {
    let authority = Authority::new("house");
    let site = Site::new(Limits::default(), &[(Some(authority.server("a")), false)]).await;
    for version in [&TLS12, &TLS13] {
        let config = authority.believer_of(None, &[version]);
        let mut stream = tls(site.addresses[0], &config).await.unwrap();
        greet(&mut stream).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
}

#[tokio::test]
async fn large_messages_go_through_tls_in_both_directions() {
    let authority = Authority::new("house");
    let site = Site::new(Limits::default(), &[(Some(authority.server("a")), false)]).await;
    let mut stream = tls(site.addresses[0], &authority.believer(None)).await.unwrap();
    greet(&mut stream).await;
    let payload: Vec<u8> = (0..900_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    // SUBSCRIBE to `t`, then PUBLISH of QoS 0 to it.
    let mut said = b"\x82\x06\x00\x01\x00\x01t\x00\x30".to_vec();
    let length = payload.len() + 3;
    let digits = [length % 128 + 128, length / 128 % 128 + 128, length / 16384];
    said.extend(digits.map(|digit| u8::try_from(digit).unwrap()));
    said.extend(b"\x00\x01t");
    said.extend(&payload);
    let publish = said[8..].to_vec();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let saying = async { writer.write_all(&said).await.unwrap() };
    let hearing = async {
        let mut heard = vec![0; 5 + publish.len()];
        tokio::io::AsyncReadExt::read_exact(&mut reader, &mut heard).await.unwrap();
        heard
    };
    let ((), heard) = tokio::join!(saying, hearing);
    assert_eq!(heard[..5], *b"\x90\x03\x00\x01\x00");
    assert!(heard[5..] == publish, "the message came back as it was");
}

#[tokio::test]
async fn whoever_has_no_certificate_of_the_authority_stays_out() {
    let (house, stranger) = (Authority::new("house"), Authority::new("stranger"));
    let site = Site::new(Limits::default(), &[(Some(house.strict_server()), false)]).await;
    let address = site.addresses[0];
    let known = house.client(&client("esp32", 2090));
    for version in [&TLS12, &TLS13] {
        let mut stream = tls(address, &house.believer_of(Some(&known), &[version])).await.unwrap();
        greet(&mut stream).await;
    }
    let foreign = stranger.client(&client("esp32", 2090));
    let over = house.issue("over", &client("esp32", 2020));
    let mut nameless = client("", 2090);
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    let nameless = house.issue("nameless", &nameless);
    let mut refused = 0;
    for own in [None, Some(&foreign), Some(&over), Some(&nameless)] {
        for version in [&TLS12, &TLS13] {
            // Over TLS 1.3 the client learns of it after its own handshake.
            let config = house.believer_of(own, &[version]);
            if let Ok(mut stream) = tls(address, &config).await {
                let _ = stream.write_all(CONNECT).await;
                assert_eq!(rest(&mut stream).await, b"", "no CONNACK for {own:?}");
            }
            refused += 1;
            site.refused(refused).await;
        }
    }
    assert_eq!(site.broker.stats().received, 0);
}

#[tokio::test]
async fn who_speaks_something_else_is_closed_and_disturbs_nobody() {
    let authority = Authority::new("house");
    let site = Site::new(Limits::default(), &[(None, false), (Some(authority.server("a")), false)]).await;
    let (plain, secure) = (site.addresses[0], site.addresses[1]);
    let believer = authority.believer(None);
    assert!(tls(plain, &believer).await.is_err(), "TLS to the port without");
    site.refused(1).await;
    let mut stream = tcp(secure).await;
    stream.write_all(CONNECT).await.unwrap();
    let heard = rest(&mut stream).await;
    assert!(heard.is_empty() || heard[0] == 0x15, "an alert at most: {heard:?}");
    site.refused(2).await;
    // Who does not believe the certificate says so and goes.
    let other = Authority::new("other").believer(None);
    assert!(tls(secure, &other).await.is_err());
    site.refused(3).await;
    let mut stream = tcp(plain).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    site.refused(4).await;
    greet(&mut tcp(plain).await).await;
    greet(&mut tls(secure, &believer).await.unwrap()).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_there_yet_holds_up_its_own_listener_only() {
    let authority = Authority::new("house");
    let late = ServerTls {
        identity: serialgate::config::Identity {
            certificate: authority.path("late.pem"),
            key: authority.path("late.key"),
        },
        client_ca: None,
    };
    let address = free();
    let listener = Listener { tls: Some(late), ..Listener::plain(address) };
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = other.local_addr().unwrap();
    let site = Site::with(Limits::default(), vec![(address, listener.clone().into()), (open, other.into())]);
    greet(&mut tcp(open).await).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens there");
    authority.issue("late", &crate::papers::server("late"));
    // It is told, or finds out by itself a little later.
    let listen = vec![listener, Listener::plain(open)];
    site.broker.reload(&serialgate::config::Broker { listen, ..Default::default() });
    let connected = async {
        loop {
            if let Ok(stream) = tokio::net::TcpStream::connect(address).await {
                return stream;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    drop(tokio::time::timeout(crate::site::PATIENCE, connected).await.unwrap());
    greet(&mut tls(address, &authority.believer(None)).await.unwrap()).await;
    greet(&mut tcp(open).await).await;
}
