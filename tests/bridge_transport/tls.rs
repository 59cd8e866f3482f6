//! Whom we believe, who we are, and what is said when that does not fit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::date_time_ymd;
use serialgate::config::{Endpoint, Identity, Scheme, Tls};
use serialgate::topic::Subject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion, crypto::ring, server::Acceptor};

use crate::cloud::{Gateway, Mosquitto, bridge_to, cuttable, free_address, subscribe, survives_cuts};
use crate::papers::{Authority, endpoint, listener, params, strict_listener};
use crate::{fails, secured, visit};

/// A mosquitto with TLS at the second address, which shows `own`.
async fn mosquitto(own: &Identity) -> (Mosquitto, SocketAddr) {
    let address = free_address();
    (Mosquitto::start_with(&[(address, &listener(own))]).await, address)
}

#[tokio::test]
async fn readings_arrive_over_tls_through_cuts() {
    let authority = Authority::new("Farm CA");
    let (mosquitto, address) = mosquitto(&authority.issue("server")).await;
    let seen = subscribe(mosquitto.address).await;
    let (address, cut) = cuttable(address).await;
    let gateway = Gateway::start(bridge_to(endpoint(Scheme::Mqtts, address, authority.trust())));
    gateway.bulletin.post(Subject::Gateway, "online");
    survives_cuts(&gateway, &seen, &cut, 4, 2000).await;
    let word = || seen.lock().unwrap().words.get("serialgate/pi/status").cloned();
    gateway.until("online", || word().as_deref() == Some("online")).await;
    gateway.stop.send(()).unwrap();
    gateway.task.await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_with_its_name() {
    let (farm, other) = (Authority::new("Farm CA"), Authority::new("Other CA"));
    let (_mosquitto, address) = mosquitto(&farm.issue("server")).await;
    let to = |tls| endpoint(Scheme::Mqtts, address, tls);
    fails(to(Tls::default()), "tls", &["CN=Farm CA", "this system does not know", "tls: {ca: FILE}"]).await;
    let file = other.ca().display().to_string();
    fails(to(other.trust()), "tls", &["CN=Farm CA", &file]).await;
    visit(to(farm.trust())).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_believed_where_it_is_given() {
    let authority = Authority::new("Farm CA");
    let own = authority.self_signed("server", &["localhost"]);
    let (_mosquitto, address) = mosquitto(&own).await;
    let given = |own: &Identity| Tls { ca: Some(own.certificate.clone()), ..Tls::default() };
    visit(endpoint(Scheme::Mqtts, address, given(&own))).await.unwrap();
    // Not another one with the same name, and not under another name.
    let twin = authority.self_signed("twin", &["localhost"]);
    fails(endpoint(Scheme::Mqtts, address, given(&twin)), "tls", &["the server's certificate"]).await;
    let tls = Tls { server_name: Some("other.example".into()), ..given(&own) };
    fails(endpoint(Scheme::Mqtts, address, tls), "tls", &["for localhost, not for other.example"]).await;
}

#[tokio::test]
async fn the_name_must_fit_and_can_be_set() {
    let authority = Authority::new("Farm CA");
    let names = ["broker.example", "*.farm.example", "192.0.2.1"];
    let (_mosquitto, address) = mosquitto(&authority.issue_as("server", &params("x", &names))).await;
    let to = |name: Option<&str>| {
        let tls = Tls { server_name: name.map(Into::into), ..authority.trust() };
        endpoint(Scheme::Mqtts, address, tls)
    };
    let words = ["broker.example, *.farm.example, 192.0.2.1", "not for localhost", "server_name"];
    fails(to(None), "tls", &words).await;
    for name in ["broker.example", "a.farm.example", "192.0.2.1"] {
        visit(to(Some(name))).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_without_names_is_told_apart() {
    let authority = Authority::new("Farm CA");
    let (_mosquitto, address) = mosquitto(&authority.issue_as("server", &params("localhost", &[]))).await;
    let to = endpoint(Scheme::Mqtts, address, authority.trust());
    fails(to, "tls", &["bears no names", "subjectAltName=DNS:localhost"]).await;
}

#[tokio::test]
async fn the_time_of_a_certificate_counts() {
    let authority = Authority::new("Farm CA");
    let mut over = params("broker", &["localhost"]);
    over.not_after = date_time_ymd(2020, 2, 29);
    let mut to_come = params("broker", &["localhost"]);
    to_come.not_before = date_time_ymd(2999, 1, 1);
    for (params, words) in [
        (over, ["CN=broker ended at 2020-02-29 00:00", "clock"]),
        (to_come, ["begins at 2999-01-01", "clock"]),
    ] {
        let own = authority.issue_as("server", &params);
        let (_mosquitto, address) = mosquitto(&own).await;
        fails(endpoint(Scheme::Mqtts, address, authority.trust()), "tls", &words).await;
        let given = Tls { ca: Some(own.certificate), ..Tls::default() };
        fails(endpoint(Scheme::Mqtts, address, given), "tls", &words).await;
    }
}

#[tokio::test]
async fn a_broker_that_wants_our_certificate_gets_it() {
    let (farm, other) = (Authority::new("Farm CA"), Authority::new("Other CA"));
    let address = free_address();
    let strict = strict_listener(&farm.issue("server"), &farm.ca());
    let _mosquitto = Mosquitto::start_with(&[(address, &strict)]).await;
    let to = |identity| endpoint(Scheme::Mqtts, address, Tls { identity, ..farm.trust() });
    let shown = secured(to(Some(farm.issue_client("own", (2999, 1, 1))))).await;
    assert!(shown.asked);
    assert_eq!(shown.own.unwrap().subject, "CN=greenhouse");
    assert_eq!(shown.chain[0].issuer, "CN=Farm CA");
    fails(to(None), "mqtt", &["wants a client certificate", "tls: {certificate: FILE, key: FILE}"]).await;
    let foreign = other.issue_client("own", (2999, 1, 1));
    fails(to(Some(foreign)), "mqtt", &["does not accept our certificate, CN=greenhouse"]).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_the_next_connect() {
    let farm = Authority::new("Farm CA");
    let address = free_address();
    let strict = strict_listener(&farm.issue("server"), &farm.ca());
    let mosquitto = Mosquitto::start_with(&[(address, &strict)]).await;
    let seen = subscribe(mosquitto.address).await;
    let own = farm.issue_client("own", (2021, 1, 1));
    let tls = Tls { identity: Some(own), ..farm.trust() };
    let gateway = Gateway::start(bridge_to(endpoint(Scheme::Mqtts, address, tls)));
    gateway.push(0);
    let error = || gateway.status.lock().last_error.clone().unwrap_or_default();
    gateway.until("refused", || error().contains("does not accept our certificate")).await;
    farm.issue_client("own", (2999, 1, 1));
    gateway.until("connected", || gateway.is_connected()).await;
    gateway.until("delivered", || seen.lock().unwrap().readings == [0]).await;
}

#[tokio::test]
async fn the_wrong_port_is_recognised() {
    let authority = Authority::new("Farm CA");
    let (mosquitto, secure) = mosquitto(&authority.issue("server")).await;
    let to_plain = endpoint(Scheme::Mqtts, mosquitto.address, authority.trust());
    fails(to_plain, "tls", &["does it speak TLS on this port?"]).await;
    fails(Endpoint::tcp(secure), "mqtt", &["mqtts://"]).await;
    for (answer, step, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "mqtt", "write `ws://` in the url"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "mqtt", "write `mqtts://` in the url"),
    ] {
        fails(Endpoint::tcp(answering(answer).await), step, &[words]).await;
    }
    let no_tls = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    fails(endpoint(Scheme::Mqtts, no_tls, authority.trust()), "tls", &["does not speak TLS"]).await;
}

#[tokio::test]
async fn a_server_of_another_age_is_told_apart() {
    let authority = Authority::new("Farm CA");
    for (alert, words) in [
        (&b"\x15\x03\x01\x00\x02\x02\x46"[..], "another version of TLS than 1.2 and 1.3"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "ended the handshake: HandshakeFailure"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "does not serve this name"),
    ] {
        fails(endpoint(Scheme::Mqtts, answering(alert).await, authority.trust()), "tls", &[words]).await;
    }
}

/// A server that answers the first bytes of everybody with `answer`.
pub(crate) async fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 1024];
            if stream.read(&mut first).await.is_ok() && !answer.is_empty() {
                let _ = stream.write_all(answer).await;
            }
            // Held open: an end would be another answer.
            tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let authority = Authority::new("Farm CA");
    let silent = answering(b"").await;
    fails(endpoint(Scheme::Mqtts, silent, authority.trust()), "tls", &["no answer within 10s"]).await;
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_of_the_handshake_is_given_up() {
    let authority = Authority::new("Farm CA");
    // A record that says it has more bytes than come.
    let stalled = answering(b"\x16\x03\x03\x40\x00\x02").await;
    fails(endpoint(Scheme::Mqtts, stalled, authority.trust()), "tls", &["no answer within 10s"]).await;
}

/// A pipe that nobody writes to hangs as a dead file server does.
#[tokio::test]
async fn a_file_that_hangs_is_given_up() {
    let authority = Authority::new("Farm CA");
    let pipe = authority.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let tls = Tls { ca: Some(pipe.clone()), ..Tls::default() };
    fails(endpoint(Scheme::Mqtts, free_address(), tls), "files", &["within 10s", "network drive"]).await;
    // The thread that was left behind ends.
    drop(std::fs::File::options().write(true).open(&pipe).unwrap());
}

// === A server that tells what it sees ===

/// What a client said in its first message.
struct Hello {
    name: Option<String>,
    alpn: Vec<String>,
}

/// A TLS server in front of `broker` that speaks `versions`, takes the protocol `alpn` and tells
/// what clients say.
async fn tls_server(
    own: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &str,
    broker: SocketAddr,
) -> (SocketAddr, mpsc::Receiver<Hello>) {
    let chain = vec![CertificateDer::from_pem_file(&own.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let started = LazyConfigAcceptor::new(Acceptor::default(), near).await.unwrap();
            let hello = started.client_hello();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let alpn = hello.alpn().map(|all| all.map(text).collect()).unwrap_or_default();
            tell.send(Hello { name: hello.server_name().map(Into::into), alpn }).await.unwrap();
            // A client may not like our certificate.
            let Ok(mut near) = started.into_stream(Arc::clone(&config)).await else { continue };
            let mut far = tokio::net::TcpStream::connect(broker).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    });
    (address, told)
}

#[tokio::test]
async fn name_and_protocols_are_said_in_both_versions_of_tls() {
    let authority = Authority::new("Farm CA");
    let (own, mosquitto) = (authority.issue("server"), Mosquitto::start().await);
    for (version, number) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let (address, mut told) = tls_server(&own, &[version], "x-amzn-mqtt-ca", mosquitto.address).await;
        let alpn = vec!["other".into(), "x-amzn-mqtt-ca".into()];
        let to = |tls| endpoint(Scheme::Mqtts, address, tls);
        let shown = secured(to(Tls { alpn: alpn.clone(), ..authority.trust() })).await;
        assert_eq!((shown.version, shown.alpn.as_deref()), (number, Some("x-amzn-mqtt-ca")));
        let hello = told.recv().await.unwrap();
        assert_eq!((hello.name.as_deref(), hello.alpn), (Some("localhost"), alpn));
        let tls = Tls { alpn: vec!["mqtt".into()], ..authority.trust() };
        fails(to(tls), "tls", &["takes none of the protocols in `alpn`: mqtt"]).await;
        told.recv().await.unwrap();
        let name = Some("broker.example".into());
        fails(to(Tls { server_name: name, ..authority.trust() }), "tls", &["not for broker.example"]).await;
        let hello = told.recv().await.unwrap();
        assert_eq!((hello.name.as_deref(), hello.alpn.len()), (Some("broker.example"), 0));
    }
}

/// What a slow socket takes only in parts arrives whole: large messages through a narrow pipe.
#[tokio::test]
async fn large_messages_pass_a_narrow_link() {
    let authority = Authority::new("Farm CA");
    let (mosquitto, address) = mosquitto(&authority.issue("server")).await;
    let seen = subscribe(mosquitto.address).await;
    let (address, passed) = narrow(address);
    let gateway = Gateway::start(bridge_to(endpoint(Scheme::Mqtts, address, authority.trust())));
    gateway.until("connected", || gateway.is_connected()).await;
    (0..3000).for_each(|seq| gateway.push(seq));
    gateway.until("delivered", || gateway.queue.status().readings == 0).await;
    gateway.until("seen", || seen.lock().unwrap().readings.len() == 3000).await;
    assert_eq!(seen.lock().unwrap().readings, (0..3000).collect::<Vec<_>>());
    assert_eq!(gateway.status.lock().duplicates_possible, 0);
    assert!(passed.load(Ordering::Relaxed) > 100, "it was not narrow");
}

/// Passes one connection on in small pieces, reading no more before one is gone; counts them.
fn narrow(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    const PIECE_BYTES: usize = 1000;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // The least that the kernel allows.
    socket.set_recv_buffer_size(1).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let (address, passed) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&passed);
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(to).await.unwrap();
        let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
            (near.into_split(), far.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
        let mut piece = [0; PIECE_BYTES];
        while let Ok(bytes @ 1..) = from_near.read(&mut piece).await {
            count.fetch_add(1, Ordering::Relaxed);
            to_far.write_all(&piece[..bytes]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    (address, passed)
}
