//! As much of MQTT 3.1.1 as the load needs. It must cost less than the brokers do.

use std::net::Ipv4Addr;

use anyhow::{bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

/// A packet that a broker sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Type and flags.
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
}

impl Frame<'_> {
    /// The packet id of a PUBLISH with QoS 1.
    pub(crate) fn publish_id(&self) -> Option<[u8; 2]> {
        let [high, low, rest @ ..] = self.body else { return None };
        let topic = usize::from(u16::from_be_bytes([*high, *low]));
        rest.get(topic..topic + 2)?.try_into().ok()
    }
}

impl Client {
    /// Connects with a clean session.
    pub(crate) async fn connect(port: u16, client_id: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, input: Vec::with_capacity(1 << 16) };
        let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
        put_text(&mut body, client_id);
        client.stream.write_all(&packet(0x10, &body)).await?;
        client.wait_for(0x20).await?;
        Ok(client)
    }

    /// Subscribes to one filter.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> anyhow::Result<()> {
        self.ask(filter, qos).await?;
        self.wait_for(0x90).await
    }

    /// The same, without waiting for the answer.
    pub(crate) async fn ask(&mut self, filter: &str, qos: u8) -> anyhow::Result<()> {
        let mut body = vec![0, 1];
        put_text(&mut body, filter);
        body.push(qos);
        Ok(self.stream.write_all(&packet(0x82, &body)).await?)
    }

    /// Makes sure that the broker has dealt with everything said so far.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(b"\xc0\x00").await?;
        self.wait_for(0xd0).await
    }

    async fn wait_for(&mut self, first: u8) -> anyhow::Result<()> {
        let mut found = false;
        while !found {
            self.read(|frame| found |= frame.first == first).await?;
        }
        Ok(())
    }

    /// Reads once, and shows `visit` all packets that are complete.
    pub(crate) async fn read(&mut self, mut visit: impl FnMut(Frame<'_>)) -> anyhow::Result<()> {
        self.input.reserve(1 << 14);
        ensure!(self.stream.read_buf(&mut self.input).await? > 0, "the broker has closed");
        let mut rest = &self.input[..];
        while let Some((frame, behind)) = split(rest)? {
            visit(frame);
            rest = behind;
        }
        let taken = self.input.len() - rest.len();
        self.input.drain(..taken);
        Ok(())
    }
}

/// The first packet, and what is behind it.
fn split(bytes: &[u8]) -> anyhow::Result<Option<(Frame<'_>, &[u8])>> {
    let [first, rest @ ..] = bytes else { return Ok(None) };
    let (mut length, mut shift) = (0, 0);
    for (index, byte) in rest.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            let body = rest.get(index + 1..).unwrap_or_default();
            let split = body.split_at_checked(length);
            return Ok(split.map(|(body, behind)| (Frame { first: *first, body }, behind)));
        }
        if shift > 21 {
            bail!("no packet");
        }
    }
    Ok(None)
}

/// A PUBLISH whose packet id is to be filled in at [`id_offset`].
pub(crate) fn publish(topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    if qos > 0 {
        body.extend([0, 0]);
    }
    body.extend(payload);
    packet(0x30 | qos << 1 | u8::from(retain), &body)
}

/// Where the packet id stands in a PUBLISH of less than 128 bytes with QoS 1.
pub(crate) fn id_offset(topic: &str) -> usize {
    2 + 2 + topic.len()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    body.extend(text.as_bytes());
}
