//! What speaks on a line: a wire board, or a group of boards that print JSON. Pure but for the
//! ledger's file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serialgate_wire::{Class, Describe, Exponent, Int, ItemWriter, Value};

use super::board::{self, Board, Capacity, Identity};
use super::ledger::{Entry, Ledger};
use super::{Format, Options, Summary};
use crate::reading::Uid;

/// A JSON line that would make the waiting bytes more than this is dropped, as a UART's buffer
/// would drop it. A wire board waits instead.
const WAITING_MAX: usize = 64 * 1024;
/// Bytes that wait before a wire board is asked for more frames.
const WAITING_ENOUGH: usize = 4 * 1024;

/// How long JSON boards stay plugged in after their last line. The kernel throws away what was not
/// read when a port goes, and does not tell how much that is.
const DRAIN: Duration = Duration::from_millis(500);

/// The channels of a wire board: temperature and humidity.
const CHANNELS: [Describe<'static>; 2] = [channel(0, 0x3E, "Cel", "temp"), channel(1, 0x7F, "%RH", "hum")];

const fn channel(channel: u8, fmt: u8, unit: &'static str, name: &'static str) -> Describe<'static> {
    Describe { seq: 0, channel, fmt, class: Class::Gauge, writable: false, unit, name, more: &[] }
}

/// One measurement, in the digits that a sensor has.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Hundredths of a degree Celsius.
    temp_centi: i16,
    /// Tenths of a percent of relative humidity.
    hum_deci: u16,
}

impl Sample {
    /// The `n`-th sample of board `device`: two slow triangle waves, so that a graph of them shows
    /// at a glance what is missing.
    fn take(device: usize, n: u64) -> Self {
        let phase = n.wrapping_add(device as u64 * 37);
        let triangle = |period: u64| (phase % period).abs_diff(period / 2);
        Self {
            temp_centi: i16::try_from(triangle(1_000)).map_or(0, |up| 1_950 + up),
            hum_deci: u16::try_from(triangle(400)).map_or(0, |up| 380 + up),
        }
    }

    /// Degrees Celsius. Printed with the fewest digits, it shows no more than two decimals.
    fn temp(self) -> f64 {
        f64::from(self.temp_centi) / 100.0
    }

    /// Percent. Printed with the fewest digits, it shows no more than one decimal.
    fn hum(self) -> f64 {
        f64::from(self.hum_deci) / 10.0
    }
}

/// Everything that speaks, each with the place of its port.
pub(super) fn all(options: &Options) -> Vec<(PathBuf, Source)> {
    let devices = options.devices.get();
    match options.format {
        Format::Json => vec![(options.link.clone(), Source::Json(JsonBoards::new(devices)))],
        Format::Wire => (0..devices)
            .map(|index| {
                let link = nth_link(&options.link, index);
                let board = WireBoard::new(options, &link, index);
                (link, Source::Wire(Box::new(board)))
            })
            .collect(),
    }
}

fn nth_link(first: &Path, index: usize) -> PathBuf {
    let mut link = first.as_os_str().to_owned();
    if index > 0 {
        link.push(format!(".{index}"));
    }
    link.into()
}

/// What speaks on one line.
pub(super) enum Source {
    Wire(Box<WireBoard>),
    Json(JsonBoards),
}

impl Source {
    /// Takes one reading of each board. What is to be sent at once is appended to `out`, if the
    /// line `is_heard`.
    pub(super) fn sample(
        &mut self,
        now_ms: u64,
        is_heard: bool,
        out: &mut Vec<u8>,
        ledger: &Ledger,
    ) -> io::Result<()> {
        match self {
            Self::Wire(board) => board.sample(now_ms, ledger),
            Self::Json(boards) => boards.sample(is_heard, out, ledger),
        }
    }

    /// Appends to `out` what is to be sent by now.
    pub(super) fn transmit(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        if let Self::Wire(wire) = self {
            while out.len() < WAITING_ENOUGH && wire.board.transmit(now_ms, out) {}
        }
    }

    /// Takes what the host sent.
    pub(super) fn receive(&mut self, now_ms: u64, bytes: &[u8], ledger: &Ledger) -> io::Result<()> {
        match self {
            Self::Wire(board) => board.receive(now_ms, bytes, ledger),
            Self::Json(_) => Ok(()),
        }
    }

