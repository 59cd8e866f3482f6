//! This crate against the C library of the boards, over random frames, damage and readings: what one
//! takes, the other takes, and both mean the same bytes by it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serialgate_wire::{
    Class, Crc32, Data, Decoder, Describe, Exponent, Frame, Hello, Int, ItemWriter, Kind, MAX_PAYLOAD,
    MAX_WIRE, Message, Value,
};

/// Longest payload that the C library's buffer takes here: its largest frame has 250 bytes before COBS.
const PAYLOAD_MAX: usize = MAX_PAYLOAD - 4;

/// xorshift64: the same run every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// Bytes of which many are zero, or few, or none.
    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let zeros = [0, 1, 128, 255][self.below(4)];
        (0..size).map(|_| if self.byte() < zeros { 0 } else { self.byte() | u8::from(zeros == 0) }).collect()
    }
}

/// Runs the library as a filter.
fn peer(mode: &str, input: &[u8]) -> Vec<u8> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peer");
        let sources = ["frame", "link", "ring", "storage", "value"].map(|name| format!("src/sg_{name}.c"));
        let built = Command::new("cc")
            .current_dir(&core)
            .args(["-std=c99", "-O1", "-DSG_RX_MAX=253", "-DSG_TX_SIZE=253", "-Isrc", "-o"])
            .arg(&program)
            .arg("test/peer.c")
            .args(sources)
            .status();
        assert!(built.expect("a C compiler, as `make setup` installs it").success());
        program
    });
    let mut child =
        Command::new(program).arg(mode).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Good frames, damaged ones, and noise.
fn line(random: &mut Random, frames: usize) -> Vec<u8> {
    let mut line = Vec::new();
    for _ in 0..frames {
        let size = match random.below(4) {
            0 => random.below(PAYLOAD_MAX + 1),
            1 => PAYLOAD_MAX - random.below(3),
            _ => random.below(24),
        };
        let frame = Frame {
            kind: Kind::new(random.byte()),
            flags: random.byte(),
            boot8: random.byte(),
            seq: u16::from_le_bytes([random.byte(), random.byte()]),
            payload: &random.bytes(size),
        };
        let mut out = [0; MAX_WIRE];
        let mut wire = frame.encode(&mut out).unwrap().to_vec();
        let at = random.below(wire.len());
        match random.below(8) {
            0 => wire[at] ^= 1 << random.below(8),
            1 => wire[at] = random.byte(),
            2 => drop(wire.remove(at)),
            3 => wire.insert(at, random.byte()),
            4 => wire.truncate(at),
            5 => wire.extend(random.bytes(at)),
            _ => {}
        }
        line.extend(wire);
    }
    line.push(0);
    line
}

#[test]
fn both_take_the_same_frames() {
    let mut random = Random(0x5EED);
    let line = line(&mut random, 60_000);
    let (mut expected, mut taken, mut rejected) = (Vec::new(), 0, 0);
    let mut decoder = Decoder::new();
    for &byte in &line {
        match decoder.feed(byte) {
            Some(Ok(frame)) if frame.payload.len() <= PAYLOAD_MAX => {
                expected.extend_from_slice(frame.encode(&mut [0; MAX_WIRE]).unwrap());
                taken += 1;
            }
            Some(_) => rejected += 1,
            None => {}
        }
    }
    assert!(taken > 20_000 && rejected > 20_000, "{taken} taken, {rejected} rejected");
    let given = peer("frames", &line);
    let differs = given.iter().zip(&expected).position(|(a, b)| a != b);
    assert!(given == expected, "{} bytes instead of {}, from {differs:?}", given.len(), expected.len());
}

/// A channel of every format that a number can have, and of every other type.
fn channels() -> Vec<(u8, Class, bool, &'static str, String)> {
    let classes = [Class::Gauge, Class::Counter, Class::State, Class::Event];
    let formats = [0x10, 0x2F, 0x38, 0x37, 0x4E, 0x50, 0x61, 0x7F, 0x80, 0x98, 0xA0, 0xB0, 0xC0, 0xD0];
    let channel = |(i, format): (usize, u8)| {
        let unit = ["Cel", "", "%RH"][i % 3];
        (format, classes[i % 4], i % 2 == 1, unit, format!("channel{i}"))
    };
    formats.into_iter().enumerate().map(channel).collect()
}

