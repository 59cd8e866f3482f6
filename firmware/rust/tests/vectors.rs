//! The normative vectors, both ways: bytes to fields and fields to bytes.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::str::FromStr;

use serialgate_wire::{
    Ack, Call, CallResult, Class, Crc32, Data, Decoder, Describe, DescribeReq, Exponent, Frame, Hello, Int,
    ItemWriter, Items, Kind, MAX_WIRE, Message, Value,
};

const FILE: &str = include_str!("../../vectors.txt");

/// One vector of the file, as text.
struct Vector {
    fields: HashMap<&'static str, &'static str>,
    items: Vec<&'static str>,
}

impl Vector {
    fn all() -> Vec<Self> {
        let text = FILE.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
        text.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()).map(Self::parse).collect()
    }

    fn parse(lines: &[&'static str]) -> Self {
        let pairs = lines.iter().map(|line| line.split_once(' ').unwrap());
        let (items, fields) = pairs.partition::<Vec<_>, _>(|(key, _)| *key == "item");
        Self { fields: fields.into_iter().collect(), items: items.into_iter().map(|(_, v)| v).collect() }
    }

    fn text(&self, key: &str) -> &'static str {
        self.fields.get(key).unwrap_or_else(|| panic!("{}: no field {key}", self.fields["vector"]))
    }

    fn number<T: TryFrom<u64>>(&self, key: &str) -> T {
        number(self.text(key))
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        hex(self.text(key))
    }

    /// The items of the vector, encoded into `buffer`.
    fn items<'b>(&self, buffer: &'b mut [u8]) -> Items<'b> {
        let mut writer = ItemWriter::new(buffer);
        for item in &self.items {
            let words = item.splitn(4, ' ').collect::<Vec<_>>();
            let bytes = if words[1] == "bytes" { hex(words[2]) } else { Vec::new() };
            let value = value(&words, &bytes);
            writer.push(number(words[0]), value).unwrap();
        }
        writer.finish()
    }

    /// The message that the fields describe.
    fn message<'b>(&self, buffer: &'b mut [u8], bytes: &'b [u8]) -> Message<'b> {
        let seq = self.number("seq");
        let flags: u8 = self.number("flags");
        match Kind::new(self.number("kind")) {
            Kind::HELLO => Message::Hello(self.hello(bytes)),
            Kind::DATA => Message::Data(Data {
                seq,
                oldest: flags & 1 != 0,
                no_ack: flags & 2 != 0,
                t_ms: self.number("t_ms"),
                items: self.items(buffer),
            }),
            Kind::DESCRIBE => Message::Describe(Describe {
                seq,
                channel: self.number("channel"),
                fmt: self.number("fmt"),
                class: Class::from_number(self.number("class")),
                writable: self.text("writable") == "1",
                unit: self.text("unit"),
                name: self.text("name"),
                more: &[],
            }),
            Kind::RESULT => {
                Message::Result(CallResult { seq, status: self.number("status"), items: self.items(buffer) })
            }
            Kind::LOG => Message::Log(self.text("text")),
            Kind::ACK => Message::Ack(Ack { next: seq, rewind: flags & 1 != 0 }),
            Kind::HELLO_REQ => Message::HelloReq,
            Kind::DESCRIBE_REQ => Message::DescribeReq(DescribeReq { seq, channel: self.number("channel") }),
            Kind::CALL => Message::Call(Call { seq, command: self.number("command"), args: bytes }),
            Kind::TIME => Message::Time { unix_ms: self.number("unix_ms") },
            other => panic!("vector of an unknown kind {other:?}"),
        }
    }

    fn hello<'b>(&self, uid: &'b [u8]) -> Hello<'b> {
        Hello {
            minor: self.number("minor"),
            caps: self.number("caps"),
            boot: self.number("boot"),
            uptime_ms: self.number("uptime_ms"),
            oldest: self.number("oldest"),
            next: self.number("next"),
            dropped: self.number("dropped"),
            rxmax: self.number("rxmax"),
            channels: self.number("channels"),
            schema_crc: self.number("schema_crc"),
            uid,
            firmware: self.text("firmware"),
        }
    }
}