    /// When [`Source::transmit`] has something next, if nothing happens until then.
    pub(super) fn next_wake_ms(&self, now_ms: u64) -> u64 {
        match self {
            Self::Wire(wire) => wire.board.next_wake_ms(now_ms),
            Self::Json(_) => u64::MAX,
        }
    }

    /// Whether all that it said has arrived, as far as it can know.
    pub(super) fn is_settled(&self, is_heard: bool) -> bool {
        match self {
            Self::Wire(wire) => wire.board.held() == 0,
            Self::Json(_) => !is_heard,
        }
    }

    /// How long to wait for that at the end, if up to `linger` is allowed.
    pub(super) fn linger(&self, linger: Duration) -> Duration {
        match self {
            Self::Wire(_) => linger,
            Self::Json(_) => linger.min(DRAIN),
        }
    }

    /// What became of its readings.
    pub(super) fn summary(&self) -> Summary {
        match self {
            Self::Wire(wire) => {
                let dropped = wire.lost + u64::from(wire.board.dropped());
                Summary { dropped, held: wire.board.held() as u64, ..wire.summary }
            }
            Self::Json(boards) => boards.summary,
        }
    }
}

/// A board that speaks wire v1.
pub(super) struct WireBoard {
    board: Board,
    /// The unique id in hex.
    hex: String,
    device: String,
    index: usize,
    /// Lost in earlier boots.
    lost: u64,
    summary: Summary,
}

impl WireBoard {
    fn new(options: &Options, link: &Path, index: usize) -> Self {
        let uid = match &options.uid {
            Some(first) => nth_uid(first, index),
            None => uid_of_link(link).to_vec(),
        };
        let identity = Identity {
            uid: uid.clone(),
            boot: options.boot.unwrap_or_else(|| fastrand::u32(..)),
            firmware: format!("{} {}", options.name, env!("CARGO_PKG_VERSION")),
            channels: &CHANNELS,
            capacity: Capacity::Readings(options.ring),
        };
        let hex = uid.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let last4 = hex.get(hex.len().saturating_sub(4)..).unwrap_or(&hex);
        let device = format!("{}-{last4}", options.name);
        Self { board: Board::new(identity, 0), hex, device, index, lost: 0, summary: Summary::default() }
    }

    fn sample(&mut self, now_ms: u64, ledger: &Ledger) -> io::Result<()> {
        let sample = Sample::take(self.index, self.summary.produced);
        let mut buffer = [0; 8];
        let mut items = ItemWriter::new(&mut buffer);
        let seq = items
            .push(0, Value::decimal(Int::I16(sample.temp_centi), Exponent::CENTI))
            .and_then(|()| items.push(1, Value::decimal(Int::U16(sample.hum_deci), Exponent::DECI)))
            .and_then(|()| self.board.sample(now_ms, items.finish()))
            .map_err(io::Error::other)?;
        self.summary.produced += 1;
        ledger.enter(Entry::Produced {
            device: &self.device,
            id: Some(&self.id(seq)),
            seq: Some(seq),
            n: None,
            temp: sample.temp(),
            hum: sample.hum(),
        })
    }

    fn receive(&mut self, now_ms: u64, bytes: &[u8], ledger: &Ledger) -> io::Result<()> {
        for event in self.board.receive(now_ms, bytes) {
            match event {
                board::Event::Acknowledged { first, count } => {
                    self.summary.acknowledged += u64::from(count);
                    for seq in (0..count).map(|n| first.wrapping_add(n)) {
                        let id = self.id(seq);
                        ledger.enter(Entry::Acknowledged { device: &self.device, id: &id, seq })?;
                    }
                }
                board::Event::Rebooted { lost } => self.lost += u64::from(lost),
            }
        }
        Ok(())
    }

    /// The id that every copy of the reading carries, written down without the gateway's code so
    /// that a test which compares the two means something.
    fn id(&self, seq: u32) -> String {
        format!("{}-{:x}/{seq}", self.hex, self.board.boot())
    }
}

/// Boards that print one JSON object per line. They share the line, take their readings at the same
/// time, and repeat nothing.
pub(super) struct JsonBoards {
    devices: Vec<String>,
    /// Readings that each of them has taken.
    n: u64,
    summary: Summary,
}

/// What a board prints.
#[derive(Serialize)]
struct JsonLine<'a> {
    /// Only where several boards share a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    n: u64,
    temp: f64,
    hum: f64,
}

