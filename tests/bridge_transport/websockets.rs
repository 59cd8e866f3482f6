//! MQTT in the frames of a WebSocket.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serialgate::config::{Scheme, Tls};
use serialgate::transport::{ByteStream, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::cloud::{Gateway, Mosquitto, bridge_to, cuttable, free_address, subscribe, survives_cuts};
use crate::papers::{Authority, endpoint, listener};
use crate::tls::answering;
use crate::{fails, secured, visit};

#[tokio::test]
async fn readings_arrive_over_websockets_through_cuts() {
    let authority = Authority::new("Farm CA");
    let (plain, secure) = (free_address(), free_address());
    let tls = format!("protocol websockets\n{}", listener(&authority.issue("server")));
    let mosquitto = Mosquitto::start_with(&[(plain, "protocol websockets\n"), (secure, &tls)]).await;
    assert_eq!(secured(endpoint(Scheme::Wss, secure, authority.trust())).await.chain[0].issuer, "CN=Farm CA");
    for (scheme, address) in [(Scheme::Ws, plain), (Scheme::Wss, secure)] {
        let seen = subscribe(mosquitto.address).await;
        let (address, cut) = cuttable(address).await;
        let gateway = Gateway::start(bridge_to(endpoint(scheme, address, authority.trust())));
        survives_cuts(&gateway, &seen, &cut, 2, 1000).await;
        gateway.stop.send(()).unwrap();
        gateway.task.await.unwrap();
    }
}

/// How a server of ours treats the frames of a client.
#[derive(Clone, Copy)]
enum Manner {
    /// Byte by byte, with a ping before each; it goes on only with the answer.
    Slices,
    /// With texts.
    Texts,
    /// As a stream of bytes on the server's side.
    Stream,
}

/// A WebSocket server in front of `broker`, at `/mqtt?token=x` only.
async fn server(broker: SocketAddr, manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let Ok(frames) = accept_hdr_async_with_config(near, answer, Some(limits())).await else {
                continue;
            };
            let far = TcpStream::connect(broker).await.unwrap();
            match manner {
                Manner::Stream => {
                    let (mut near, mut far) = (ByteStream::new(frames), far);
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
                Manner::Slices => slices(frames, far).await,
                Manner::Texts => {
                    let mut frames = frames;
                    let _ = frames.next().await;
                    let _ = frames.send(Message::text("hello")).await;
                }
            }
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "the crate's signature")]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let path = request.uri().path_and_query().unwrap().as_str();
    if path == "/mqtt?token=x" {
        let protocol = request.headers().get("sec-websocket-protocol").unwrap().clone();
        response.headers_mut().insert("sec-websocket-protocol", protocol);
    } else if path != "/other" {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = if path.starts_with("/locked") { 403 } else { 404 }.try_into().unwrap();
        return Err(refusal);
    }
    Ok(response)
}

async fn slices(mut frames: WebSocketStream<TcpStream>, mut far: TcpStream) {
    let mut byte = [0];
    loop {
        tokio::select! {
            frame = frames.next() => match frame {
                Some(Ok(Message::Binary(bytes))) => far.write_all(&bytes).await.unwrap(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            read = far.read(&mut byte) => {
                if !matches!(read, Ok(1)) {
                    return;
                }
                frames.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
                loop {
                    match frames.next().await {
                        Some(Ok(Message::Pong(answer))) if &answer[..] == b"there?" => break,
                        Some(Ok(Message::Binary(bytes))) => far.write_all(&bytes).await.unwrap(),
                        _ => return,
                    }
                }
                // MQTT may be split anywhere, and a frame may be empty.
                frames.send(Message::Binary(Bytes::new())).await.unwrap();
                frames.send(Message::Binary(Bytes::copy_from_slice(&byte))).await.unwrap();
            }
        }
    }
}

fn at(address: SocketAddr, path: &str) -> serialgate::config::Endpoint {
    let mut endpoint = endpoint(Scheme::Ws, address, Tls::default());
    endpoint.url.path = path.into();
    endpoint
}

#[tokio::test]
async fn frames_may_be_split_anywhere_and_pings_are_answered() {
    let mosquitto = Mosquitto::start().await;
    for manner in [Manner::Slices, Manner::Stream] {
        let address = server(mosquitto.address, manner).await;
        visit(at(address, "/mqtt?token=x")).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_no_mqtt_websocket_is_told_apart() {
    let mosquitto = Mosquitto::start().await;
    let address = server(mosquitto.address, Manner::Texts).await;
    fails(at(address, "/nowhere"), "websocket", &["HTTP 404 Not Found", "nothing at the path /nowhere"])
        .await;
    fails(at(address, "/locked?x=secret"), "websocket", &["HTTP 403", "does not let us in"]).await;
    fails(at(address, "/other"), "websocket", &["not one for MQTT"]).await;
    fails(at(address, "/mqtt?token=x"), "mqtt", &["text came through the WebSocket"]).await;
    fails(at(mosquitto.address, "/mqtt"), "websocket", &["does it speak HTTP on this port"]).await;
    let error = visit(at(address, "/x?token=secret")).await.unwrap_err();
    assert!(!error.reason.contains("secret"), "{}", error.reason);
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_upgrade_is_given_up() {
    fails(at(answering(b"").await, "/mqtt"), "websocket", &["no answer within 10s"]).await;
}