fn value<'a>(words: &[&'a str], bytes: &'a [u8]) -> Value<'a> {
    fn int<T: FromStr>(text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
    }
    let text = words[2];
    let mantissa = match words[1] {
        "none" => return Value::None(number(text)),
        "bool" => return Value::Bool(text == "1"),
        "f32" => return Value::F32(f32::from_bits(number(text))),
        "f64" => return Value::F64(f64::from_bits(number(text))),
        "text" => return Value::Text(text),
        "bytes" => return Value::Bytes(bytes),
        "i8" => Int::I8(int(text)),
        "i16" => Int::I16(int(text)),
        "i32" => Int::I32(int(text)),
        "i64" => Int::I64(int(text)),
        "u8" => Int::U8(int(text)),
        "u16" => Int::U16(int(text)),
        "u32" => Int::U32(int(text)),
        "u64" => Int::U64(int(text)),
        other => panic!("unknown type {other}"),
    };
    Value::decimal(mantissa, Exponent::new(int(words[3])).unwrap())
}

fn number<T: TryFrom<u64>>(text: &str) -> T {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.ok().and_then(|n| T::try_from(n).ok()).unwrap_or_else(|| panic!("not a number: {text}"))
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn there_are_as_many_as_in_the_specification() {
    assert_eq!(Vector::all().len(), 13);
}

#[test]
fn fields_become_the_bytes() {
    for vector in Vector::all() {
        let (mut items, mut out) = ([0; 245], [0; MAX_WIRE]);
        let bytes = vector.fields.get("uid").or(vector.fields.get("args")).map_or(Vec::new(), |s| hex(s));
        let message = vector.message(&mut items, &bytes);
        let wire = message.encode(vector.number("boot8"), &mut out).unwrap();
        assert_eq!(wire, vector.bytes("hex"), "{}", vector.text("vector"));
    }
}

#[test]
fn bytes_become_the_fields() {
    for vector in Vector::all() {
        let name = vector.text("vector");
        let mut decoder = Decoder::new();
        let wire = vector.bytes("hex");
        let (last, rest) = wire.split_last().unwrap();
        for byte in rest {
            assert_eq!(decoder.feed(*byte), None, "{name}");
        }
        let frame = decoder.feed(*last).unwrap().unwrap_or_else(|why| panic!("{name}: {why}"));

        let header = (frame.kind.number(), frame.flags, frame.boot8, frame.seq);
        let number = |key| vector.number::<u8>(key);
        let expected = (number("kind"), number("flags"), number("boot8"), vector.number("seq"));
        assert_eq!(header, expected, "{name}");
        assert_eq!(frame.kind.is_from_host(), frame.kind.number() >= 0x20, "{name}");

        let mut items = [0; 245];
        let bytes = vector.fields.get("uid").or(vector.fields.get("args")).map_or(Vec::new(), |s| hex(s));
        assert_eq!(Message::parse(&frame), Ok(vector.message(&mut items, &bytes)), "{name}");
        assert_same_frame(&frame, &wire);
    }
}

fn assert_same_frame(frame: &Frame<'_>, wire: &[u8]) {
    let mut out = [0; MAX_WIRE];
    assert_eq!(frame.encode(&mut out).unwrap(), wire);
}

#[test]
fn the_schema_crc_covers_the_describe_payloads() {
    let channels = [(0, 0x3E, "Cel", "temp"), (1, 0x7F, "%RH", "hum")];
    let crc = channels.iter().fold(Crc32::new(), |crc, &(channel, fmt, unit, name)| {
        let class = Class::Gauge;
        let describe = Describe { seq: 0, channel, fmt, class, writable: false, unit, name, more: &[] };
        crc.extend(describe.payload(&mut [0; 64]).unwrap())
    });
    assert_eq!(crc.value(), 0xC882_1764);
}
