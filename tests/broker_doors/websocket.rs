//! WebSockets (MQTT 5.0, 6; RFC 6455).

use futures_util::{SinkExt as _, StreamExt as _};
use serialgate::broker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::papers::{Authority, client};
use crate::site::{
    CONNACK, CONNECT, PATIENCE, PINGREQ, PINGRESP, Site, heard, rest, tcp, through, tls, websocket,
};

async fn site() -> Site {
    Site::new(Limits::default(), &[(None, true)]).await
}

#[tokio::test]
async fn packets_and_frames_need_not_agree() {
    let site = site().await;
    let mut frames = websocket(tcp(site.addresses[0]).await, None).await.unwrap();
    // A packet in frames of one byte, empty ones and pings among them.
    for byte in CONNECT {
        frames.send(Message::binary(vec![*byte])).await.unwrap();
        frames.send(Message::binary(Vec::new())).await.unwrap();
    }
    assert_eq!(heard(&mut frames, CONNACK.len()).await, CONNACK);
    // Several packets in one frame, and half of the next.
    let said = [PINGREQ, PINGREQ, &PINGREQ[..1]].concat();
    assert_eq!(through(&mut frames, &said, 4).await, [PINGRESP, PINGRESP].concat());
    assert_eq!(through(&mut frames, &PINGREQ[1..], 2).await, PINGRESP);
    frames.send(Message::Ping("are you there".into())).await.unwrap();
    let pong = timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    frames.close(None).await.unwrap();
    assert!(matches!(timeout(PATIENCE, frames.next()).await.unwrap(), Some(Ok(Message::Close(_))) | None));
    site.until("gone", |broker| broker.stats().clients == 0).await;
}

#[tokio::test]
async fn a_message_in_fragments_is_put_together() {
    let site = site().await;
    let mut stream = tcp(site.addresses[0]).await;
    drop(websocket(&mut stream, None).await.unwrap());
    // A masked binary frame without FIN, and its continuation; the mask is zero.
    let (one, two) = CONNECT.split_at(5);
    let mut said = vec![0x02, 0x80 | 5, 0, 0, 0, 0];
    said.extend(one);
    said.extend([0x80, 0x80 | u8::try_from(two.len()).unwrap(), 0, 0, 0, 0]);
    said.extend(two);
    stream.write_all(&said).await.unwrap();
    let mut heard = [0; 6];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, [&[0x82, 4], CONNACK].concat()[..]);
}

#[tokio::test]
async fn a_large_message_comes_through_in_one_frame() {
    let site = site().await;
    let mut frames = websocket(tcp(site.addresses[0]).await, None).await.unwrap();
    assert_eq!(through(&mut frames, CONNECT, 4).await, CONNACK);
    assert_eq!(through(&mut frames, b"\x82\x06\x00\x01\x00\x01t\x00", 5).await, b"\x90\x03\x00\x01\x00");
    // The largest packet that the broker takes: a MiB.
    let length = (1 << 20) - 4;
    let mut publish = vec![0x30, 0xfc, 0xff, 0x3f, 0, 1, b't'];
    publish.resize(length + 4, 7);
    let heard = through(&mut frames, &publish, publish.len()).await;
    assert!(heard == publish, "the message came back as it was");
}

#[tokio::test]
async fn a_text_frame_ends_the_connection() {
    let site = site().await;
    for early in [true, false] {
        let mut frames = websocket(tcp(site.addresses[0]).await, None).await.unwrap();
        if !early {
            assert_eq!(through(&mut frames, CONNECT, 4).await, CONNACK);
        }
        frames.send(Message::text("\u{10}")).await.unwrap();
        let end = timeout(PATIENCE, async { while let Some(Ok(_)) = frames.next().await {} }).await;
        assert!(end.is_ok(), "the connection is closed");
    }
    site.until("gone", |broker| broker.stats().clients == 0).await;
}

#[tokio::test]
async fn what_is_no_websocket_for_mqtt_gets_an_answer_that_says_so() {
    const KEY: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let site = site().await;
    let cookies = format!("Cookie: {}\r\n", "x".repeat(20_000));
    let mut count = 0;
    for (request, status, words) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426", "no WebSocket"),
        ("POST /mqtt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), "400", "only GET"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}\r\n"), "400", "Sec-WebSocket-Protocol: mqtt"),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}Sec-WebSocket-Protocol: chat, mqttx\r\n\r\n"),
            "400",
            "Sec-WebSocket-Protocol: mqtt",
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}{cookies}\r\n"), "431", "more than 16384 bytes"),
        ("GET nonsense\r\n\r\n".to_owned(), "400", "not right"),
        ("\u{10}\u{c}\0\u{4}MQTT".to_owned(), "400", "does not speak HTTP"),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n{KEY}Sec-WebSocket-Protocol: mqtt\r\n\r\n"
            ),
            "403",
            "only pages of this machine",
        ),
    ] {
        let mut stream = tcp(site.addresses[0]).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request:.60}: {answer}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{head}");
        assert!(text.contains("MQTT through a WebSocket") && text.contains(words), "{text}");
        count += 1;
        site.refused(count).await;
    }
}

#[tokio::test]
async fn a_page_of_somebody_else_cannot_use_a_broker_that_asks_nobody_for_a_password() {
    let authority = Authority::new("house");
    let kinds = [(None, true), (Some(authority.strict_server()), true)];
    let site = Site::new(Limits::default(), &kinds).await;
    let own = authority.client(&client("browser", 2090));
    let config = authority.believer(Some(&own));
    for (origin, plain, strict) in [
        (None, true, true),
        (Some("http://localhost:1880"), true, true),
        (Some("http://127.0.0.1"), true, true),
        (Some("https://localhost"), true, true),
        (Some("https://evil.example"), false, false),
        (Some("http://192.168.1.7"), false, false),
        (Some("null"), false, false),
    ] {
        let came = websocket(tcp(site.addresses[0]).await, origin).await;
        assert_eq!(came.is_ok(), plain, "{origin:?}");
        let stream = tls(site.addresses[1], &config).await.unwrap();
        match websocket(stream, origin).await {
            Ok(mut frames) => {
                assert!(strict, "{origin:?}");
                assert_eq!(through(&mut frames, CONNECT, 4).await, CONNACK);
            }
            Err(Error::Http(answer)) => assert!(!strict && answer.status() == 403, "{origin:?}"),
            Err(other) => panic!("{other}"),
        }
    }
}
