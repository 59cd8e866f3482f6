//! Wire v1 through a real port and a real queue.

use std::collections::VecDeque;
use std::time::Duration;

use serialgate::config;
use serialgate::reading::{Body, EventKind, GapReason, Whose};
use serialgate::status::PortState;
use serialgate::topic::Subject;
use serialgate_wire::{
    Ack, Class, Data, Decoder, Describe, Exponent, Hello, Int, ItemWriter, MAX_WIRE, Message, Value,
};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::support::{Cable, PATIENCE, Rig, number, wire};

const BOOT: u32 = 0x105;

/// What the board heard from the gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Heard {
    HelloReq,
    DescribeReq(u8),
    Ack(Ack),
}

/// A board that says what the test wants.
struct Board {
    cable: Cable,
    decoder: Decoder,
    heard: VecDeque<Heard>,
}

impl Board {
    fn new(cable: Cable) -> Self {
        Self { cable, decoder: Decoder::new(), heard: VecDeque::new() }
    }

    async fn say(&mut self, message: Message<'_>) {
        let mut buffer = [0; MAX_WIRE];
        let frame = message.encode(BOOT as u8, &mut buffer).unwrap();
        self.cable.send(frame).await;
    }

    async fn hello(&mut self, oldest: u32, next: u32, dropped: u32) {
        self.say(Message::Hello(Hello {
            minor: 0,
            caps: 0,
            boot: BOOT,
            uptime_ms: 5_000,
            oldest,
            next,
            dropped,
            rxmax: 64,
            channels: 1,
            schema_crc: 1,
            uid: &[0xAB, 0xCD, 0xEF, 0x01],
            firmware: "greenhouse 1.0",
        }))
        .await;
    }

    async fn describe(&mut self) {
        self.say(Message::Describe(Describe {
            seq: 1,
            channel: 0,
            fmt: 0x40,
            class: Class::Counter,
            writable: false,
            unit: "1",
            name: "n",
            more: &[],
        }))
        .await;
    }

    async fn data(&mut self, seq: u16, oldest: bool) {
        self.sampled(seq, oldest, 4_000).await;
    }

    /// The same with the board's time of it; HELLO says that it is 5 s there.
    async fn sampled(&mut self, seq: u16, oldest: bool, t_ms: u32) {
        let mut room = [0; 16];
        let mut items = ItemWriter::new(&mut room);
        items.push(0, Value::decimal(Int::I32(seq.into()), Exponent::ZERO)).unwrap();
        let data = Data { seq, oldest, no_ack: false, t_ms, items: items.finish() };
        self.say(Message::Data(data)).await;
    }

    async fn hear(&mut self) -> Heard {
        let mut buffer = [0; 512];
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let read = timeout(PATIENCE, self.cable.master.read(&mut buffer)).await.expect("an answer");
            for &byte in &buffer[..read.unwrap()] {
                let Some(frame) = self.decoder.feed(byte) else { continue };
                self.heard.push_back(match Message::parse(&frame.unwrap()).unwrap() {
                    Message::HelloReq => Heard::HelloReq,
                    Message::DescribeReq(request) => Heard::DescribeReq(request.channel),
                    Message::Ack(ack) => Heard::Ack(ack),
                    other => panic!("{other:?}"),
                });
            }
        }
    }

    /// Greets the gateway, which does not know our channels yet.
    async fn greet(&mut self) {
        assert_eq!(self.hear().await, Heard::HelloReq);
        self.hello(0, 0, 0).await;
        assert_eq!(self.hear().await, Heard::DescribeReq(0));
        self.describe().await;
        assert_eq!(self.hear().await, nak(0));
    }
}

fn ack(next: u16) -> Heard {
    Heard::Ack(Ack { next, rewind: false })
}

fn nak(next: u16) -> Heard {
    Heard::Ack(Ack { next, rewind: true })
}

