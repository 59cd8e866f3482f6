//! SIGHUP to the real daemon: what changes, and who does not notice.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::pty::{OpenptyResult, openpty};
use nix::unistd::ttyname;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::daemon::{Daemon, free};
use crate::papers::{Authority, server};
use crate::site::{PATIENCE, greet, ping, tcp, tls};

/// The certificate that is shown at `address`.
async fn shown(address: SocketAddr, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = tls(address, config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_clients_and_nobody_is_cut_off() {
    let authority = Authority::new("house");
    let tls_files = authority.server("first");
    let identity = &tls_files.identity;
    let on_disk = || CertificateDer::from_pem_file(&identity.certificate).unwrap();
    let address = free();
    let config = format!(
        "broker: {{listen: [{{address: '{address}', tls: {{certificate: {}, key: {}}}}}]}}\n",
        identity.certificate.display(),
        identity.key.display()
    );
    let daemon = Daemon::start(&config, address).await;
    let believer = authority.believer(None);
    let first = on_disk();
    let mut client = tls(address, &believer).await.unwrap();
    greet(&mut client).await;
    assert_eq!(shown(address, &believer).await, first);

    // The files alone have changed.
    authority.issue("server", &server("second"));
    daemon.hang_up();
    daemon.until_said("CN=second", 1).await;
    let second = on_disk();
    assert_eq!(shown(address, &believer).await, second);
    ping(&mut client).await;

    // A key that does not fit leaves the certificate from before in place.
    let key = fs::read(&identity.key).unwrap();
    authority.issue("server", &server("third"));
    fs::write(&identity.key, key).unwrap();
    daemon.hang_up();
    daemon.until_said("does not belong to the certificate", 1).await;
    assert_eq!(shown(address, &believer).await, second);

    // A file with mistakes changes nothing, and each mistake is told.
    daemon.reload("broker: {listen: [nowhere], limits: {connections: none}}\n");
    daemon.until_said("configuration not reloaded", 1).await;
    let log = daemon.log();
    assert!(log.contains("serialgate.yaml:4:19: listen: `nowhere` is not an IP address"), "{log}");
    assert!(log.contains("connections: `none` is not a whole number"), "{log}");
    assert_eq!(shown(address, &believer).await, second);
    ping(&mut client).await;
}

#[tokio::test]
async fn listeners_come_and_go_and_clients_stay() {
    let authority = Authority::new("house");
    let identity = authority.server("house").identity;
    let (one, two, three) = (free(), free(), free());
    let daemon = Daemon::start(&format!("broker: {{listen: ['{one}', '{two}']}}\n"), one).await;
    daemon.until_open(two).await;
    let (mut first, mut second) = (tcp(one).await, tcp(two).await);
    greet(&mut first).await;
    greet(&mut second).await;
    // The first stays, the second becomes one with TLS, and a third comes.
    daemon.reload(&format!(
        "broker: {{listen: ['{one}', {{address: '{two}', tls: {{certificate: {}, key: {}}}}}, '{three}']}}\n",
        identity.certificate.display(),
        identity.key.display()
    ));
    daemon.until_open(three).await;
    greet(&mut tcp(three).await).await;
    daemon.until_said(&format!("listening address={two} tls=true"), 1).await;
    greet(&mut tls(two, &authority.believer(None)).await.unwrap()).await;
    ping(&mut first).await;
    ping(&mut second).await;
    // All but the third go; limits change.
    daemon.reload(&format!("broker: {{listen: ['{three}'], limits: {{connections: 2}}}}\n"));
    daemon.until_said("no longer listening", 3).await;
    for gone in [one, two] {
        assert!(TcpStream::connect(gone).await.is_err(), "nobody listens at {gone}");
    }
    ping(&mut first).await;
    ping(&mut second).await;
    let refused = crate::site::exchange(&mut tcp(three).await, crate::site::CONNECT, 4).await.unwrap();
    assert_eq!(refused, b"\x20\x02\x00\x03", "the two from before are the most there may be");
    drop(second);
    let free_again = async {
        let mut stream = tcp(three).await;
        while crate::site::exchange(&mut stream, crate::site::CONNECT, 4).await.unwrap()
            != crate::site::CONNACK
        {
            stream = tcp(three).await;
        }
    };
    timeout(PATIENCE, free_again).await.unwrap();
}

#[tokio::test]
async fn a_port_comes_and_another_goes_and_the_third_is_not_disturbed() {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let path = ttyname(&slave).unwrap();
    let mut board = File::from(master);
    let stays = format!("{{path: {}, format: json, device: shed}}", path.display());
    let absent =
        |name: &str| format!("{{path: /dev/serialgate-no-such-{name}, format: json, device: {name}}}");
    let address = free();
    let config = |ports: &[String], more: &str| {
        format!("ports: [{}]\nbroker: {{listen: ['{address}']}}\n{more}", ports.join(", "))
    };
    let daemon = Daemon::start(&config(&[stays.clone(), absent("a")], ""), address).await;
    board.write_all(b"{\"t\":1}\n").unwrap();
    let frames = |daemon: &Daemon, wanted: u64| {
        daemon.ports().iter().any(|port| port["frames"] == wanted && port["disconnects"] == 0)
    };
    daemon.until("read", || frames(&daemon, 1)).await;
    daemon.reload(&config(
        &[absent("b"), stays.clone()],
        "bridges: [{name: cloud, url: 'mqtt://127.0.0.1:9'}]\n",
    ));
    daemon.until_said("configuration reloaded", 1).await;
    board.write_all(b"{\"t\":2}\n").unwrap();
    // The counters go on: it is the same line.
    daemon.until("read on", || frames(&daemon, 2)).await;
    let mut paths: Vec<String> =
        daemon.ports().iter().map(|port| port["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    let mut expected = [path.display().to_string(), "/dev/serialgate-no-such-b".to_owned()];
    expected.sort();
    assert_eq!(paths, expected);
    let log = daemon.log();
    assert!(log.contains("the new bridge cloud: this change needs a restart"), "{log}");
    // The same line with other settings: closed, and opened again.
    let other = format!("{{path: {}, format: json, device: shed, baud: 9600}}", path.display());
    daemon.reload(&config(&[other], ""));
    daemon.until_said("configuration reloaded", 2).await;
    daemon
        .until("open again", || {
            let ports = daemon.ports();
            ports.len() == 1 && ports[0]["state"] == "open" && ports[0]["frames"] == 0
        })
        .await;
    board.write_all(b"{\"t\":3}\n").unwrap();
    daemon.until("read anew", || frames(&daemon, 1)).await;
    assert!(TcpStream::connect(address).await.is_ok());
}
