//! A broker that misbehaves as it was told.
//!
//! It has a script: manners for each connection, in the order in which they come. Once the script is
//! over it is a good broker. What it takes it remembers, over all connections, as a subscriber would.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use serialgate::mqtt::codec::Codec;
use serialgate::mqtt::packet::{Ack, ConnAck, Disconnect, Packet, PacketId, Publish, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::manners::{Acks, How, Manners, Pings, Voice};
use crate::support::log::{Arrived, Message};

/// Nothing new for this long: the bridge waits for an answer.
const QUIET: Duration = Duration::from_millis(250);
/// Longer than anything here.
const FOREVER: Duration = Duration::from_secs(3600);

/// What it has seen.
#[derive(Debug, Default)]
struct Seen {
    script: VecDeque<Manners>,
    /// How long the script was.
    planned: usize,
    connections: usize,
    messages: Vec<Message>,
    /// What the bridge did wrong.
    complaints: Vec<String>,
    /// Most messages without an answer, per connection.
    most_in_flight: Vec<usize>,
}

/// The broker. Ends when dropped.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start(script: impl IntoIterator<Item = Manners>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: VecDeque<_> = script.into_iter().collect();
        let planned = script.len();
        let seen = Arc::new(Mutex::new(Seen { script, planned, ..Seen::default() }));
        let into = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Link::accepted(stream, Arc::clone(&into)));
            }
        });
        Self { address, seen, task }
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Whether every entry of the script had its turn, and is over.
    pub(crate) fn is_good_again(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.connections > seen.planned
    }

    /// The readings that it took, in order.
    pub(crate) fn readings(&self) -> Vec<Arrived> {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.complaints, Vec::<String>::new(), "the bridge is at fault");
        seen.messages.iter().filter(|message| is_reading(&message.topic)).map(Message::reading).collect()
    }

    /// How many messages waited for an answer at most, on each connection.
    pub(crate) fn most_in_flight(&self) -> Vec<usize> {
        self.seen.lock().unwrap().most_in_flight.clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_reading(topic: &str) -> bool {
    topic.ends_with("/data")
}

/// One connection.
struct Link {
    number: usize,
    manners: Manners,
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
    seen: Arc<Mutex<Seen>>,
    /// Answers, and when they are due.
    due: VecDeque<(Instant, Ack)>,
    /// By topic, the first message that was refused for now.
    refused: BTreeMap<Arc<str>, Option<String>>,
    /// Answers that are held back until there are enough.
    held: Vec<Ack>,
    /// Messages (and what else is answered) and readings so far.
    messages: usize,
    readings: usize,
    answered: usize,
    /// Something was taken that it will not acknowledge.
    withholds: bool,
    quiet_since: Instant,
}

impl Link {
    async fn accepted(stream: TcpStream, seen: Arc<Mutex<Seen>>) {
        let (number, manners) = {
            let mut seen = seen.lock().unwrap();
            seen.connections += 1;
            seen.most_in_flight.push(0);
            (seen.connections - 1, seen.script.pop_front().unwrap_or_default())
        };
        let link = Self {
            number,
            manners,
            stream,
            codec: Codec::server(1 << 24),
            input: BytesMut::new(),
            seen,
            due: VecDeque::new(),
            refused: BTreeMap::new(),
            held: Vec::new(),
            messages: 0,
            readings: 0,
            answered: 0,
            withholds: false,
            quiet_since: Instant::now(),
        };
        // Whatever ends it, the script says what comes next.
        let _ = link.serve().await;
    }

    async fn serve(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let Some(Packet::Connect(_)) = self.next().await? else { return Ok(()) };
        let answer = self.manners.answer.clone();
        let refused = answer.reason.is_failure();
        self.say(&Packet::ConnAck(Box::new(answer))).await?;
        if refused {
            return Ok(());
        }
        if let Voice::SlowWelcome(_) = self.manners.voice {
            self.manners.voice = Voice::Plain;
        }
        loop {
            let due = self.due.front().map(|(due, _)| *due);
            let quiet = self.quiet_since + QUIET;
            tokio::select! {
                // It is quiet only where nothing is there to be read.
                biased;
                packet = self.next() => match packet? {
                    None | Some(Packet::Disconnect(_)) => return Ok(()),
                    Some(Packet::Publish(publish)) => {
                        if let Some(how) = self.taken(&publish) {
                            self.answer_due(true).await?;
                            return self.end(&how).await;
                        }
                    }
                    Some(Packet::PingReq) => match self.manners.pings {
                        Pings::Answered => self.say(&Packet::PingResp).await?,
                        Pings::Ignored => {}
                    },
                    Some(other) => self.complain(&format!("{other:?}")),
                },
                () = sleep_until(due.unwrap_or_else(|| Instant::now() + FOREVER)), if due.is_some() => {}
                () = sleep_until(quiet), if !self.held.is_empty() => self.release(),
                // A bridge that sends one message at a time waits for the answer to that.
                () = sleep_until(quiet), if self.withholds => {
                    if let Some(end) = self.manners.end.take() {
                        return self.end(&end.how).await;
                    }
                }
            }
            self.answer_due(false).await?;
        }
    }

    /// Takes a message, or gives the end of the connection instead.
    fn taken(&mut self, publish: &Publish) -> Option<How> {
        self.quiet_since = Instant::now();
        let id = publish.id?;
        let reading = is_reading(&publish.topic);
        if let (true, Some(end)) = (reading, &self.manners.end)
            && self.readings == end.after
        {
            return Some(end.how.clone());
        }
        let reason = self.verdict(publish);
        self.messages += 1;
        self.readings += usize::from(reading);
        if !reason.is_failure() {
            self.remember(publish);
        }
        let mut seen = self.seen.lock().unwrap();
        let most = &mut seen.most_in_flight[self.number];
        *most = (*most).max(self.messages - self.answered);
        drop(seen);
        self.withholds =
            self.manners.end.as_ref().is_some_and(|end| self.readings + end.unacknowledged > end.after);
        if !self.withholds {
            self.schedule(Ack { id, reason });
        }
        None
    }

    fn verdict(&mut self, publish: &Publish) -> Reason {
        match &mut self.manners.acks {
            Acks::NotNow(reason, times) => {
                // Its id, or nothing for what has none.
                let name = publish.properties.user.first().map(|(_, id)| id.to_string());
                let first = self.refused.get(&publish.topic);
                if *times == 0 && first.is_none_or(|first| *first == name) {
                    self.refused.remove(&publish.topic);
                    return Reason::SUCCESS;
                }
                *times = times.saturating_sub(1);
                self.refused.entry(Arc::clone(&publish.topic)).or_insert(name);
                *reason
            }
            Acks::Refuse(end, reason) if publish.topic.ends_with(end.as_str()) => *reason,
            _ => Reason::SUCCESS,
        }
    }

    fn remember(&self, publish: &Publish) {
        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
        let message =
            Message { at: 0.0, topic: publish.topic.to_string(), retained: publish.retain, payload };
        self.seen.lock().unwrap().messages.push(message);
    }

    fn schedule(&mut self, ack: Ack) {
        let now = Instant::now();
        match &mut self.manners.acks {
            Acks::AllBut(number) if *number + 1 == self.messages => {}
            Acks::Late { first, more } => {
                self.due.push_back((now + *first, ack));
                *first += *more;
            }
            Acks::Reversed(count) => {
                self.held.push(ack);
                if self.held.len() == *count {
                    self.release();
                }
            }
            Acks::Strangers => {
                let stranger = PacketId::new(ack.id.get() ^ 0x8000).unwrap_or(PacketId::MAX);
                self.due.extend([stranger, ack.id].map(|id| (now, Ack { id, ..ack })));
                self.messages += 1;
            }
            _ => self.due.push_back((now, ack)),
        }
    }

    fn release(&mut self) {
        let now = Instant::now();
        self.due.extend(self.held.drain(..).rev().map(|ack| (now, ack)));
    }

    /// Says what is due, or all of it.
    async fn answer_due(&mut self, all: bool) -> io::Result<()> {
        let mut output = BytesMut::new();
        while let Some((due, ack)) = self.due.front().copied()
            && (all || due <= Instant::now())
        {
            self.due.pop_front();
            self.answered += 1;
            self.codec.encode(&Packet::PubAck(ack), &mut output).unwrap();
        }
        self.write(&output).await
    }

    async fn end(&mut self, how: &How) -> io::Result<()> {
        match how {
            How::Close => {
                self.stream.shutdown().await?;
                self.until_closed().await;
            }
            How::Reset => self.stream.set_zero_linger()?,
            How::ResetInPacket => {
                self.write(&[0x40, 0x02]).await?;
                self.stream.set_zero_linger()?;
            }
            How::Disconnect(reason) => {
                self.say(&Packet::Disconnect(Disconnect::new(*reason))).await?;
                self.until_closed().await;
            }
            How::Say(bytes) => {
                self.write(bytes).await?;
                self.until_closed().await;
            }
            How::Welcome => {
                let again = ConnAck::new(Reason::SUCCESS, false);
                self.say(&Packet::ConnAck(Box::new(again))).await?;
                self.until_closed().await;
            }
            How::Freeze(time) => sleep(*time).await,
        }
        Ok(())
    }

    /// Reads on: unread bytes would turn the close into an RST that overtakes what we said.
    async fn until_closed(&mut self) {
        let mut rest = [0; 4096];
        while self.stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }

    /// The next packet; `None` when the bridge has closed. Cancel safe.
    async fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            match self.codec.decode(&mut self.input) {
                Ok(None) => {}
                Ok(packet) => return Ok(packet),
                Err(error) => {
                    self.complain(&error);
                    return Ok(None);
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The bridge said what no bridge says.
    fn complain(&self, what: &dyn Display) {
        self.seen.lock().unwrap().complaints.push(what.to_string());
    }

    async fn say(&mut self, packet: &Packet) -> io::Result<()> {
        let mut output = BytesMut::new();
        self.codec.encode(packet, &mut output).unwrap();
        self.write(&output).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.manners.voice {
            Voice::Plain => self.stream.write_all(bytes).await,
            Voice::Bytes(rest) | Voice::SlowWelcome(rest) => {
                for byte in bytes {
                    self.stream.write_all(&[*byte]).await?;
                    sleep(rest).await;
                }
                Ok(())
            }
        }
    }
}
