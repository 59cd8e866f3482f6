//! The chunk codec alone: bytes and time per reading, beside what version 0.1 wrote, and the bytes
//! that the whole queue file takes.
//!
//! `cargo bench --bench chunk` prints a table; `-- --short` takes a tenth of the time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::ClockId;
use serialgate::clock::Offset;
use serialgate::command::say;
use serialgate::queue::chunk::{self, Boots};
use serialgate::queue::job::Save;
use serialgate::queue::store::{KernelBoot, Limits, Store};
use serialgate::queue::types::WhenFull;
use serialgate::reading::{Body, MessageId, Reading, Stamp, Uid, Value};
use tempfile::TempDir;
use uuid::Uuid;

/// Devices that speak in turn.
const DEVICES: usize = 10;
/// Readings per chunk.
const SIZES: [usize; 6] = [1, 5, 10, 50, 100, 1000];
/// Readings packed per figure.
const READINGS: usize = 20_000;
const BOOTS: Boots = Boots { chunk: 1, this: 1 };

type Entries = Vec<(u64, Arc<Body>)>;
/// Codec and bytes.
type Pack = fn(&Entries) -> Result<(i64, Vec<u8>)>;

fn main() -> Result<()> {
    let short = std::env::args().any(|arg| arg == "--short");
    let readings = if short { READINGS / 10 } else { READINGS };
    for (name, source) in [("typed (wire)", Sort::Typed), ("JSON line", Sort::Json)] {
        say(format!("{name}, {DEVICES} devices, 4 values"));
        say("per chunk   bytes/reading     pack us/reading   unpack us/reading   file bytes/reading");
        say("              old     new       old     new        old     new          new");
        for size in SIZES {
            let chunks = Board::chunks(source, readings.max(size * 4), size);
            let (old, new) = (measure(&chunks, old_pack)?, measure(&chunks, new_pack)?);
            // So many that the tables' own pages hardly count.
            let file = file_bytes(&Board::chunks(source, (size * 500).min(50_000), size))?;
            say(format!(
                "{size:>9} {:>7.1} {:>7.2}   {:>7.2} {:>7.2}    {:>7.2} {:>7.2}      {file:>7.2}",
                old.bytes, new.bytes, old.pack, new.pack, old.unpack, new.unpack
            ));
        }
    }
    Ok(())
}

/// Per reading: bytes, and microseconds.
struct Figures {
    bytes: f64,
    pack: f64,
    unpack: f64,
}

fn measure(chunks: &[Entries], pack: Pack) -> Result<Figures> {
    let readings = chunks.iter().map(Vec::len).sum::<usize>() as f64;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let packed: Vec<_> = chunks
        .iter()
        .map(|entries| {
            let (codec, data) = pack(entries)?;
            let first = entries.first().map_or(0, |(position, _)| *position);
            Ok((first, codec, i64::from(crc.checksum(&data)), data))
        })
        .collect::<Result<_>>()?;
    let bytes = packed.iter().map(|(.., data)| data.len()).sum::<usize>() as f64;
    let packing = best(|| {
        for entries in chunks {
            black_box(pack(entries)?);
        }
        Ok(())
    })?;
    let unpacking = best(|| {
        for (first, codec, crc, data) in &packed {
            black_box(chunk::unpack(*first, *codec, *crc, data, BOOTS)?);
        }
        Ok(())
    })?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / readings;
    Ok(Figures { bytes: bytes / readings, pack: each(packing), unpack: each(unpacking) })
}

/// Processor time of the best of some rounds: a machine is never quite idle.
fn best(work: impl Fn() -> Result<()>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let start = Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?);
        work()?;
        best = best.min(Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?) - start);
    }
    Ok(best)
}

fn new_pack(entries: &Entries) -> Result<(i64, Vec<u8>)> {
    let packed = chunk::pack(entries)?;
    Ok((packed.codec, packed.data))
}

/// As version 0.1 did: postcard, then zstd where that is shorter.
fn old_pack(entries: &Entries) -> Result<(i64, Vec<u8>)> {
    let mut before = entries.first().map_or(0, |(position, _)| *position);
    let distances = entries.iter().map(|(position, body)| {
        let distance = position - before;
        before = *position;
        (distance, body.as_ref())
    });
    let plain = postcard::to_stdvec(&distances.collect::<Vec<(u64, &Body)>>())?;
    let packed = zstd::bulk::compress(&plain, 3)?;
    Ok(if packed.len() < plain.len() { (2, packed) } else { (1, plain) })
}