#[tokio::test]
async fn a_board_introduces_itself_and_is_acknowledged_when_its_readings_are_on_disk() {
    let mut rig = Rig::committing_within(Duration::from_secs(2));
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.cable.send(b"ets Jul 29 2019\r\n\xffnoise\0").await;
    board.greet().await;
    for seq in 0..3 {
        board.data(seq, seq == 0).await;
    }
    for seq in 0..3 {
        let reading = rig.next_reading().await;
        assert_eq!((reading.seq, number(&reading)), (seq, i64::try_from(seq).unwrap()));
        assert_eq!(reading.id.to_string(), format!("abcdef01-105/{seq}"));
        assert_eq!(&*reading.values[0].0, "n");
    }
    assert_eq!(rig.queue.status().commits, 0, "no bridge has taken them, and no commit was due yet");
    let first = board.hear().await;
    assert!(rig.queue.status().commits >= 1, "{first:?} came after the commit");
    // One ACK for all, if all were known to be safe when the first one was.
    let mut last = first;
    while last != ack(3) {
        assert!([ack(1), ack(2)].contains(&last), "{last:?}");
        last = board.hear().await;
    }
    let device = "greenhouse-ef01";
    assert_eq!(rig.post(&Subject::Status(device.into())).as_deref(), Some("online"));
    let meta = rig.post(&Subject::Meta(device.into())).unwrap();
    for part in [
        r#""firmware":"greenhouse 1.0""#,
        r#""uid":"abcdef01""#,
        r#""name":"n","unit":"1","class":"counter""#,
    ] {
        assert!(meta.contains(part), "{meta}");
    }
    let status = rig.status();
    assert_eq!((status.frames, status.bad_check, &status.device[..]), (5, 0, &[device.to_owned()][..]));
    rig.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_by_the_cloud_needs_no_disk() {
    let mut rig = Rig::committing_within(Duration::from_secs(60));
    let outlet = rig.queue.outlet(0);
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.greet().await;
    board.data(0, true).await;
    rig.next_reading().await;
    for taken in outlet.take(100) {
        outlet.done(taken.position);
    }
    assert_eq!(board.hear().await, ack(1));
    assert_eq!(rig.queue.status().commits, 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_reading_that_waited_on_its_board_goes_out_as_late() {
    let mut rig = Rig::committing_within(Duration::from_secs(60));
    let outlet = rig.queue.outlet(0);
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.greet().await;
    // Sampled a minute ago, by a clock that has wrapped since, and just now.
    board.sampled(0, true, 5_000_u32.wrapping_sub(60_000)).await;
    board.sampled(1, false, 4_900).await;
    rig.next_reading().await;
    rig.next_reading().await;
    let mut taken = outlet.take(100);
    taken.retain(|taken| matches!(*taken.body, Body::Reading(_)));
    let late: Vec<bool> = taken.iter().map(|taken| taken.late).collect();
    assert_eq!(late, [true, false]);
    rig.stop().await;
}

#[tokio::test]
async fn a_replugged_board_goes_on_where_it_was() {
    let mut rig = Rig::new();
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.greet().await;
    board.data(0, true).await;
    board.data(1, false).await;
    rig.next_reading().await;
    rig.next_reading().await;
    board.cable.unplug(&rig.link("tty"));
    rig.wait_state(PortState::Absent).await;
    assert_eq!(rig.post(&Subject::Status("greenhouse-ef01".into())).as_deref(), Some("offline"));
    let mut board = Board::new(rig.plug("tty").await);
    assert_eq!(board.hear().await, Heard::HelloReq);
    board.hello(0, 3, 0).await;
    let Heard::Ack(first) = board.hear().await else { panic!("its channels are known") };
    assert!(first.rewind && first.next <= 2, "{first:?}");
    for seq in 0..3 {
        board.data(seq, seq == 0).await;
    }
    let reading = rig.next_reading().await;
    assert_eq!(number(&reading), 2, "0 and 1 are not taken twice");
    while board.hear().await != ack(3) {}
    rig.stop().await;
}

#[tokio::test]
async fn a_board_on_another_port_is_not_told_that_readings_in_memory_are_safe() {
    let mut rig = Rig::committing_within(Duration::from_secs(60));
    let outlet = rig.queue.outlet(0);
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.greet().await;
    board.data(0, true).await;
    rig.next_reading().await;
    board.cable.unplug(&rig.link("tty"));
    rig.start("other", wire());
    let mut board = Board::new(rig.plug("other").await);
    assert_eq!(board.hear().await, Heard::HelloReq);
    board.hello(0, 1, 0).await;
    assert_eq!(board.hear().await, Heard::DescribeReq(0));
    board.describe().await;
    assert_eq!(board.hear().await, nak(0));
    board.data(1, false).await;
    assert_eq!(rig.next_reading().await.seq, 1, "0 is not taken twice");
    outlet.take(100).iter().for_each(|taken| outlet.done(taken.position));
    assert_eq!(board.hear().await, ack(2));
    rig.stop().await;
}

#[tokio::test]
async fn readings_that_the_board_dropped_are_reported_before_those_that_follow() {
    let mut rig = Rig::new();
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.greet().await;
    board.data(0, true).await;
    rig.next_reading().await;
    board.data(11, true).await;
    let EventKind::Lost(loss) = rig.next_event().await else { panic!("no gap was told") };
    let (from, to) = loss.span.unwrap();
    assert!(from <= to, "from the reading before to the moment of notice: {from:?} {to:?}");
    let of = Whose::Device { device: "greenhouse-ef01".into(), from_seq: 1, to_seq: 10 };
    assert_eq!((loss.of, loss.lost, loss.reason), (of, 10, GapReason::Device));
    assert_eq!(rig.next_reading().await.seq, 11);
    while board.hear().await != ack(12) {}
    rig.stop().await;
}

#[tokio::test]
async fn damage_is_counted_and_asked_for_again() {
    let mut rig = Rig::new();
    let mut board = Board::new(rig.start_plugged(wire()).await);
    board.greet().await;
    board.data(0, true).await;
    board.cable.send(b"\x05\x42\x01\xff\x01\x01\0").await;
    board.cable.send(&[0x41; 2_000]).await;
    board.cable.send(b"\0").await;
    board.cable.send(&[0xFE; 2_000]).await;
    board.cable.send(b"\0").await;
    board.data(2, false).await;
    loop {
        match board.hear().await {
            Heard::Ack(Ack { next, rewind: true }) => break assert!(next <= 1),
            Heard::Ack(Ack { next, .. }) => assert_eq!(next, 1),
            other => panic!("{other:?}"),
        }
    }
    let status = rig.status();
    assert_eq!((status.bad_check, status.bad_decode, status.resyncs), (2, 0, 1), "the printable one is text");
    rig.stop().await;
}

#[tokio::test]
async fn a_board_that_does_not_read_stops_nothing() {
    let mut rig = Rig::new();
    let port = config::Port { device: Some("deaf".into()), ..wire() };
    let mut board = Board::new(rig.start_plugged(port).await);
    board.greet().await;
    // Each HELLO is answered, and nobody takes the answers.
    for _ in 0..5_000 {
        board.hello(0, 0, 0).await;
    }
    board.data(0, true).await;
    let reading = rig.next_reading().await;
    assert_eq!(&*reading.device, "deaf");
    rig.stop().await;
}