/// One item as a line for the peer, and as it is to come out.
fn item(random: &mut Random, channel: u8, format: u8, script: &mut String, items: &mut ItemWriter<'_>) {
    let bits = random.next() >> random.below(64);
    let low = i32::from_le_bytes(bits.to_le_bytes()[..4].try_into().unwrap());
    let number = if random.below(2) == 0 { low } else { low.wrapping_neg() };
    let text = "23.5 °C".get(..random.below(4)).unwrap_or_default();
    let value = match format >> 4 {
        _ if random.below(10) == 0 => Value::None(random.byte() & 0x0F),
        1 => Value::Bool(number & 1 == 1),
        2..=9 => decimal(format, number),
        0xA => Value::F32(f32::from_bits(low.cast_unsigned())),
        0xB => Value::F64(f64::from_bits(random.next())),
        0xC => Value::Text(text),
        _ => Value::Bytes(text.as_bytes()),
    };
    let hex = |bytes: &[u8]| match bytes {
        [] => "-".to_owned(),
        bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let line = match value {
        // What the channel cannot hold is said as such.
        Value::None(_) if (2..=9).contains(&(format >> 4)) && decimal(format, number) == value => {
            format!("int {channel} {number}")
        }
        Value::None(reason) => format!("none {channel} {reason}"),
        Value::Bool(value) => format!("bool {channel} {}", u8::from(value)),
        Value::Decimal { .. } => format!("int {channel} {number}"),
        Value::F32(value) => format!("raw {channel} {}", hex(&value.to_le_bytes())),
        Value::F64(value) => format!("raw {channel} {}", hex(&value.to_le_bytes())),
        Value::Text(text) => format!("raw {channel} {}", hex(text.as_bytes())),
        Value::Bytes(bytes) => format!("raw {channel} {}", hex(bytes)),
    };
    writeln!(script, "{line}").unwrap();
    items.push(channel, value).unwrap();
}

/// `number` in that format, or reason 2 of none: out of range.
fn decimal(format: u8, number: i32) -> Value<'static> {
    let int = match format >> 4 {
        2 => i8::try_from(number).ok().map(Int::I8),
        3 => i16::try_from(number).ok().map(Int::I16),
        4 => Some(Int::I32(number)),
        5 => Some(Int::I64(number.into())),
        6 => u8::try_from(number).ok().map(Int::U8),
        7 => u16::try_from(number).ok().map(Int::U16),
        8 => u32::try_from(number).ok().map(Int::U32),
        _ => u64::try_from(number).ok().map(Int::U64),
    };
    let exponent = Exponent::new((format << 4).cast_signed() >> 4).unwrap();
    int.map_or(Value::None(2), |int| Value::decimal(int, exponent))
}

/// Appends a frame of the board to `wire`.
fn append(wire: &mut Vec<u8>, message: &Message<'_>) {
    wire.extend_from_slice(message.encode(0, &mut [0; MAX_WIRE]).unwrap());
}

#[test]
fn a_board_says_what_this_crate_would_say() {
    let mut random = Random(0xB0A2D);
    let (mut script, mut expected) = (String::new(), Vec::new());
    let channels = channels();
    let mut schema = Crc32::new();
    for (number, (format, class, writable, unit, name)) in (0..).zip(&channels) {
        let describe = Describe {
            seq: u16::from(number) + 1,
            channel: number,
            fmt: *format,
            class: *class,
            writable: *writable,
            unit,
            name,
            more: &[],
        };
        schema = schema.extend(describe.payload(&mut [0; MAX_PAYLOAD]).unwrap());
        append(&mut expected, &Message::Describe(describe));
        let class = class.number() | if *writable { 0x80 } else { 0 };
        let unit = if unit.is_empty() { "-" } else { unit };
        writeln!(script, "channel {format} {class} {unit} {name}").unwrap();
    }
    for reading in 0..20_000_u32 {
        let t_ms = reading * 2;
        let mut buffer = [0; MAX_PAYLOAD];
        let mut items = ItemWriter::new(&mut buffer);
        for _ in 0..1 + random.below(6) {
            let channel = random.below(channels.len());
            let number = u8::try_from(channel).unwrap();
            item(&mut random, number, channels[channel].0, &mut script, &mut items);
        }
        writeln!(script, "end {t_ms}").unwrap();
        if t_ms == 0 || t_ms % 60_000 == 5_000 {
            append(&mut expected, &hello(t_ms, reading, channels.len(), schema.value()));
        }
        let [low, high, ..] = reading.to_le_bytes();
        let seq = u16::from_le_bytes([low, high]);
        let data = Data { seq, oldest: true, no_ack: false, t_ms, items: items.finish() };
        append(&mut expected, &Message::Data(data));
    }
    let given = peer("readings", script.as_bytes());
    let differs = given.iter().zip(&expected).position(|(a, b)| a != b);
    assert!(given == expected, "{} bytes instead of {}, from {differs:?}", given.len(), expected.len());
}

/// The HELLO of the peer, with one reading in its ring.
fn hello(uptime_ms: u32, oldest: u32, channels: usize, schema_crc: u32) -> Message<'static> {
    Message::Hello(Hello {
        minor: 0,
        caps: 3,
        boot: 0xC0FF_EE00,
        uptime_ms,
        oldest,
        next: oldest + 1,
        dropped: 0,
        rxmax: 253,
        channels: u8::try_from(channels).unwrap(),
        schema_crc,
        uid: &[0xDE, 0xAD, 0, 0xBE, 0xEF],
        firmware: "peer 1",
    })
}