/// All pages of the queue file that holds these chunks, per reading.
fn file_bytes(chunks: &[Entries]) -> Result<f64> {
    let dir = TempDir::new()?;
    let path = dir.path().join("queue.db");
    let limits = Limits {
        max_bytes: 1 << 30,
        max_readings: None,
        letters_bytes: 1 << 20,
        max_age_us: i64::MAX,
        when_full: WhenFull::DropOldest,
    };
    let kernel = KernelBoot { uuid: "bench".into(), row: None };
    let mut store = Store::open(&path, &[], limits, &kernel)?;
    for entries in chunks {
        let save = Save::default();
        store.commit(entries, &save, 0, Offset { us: 0, synced: true })?;
    }
    let readings = chunks.iter().map(Vec::len).sum::<usize>() as f64;
    Ok(store.used_bytes()? as f64 / readings)
}

/// Where a device's readings come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A wire board: numbers of its own, stamps from a clock of milliseconds.
    Typed,
    /// A line of JSON, stamped as it arrives.
    Json,
}

/// A device with slowly moving values.
struct Board {
    uid: Uid,
    name: Arc<str>,
    seq: u32,
    /// Microseconds.
    next: i64,
    values: [i64; 4],
}

impl Board {
    const CHANNELS: [(&str, i8); 4] =
        [("temperature", -2), ("humidity", -1), ("pressure", -2), ("battery", -3)];
    /// Of one board.
    const PERIOD_US: i64 = 1_000_000;

    fn new(sort: Sort, index: usize, random: &mut fastrand::Rng) -> Result<Self> {
        let uid: [u8; 8] = random.u64(..).to_be_bytes();
        let name = match sort {
            Sort::Typed => format!("greenhouse-{:02x}{:02x}", uid[6], uid[7]),
            Sort::Json => format!("sensor-{index}"),
        };
        Ok(Self {
            uid: Uid::new(&uid).context("a uid of eight bytes")?,
            name: name.into(),
            seq: random.u32(0..100_000),
            next: 3_600_000_000 + random.i64(0..Self::PERIOD_US),
            values: [
                random.i64(1500..3000),
                random.i64(300..700),
                random.i64(99_000..102_500),
                random.i64(3300..4200),
            ],
        })
    }

    fn reading(&mut self, sort: Sort, boot: Uuid, n: u64, random: &mut fastrand::Rng) -> Body {
        let reach = [3, 2, 2, 1];
        for (value, reach) in self.values.iter_mut().zip(reach) {
            *value += random.i64(-reach..=reach);
        }
        self.seq += 1;
        self.next += Self::PERIOD_US;
        let (id, late) = match sort {
            // Mostly on the millisecond, one late now and then; our notion of its clock drifts slowly.
            Sort::Typed => {
                let drift = if random.u8(0..8) == 0 { random.i64(-90..90) } else { 0 };
                self.next += drift;
                let id = MessageId::Board { uid: self.uid.clone(), boot: 17, seq: self.seq };
                (id, i64::from(random.u8(0..5) == 0) * 1000)
            }
            Sort::Json => (MessageId::Gateway { boot, n }, random.i64(0..900)),
        };
        let values = Self::CHANNELS.iter().zip(self.values).map(|((name, exponent), mantissa)| {
            // JSON leaves trailing zeros out.
            let drop_zero = sort == Sort::Json && mantissa % 10 == 0;
            let (mantissa, exponent) =
                if drop_zero { (mantissa / 10, exponent + 1) } else { (mantissa, *exponent) };
            ((*name).into(), Value::Decimal { mantissa, exponent })
        });
        Body::Reading(Reading {
            device: Arc::clone(&self.name),
            id,
            seq: self.seq.into(),
            at: Stamp::this_boot(self.next + late),
            values: values.collect(),
        })
    }

    /// `readings` in the order in which they come, cut into chunks.
    fn chunks(sort: Sort, readings: usize, size: usize) -> Vec<Entries> {
        let mut random = fastrand::Rng::with_seed(11);
        let boot = Uuid::from_u128(random.u128(..));
        let mut boards: Vec<Self> =
            (0..DEVICES).filter_map(|index| Self::new(sort, index, &mut random).ok()).collect();
        boards.sort_by_key(|board| board.next);
        let mut entries: Entries = Vec::with_capacity(readings);
        for (index, n) in (0..readings).zip(0u64..) {
            let board = &mut boards[index % DEVICES];
            entries.push((n + 1_000_000, Arc::new(board.reading(sort, boot, n + 5_000, &mut random))));
        }
        entries.chunks(size).map(<[_]>::to_vec).collect()
    }
}