impl JsonBoards {
    fn new(devices: usize) -> Self {
        let devices = (1..=devices).map(|number| format!("sim{number}")).collect();
        Self { devices, n: 0, summary: Summary::default() }
    }

    fn sample(&mut self, is_heard: bool, out: &mut Vec<u8>, ledger: &Ledger) -> io::Result<()> {
        let n = self.n;
        self.n += 1;
        for (index, device) in self.devices.iter().enumerate() {
            let sample = Sample::take(index, n);
            let (temp, hum) = (sample.temp(), sample.hum());
            self.summary.produced += 1;
            ledger.enter(Entry::Produced { device, id: None, seq: None, n: Some(n), temp, hum })?;

            let id = (self.devices.len() > 1).then_some(device.as_str());
            let mut line = serde_json::to_vec(&JsonLine { id, n, temp, hum })?;
            line.push(b'\n');
            if is_heard && out.len() + line.len() <= WAITING_MAX {
                out.append(&mut line);
                continue;
            }
            let missed = if is_heard { &mut self.summary.overrun } else { &mut self.summary.unheard };
            *missed += 1;
            ledger.enter(Entry::Unheard { device, n })?;
        }
        Ok(())
    }
}

/// A unique id that the same link always gives, as a board on it would.
fn uid_of_link(link: &Path) -> [u8; 8] {
    let link = std::path::absolute(link).unwrap_or_else(|_| link.to_owned());
    let crc = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
    crc.checksum(link.as_os_str().as_encoded_bytes()).to_be_bytes()
}

/// The `n`-th id after `first`, both read as big-endian numbers.
fn nth_uid(first: &Uid, n: usize) -> Vec<u8> {
    let mut bytes = first.as_bytes().to_vec();
    let mut carry = n;
    for byte in bytes.iter_mut().rev() {
        carry = carry.saturating_add(usize::from(*byte));
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_with_carry() {
        let first = Uid::new(&[0x00, 0x01, 0xFE]).unwrap();
        assert_eq!(nth_uid(&first, 0), [0x00, 0x01, 0xFE]);
        assert_eq!(nth_uid(&first, 3), [0x00, 0x02, 0x01]);
        assert_eq!(nth_uid(&Uid::new(&[0xFF]).unwrap(), 1), [0x00]);
    }

    #[test]
    fn links_have_ids_of_their_own_that_stay() {
        let ids = (0..100).map(|n| uid_of_link(&nth_link(Path::new("/run/board"), n)));
        assert_eq!(ids.collect::<std::collections::HashSet<_>>().len(), 100);
        assert_eq!(uid_of_link(Path::new("/a")), uid_of_link(Path::new("/a")));
    }

    #[test]
    fn samples_print_with_the_decimals_of_the_sensor() {
        for n in 0..2_000 {
            let sample = Sample::take(3, n);
            let digits = |text: String| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            assert!(digits(sample.temp().to_string()) <= 2 && digits(sample.hum().to_string()) <= 1);
            assert!((1_950..=2_450).contains(&sample.temp_centi), "{sample:?}");
        }
    }

    #[test]
    fn json_boards_name_themselves_only_where_there_are_several() {
        let ledger = Ledger::unwritten();
        let mut out = Vec::new();
        JsonBoards::new(1).sample(true, &mut out, &ledger).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"n\":0,\"temp\":24.5,\"hum\":58.0}\n");

        let mut out = Vec::new();
        let mut boards = JsonBoards::new(2);
        boards.sample(true, &mut out, &ledger).unwrap();
        boards.sample(false, &mut out, &ledger).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"id\":\"sim1\",\"n\":0,\"temp\":24.5,\"hum\":58.0}\n\
             {\"id\":\"sim2\",\"n\":0,\"temp\":24.13,\"hum\":54.3}\n"
        );
        let expected = Summary { produced: 4, unheard: 2, ..Summary::default() };
        assert_eq!(boards.summary, expected);
        assert_eq!(ledger.produced(), 5);
    }

    #[test]
    fn a_listener_that_does_not_read_costs_readings_and_not_memory() {
        let mut out = Vec::new();
        let mut boards = JsonBoards::new(1);
        for _ in 0..10_000 {
            boards.sample(true, &mut out, &Ledger::unwritten()).unwrap();
        }
        assert!(out.len() <= WAITING_MAX);
        assert_eq!(boards.summary.overrun + out.iter().filter(|b| **b == b'\n').count() as u64, 10_000);
    }
}
