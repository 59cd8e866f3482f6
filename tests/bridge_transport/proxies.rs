//! The way through an HTTP proxy.

use std::net::SocketAddr;

use serialgate::bridge::Seen;
use serialgate::config::{Endpoint, Proxy, Scheme, Secret};
use serialgate::transport::Step;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::cloud::{Mosquitto, free_address};
use crate::papers::{Authority, endpoint, listener};
use crate::tls::answering;
use crate::{fails, visit};

/// A proxy that takes every name for `127.0.0.1`, wants `authorization` if that is given, and
/// tells what it was asked.
async fn proxy(authorization: Option<&'static str>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let port: u16 = target.rsplit(':').next().unwrap().parse().unwrap();
            let allowed = authorization
                .is_none_or(|wanted| head.contains(&format!("Proxy-Authorization: {wanted}\r\n")));
            tell.send(target).await.unwrap();
            if !allowed {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
                near.write_all(refusal).await.unwrap();
                continue;
            }
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
                near.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
                continue;
            };
            near.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    (address, told)
}

fn by(endpoint: Endpoint, proxy: SocketAddr, user: Option<(&str, Secret)>) -> Endpoint {
    let (username, password) = user.map(|(name, password)| (name.to_owned(), password)).unzip();
    let proxy = Proxy { host: proxy.ip().to_string(), port: proxy.port(), username, password };
    Endpoint { proxy: Some(proxy), ..endpoint }
}

#[tokio::test]
async fn the_proxy_looks_the_name_up_and_knows_who_we_are() {
    let authority = Authority::new("Farm CA");
    let address = free_address();
    let own = authority.issue_as("server", &crate::papers::params("x", &["broker.invalid"]));
    let _mosquitto = Mosquitto::start_with(&[(address, &listener(&own))]).await;
    // user:hunter2
    let (proxy, mut told) = proxy(Some("Basic dXNlcjpodW50ZXIy")).await;
    let mut to = endpoint(Scheme::Mqtts, address, authority.trust());
    to.url.host = "broker.invalid".into();
    let password = authority.path("password");
    let user = || Some(("user", Secret::File(password.clone())));
    fails(by(to.clone(), proxy, user()), "files", &["password", "cannot be read"]).await;
    std::fs::write(&password, "wrong\n").unwrap();
    fails(by(to.clone(), proxy, user()), "proxy", &["does not accept the user name", "`HTTP/1.1 407 "]).await;
    fails(by(to.clone(), proxy, None), "proxy", &["wants a user name", "`HTTP/1.1 407 "]).await;
    std::fs::write(&password, "hunter2\n").unwrap();
    let steps = visit(by(to, proxy, user())).await.unwrap();
    let is_tunnel =
        |seen: &Seen| matches!(seen, Seen::Way(Step::Tunnelled(status)) if status.contains("200"));
    assert!(steps.iter().any(is_tunnel), "{steps:?}");
    for _ in 0..3 {
        assert_eq!(told.recv().await.unwrap(), format!("broker.invalid:{}", address.port()));
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_lead_there_is_told_apart() {
    let nowhere = Endpoint::tcp(free_address());
    let target = format!("127.0.0.1:{}", nowhere.url.port);
    let (working, _told) = proxy(None).await;
    fails(by(nowhere.clone(), working, None), "proxy", &["cannot reach", &target, "502"]).await;
    for (answer, words) in [
        (&b"HTTP/1.0 403 Forbidden by rule 7\r\n\r\n"[..], "does not let us through to 127.0.0.1:"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "`HTTP/1.1 500 Oops`"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP proxy"),
    ] {
        fails(by(nowhere.clone(), answering(answer).await, None), "proxy", &[words]).await;
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_given_up() {
    let nowhere = Endpoint::tcp(free_address());
    fails(by(nowhere, answering(b"").await, None), "proxy", &["did not answer within 10s"]).await;
}
