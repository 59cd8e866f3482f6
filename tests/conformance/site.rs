//! A broker for one test, and the clients that talk to it over TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serialgate::broker::{Broker, Limits, NoIntake};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::heard::{Heard, Message, Properties, length, parse};
use super::packet::*;

/// Set to test the program as people run it, instead of the broker in this process.
pub(crate) const PROGRAM: &str = "CONFORMANCE_PROGRAM";

/// Where the gateway's own topics begin: its status is there before any test has said a word.
const GATEWAY: &str = "serialgate/";

/// Longer than anything takes that is going to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The address at which the program listens, by its log.
fn listens_at(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening address=")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// Whether the tests run against the program.
fn is_program() -> bool {
    std::env::var_os(PROGRAM).is_some()
}

/// Waits for time itself to pass: for an expiry, a delay, a keep-alive.
#[expect(clippy::disallowed_methods, reason = "these tests have no runtime")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// A broker of its own for one test.
pub(crate) struct Site {
    address: SocketAddr,
    _running: Running,
}

enum Running {
    Here { _stop: DropGuard, _thread: JoinHandle<()> },
    Program { child: Child, _files: TempDir },
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Program { child, .. } = self {
            // It may have ended by itself; the test has failed then already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        if is_program() { Self::program() } else { Self::with(Limits::default()) }
    }

    /// A broker in this process, with these limits.
    pub(crate) fn with(limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                Broker::new(limits, NoIntake).serve(vec![listener.into()], token).await;
            });
        });
        Self { address, _running: Running::Here { _stop: stop.drop_guard(), _thread: thread } }
    }

    fn program() -> Self {
        // In memory: what is sent in a session that lasts may wait for the disk, and the tests do not.
        let files = tempfile::tempdir_in("/dev/shm").unwrap();
        let config = format!(
            "gateway: test\nqueue: {{path: {dir}/queue.db, durability: always}}\ncontrol: {{socket: {dir}/control.sock}}\n\
             broker: {{listen: [\"127.0.0.1:0\"]}}\n",
            dir = files.path().display()
        );
        let (file, log) = (files.path().join("serialgate.yaml"), files.path().join("log"));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_serialgate"));
        command.arg("run").arg("--config").arg(file).env("RUST_LOG", "info");
        let stderr = std::fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let start = Instant::now();
        // Its own choice of a port: one that is chosen before may be somebody else's by then.
        let address = loop {
            if let Some(address) = listens_at(&std::fs::read_to_string(&log).unwrap()) {
                break address;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not listen");
            pause(Duration::from_millis(10));
        };
        Self { address, _running: Running::Program { child, _files: files } }
    }

    /// A connection on which nothing was said.
    pub(crate) fn dial(&self, version: u8) -> Peer {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer { stream, version, input: Vec::new(), last_id: 0 }
    }

    /// Says CONNECT and hears the answer.
    pub(crate) fn try_connect(&self, connect: &Connect) -> (Peer, Answer) {
        let mut peer = self.dial(connect.version);
        peer.send(&connect.bytes());
        match peer.hear() {
            Heard::ConnAck { present, code, properties } => (peer, Answer { present, code, properties }),
            other => panic!("{other:?}"),
        }
    }

    /// A client that was accepted.
    pub(crate) fn connect(&self, connect: &Connect) -> Peer {
        let (peer, answer) = self.try_connect(connect);
        assert_eq!(answer.code, 0, "{answer:?}");
        peer
    }

    /// A client with a clean session.
    pub(crate) fn client(&self, version: u8, id: &str) -> Peer {
        self.connect(&Connect::new(version, id))
    }

    /// One that subscribed to `filter` with these options.
    pub(crate) fn subscriber(&self, version: u8, id: &str, filter: &str, options: u8) -> Peer {
        let mut peer = self.client(version, id);
        peer.subscribe(filter, options);
        peer
    }

    /// One that is gone, as by a cut cable, after it had subscribed in a session that lasts.
    pub(crate) fn absent(&self, version: u8, id: &str, filter: &str, options: u8) {
        let mut peer = self.connect(&Connect::lasting(version, id));
        peer.subscribe(filter, options);
        peer.leave();
    }
}

/// A CONNACK.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) present: bool,
    pub(crate) code: u8,
    pub(crate) properties: Properties,
}

/// How the broker ended a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Without a word, or over 3.1.1, which has none.
    Silently,
    /// With this code, and perhaps these words.
    Saying(u8, Option<String>),
}

impl Ended {
    /// Over 5.0 it said `code`; over 3.1.1 nothing.
    #[track_caller]
    pub(crate) fn expect(&self, version: u8, code: u8) {
        match self {
            Self::Saying(said, _) => assert_eq!((*said, version), (code, V5), "{self:x?}"),
            Self::Silently => assert_eq!(version, V3, "closed without a word instead of {code:#x}"),
        }
    }
}

/// The client's end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    pub(crate) version: u8,
    input: Vec<u8>,
    last_id: u16,
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The broker may have closed already; what it does is seen in what it says.
        let _ = self.stream.write_all(bytes);
    }

    /// Says its last word: it will send nothing more, and still listens.
    pub(crate) fn send_and_close(&mut self, bytes: &[u8]) {
        self.send(bytes);
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// A packet id that was not used yet.
    pub(crate) fn next_id(&mut self) -> u16 {
        self.last_id += 1;
        self.last_id
    }

    /// The next packet; `None` when the broker has closed.
    #[track_caller]
    pub(crate) fn hear_or_end(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = length(&self.input) {
                let bytes: Vec<u8> = self.input.drain(..end).collect();
                match parse(self.version, &bytes) {
                    Heard::Publish(message) if message.topic.starts_with(GATEWAY) => continue,
                    heard => return Some(heard),
                }
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    assert!(self.input.is_empty(), "half a packet: {:x?}", self.input);
                    return None;
                }
                Ok(count) => self.input.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn hear(&mut self) -> Heard {
        self.hear_or_end().expect("the broker has not closed")
    }

    #[track_caller]
    pub(crate) fn hear_publish(&mut self) -> Message {
        match self.hear() {
            Heard::Publish(message) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Hears that the broker closes, and what it says before.
    #[track_caller]
    pub(crate) fn hear_end(&mut self) -> Ended {
        match self.hear_or_end() {
            None => Ended::Silently,
            Some(Heard::Disconnect { code, properties }) => {
                assert_eq!(self.hear_or_end(), None, "nothing follows a DISCONNECT");
                Ended::Saying(code, properties.text(REASON_STRING).map(str::to_owned))
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    /// Everything that has come or is on its way: what was published and acknowledged before is among
    /// it. Two pings, because what waits in the broker follows the first answer.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        // The program has a thread that commits, which may need its time.
        let (rounds, between) =
            if is_program() { (4, Duration::from_millis(25)) } else { (2, Duration::ZERO) };
        for _ in 0..rounds {
            pause(between);
            self.send(&PINGREQ);
            loop {
                match self.hear() {
                    Heard::PingResp => break,
                    other => heard.push(other),
                }
            }
        }
        heard
    }

    /// All messages that have come, acknowledged to the end.
    #[track_caller]
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let heard = self.rest();
            if heard.is_empty() {
                return messages;
            }
            for heard in heard {
                match heard {
                    Heard::Publish(message) => {
                        match message.qos {
                            1 => self.send(&ack(PUBACK, message.id)),
                            2 => self.send(&ack(PUBREC, message.id)),
                            _ => {}
                        }
                        messages.push(message);
                    }
                    Heard::Ack { first: PUBREL, id, .. } => self.send(&ack(PUBCOMP, id)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// The payloads of all messages that have come.
    #[track_caller]
    pub(crate) fn payloads(&mut self) -> Vec<String> {
        self.messages().into_iter().map(|message| message.payload).collect()
    }

    /// The reason code for a filter of its own.
    #[track_caller]
    pub(crate) fn try_subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_all(&[], &[(filter, options)])[0]
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, options: u8) {
        let code = self.try_subscribe(filter, options);
        assert_eq!(code, options & 3, "{filter}");
    }

    #[track_caller]
    pub(crate) fn subscribe_all(&mut self, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        let sent = self.next_id();
        let filters: Vec<_> = filters.iter().map(|(filter, options)| (filter.as_bytes(), *options)).collect();
        self.send(&subscribe(self.version, sent, properties, &filters));
        match self.hear() {
            Heard::SubAck { id, codes } if id == sent && codes.len() == filters.len() => codes,
            other => panic!("{other:?}"),
        }
    }

    /// Reason codes; over 3.1.1 there are none.
    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let sent = self.next_id();
        let filters: Vec<_> = filters.iter().map(|filter| filter.as_bytes()).collect();
        self.send(&unsubscribe(self.version, sent, &[], &filters));
        match self.hear() {
            Heard::UnsubAck { id, codes } if id == sent => codes,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes and hears the acknowledgements to the end. The code of the first one.
    #[track_caller]
    pub(crate) fn publish(&mut self, publish: &Publish) -> u8 {
        let sent = Publish { id: self.next_id(), ..publish.clone() };
        self.send(&sent.bytes());
        let answer = match publish.qos {
            0 => return 0,
            1 => PUBACK,
            _ => PUBREC,
        };
        let code = self.hear_ack(answer, sent.id);
        if answer == PUBREC && code < 0x80 {
            self.send(&ack(PUBREL, sent.id));
            assert_eq!(self.hear_ack(PUBCOMP, sent.id), 0);
        }
        code
    }

    /// The same in short.
    #[track_caller]
    pub(crate) fn say(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish(&Publish::new(self.version, topic, payload, qos));
        if qos == 0 {
            self.settle();
        }
    }

    #[track_caller]
    pub(crate) fn hear_ack(&mut self, first: u8, id: u16) -> u8 {
        match self.hear() {
            Heard::Ack { first: heard, id: of, code } if (heard, of) == (first, id) => code,
            other => panic!("{first:#x} for {id} expected, not {other:?}"),
        }
    }

    /// Makes sure that the broker has dealt with everything said so far, and said nothing to it.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        self.send(&PINGREQ);
        assert_eq!(self.hear(), Heard::PingResp);
    }

    /// Goes with DISCONNECT.
    #[track_caller]
    pub(crate) fn disconnect(mut self) {
        self.send(&disconnect(self.version, 0, &[]));
        while self.hear_or_end().is_some() {}
    }

    /// Goes without a word, and waits until the broker knows.
    pub(crate) fn leave(mut self) {
        // The broker closes too, once it has seen this.
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.hear_or_end().is_some() {}
    }
}
