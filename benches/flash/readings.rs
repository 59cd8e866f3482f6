//! The readings that all players get: ten devices in turn, four values each that move slowly.

use std::sync::Arc;

use serialgate::reading::{DeviceName, MessageId, Reading, Stamp, Uid, Value};
use serialgate::wire::time::BoardClock;
use uuid::Uuid;

pub(crate) const DEVICES: usize = 10;

/// What a channel is called, where it begins, its power of ten, and how many readings there are to
/// one that moves it.
const CHANNELS: [(&str, i64, i8, u32); 4] =
    [("temp", 2345, -2, 4), ("hum", 412, -1, 8), ("pres", 10132, -1, 8), ("volt", 3301, -3, 4)];
/// From the sample to its arrival: the line, and what USB and scheduling add, in microseconds.
const DELAY_US: (i64, i64) = (6_000, 1_000);

/// About when it is, so that time stamps have their usual length, in milliseconds.
const UNIX_MS: i64 = 1_767_225_600_000;

/// What speaks on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Boards with the wire protocol: they number and stamp their readings themselves.
    Wire,
    /// Lines of JSON: the gateway numbers them, and stamps them when they arrive.
    Json,
}

/// Makes readings without end.
#[derive(Debug)]
pub(crate) struct Source {
    format: Format,
    names: [Arc<str>; 4],
    boards: Vec<Board>,
    random: fastrand::Rng,
    boot: Uuid,
    made: u64,
}

#[derive(Debug)]
struct Board {
    device: DeviceName,
    uid: Uid,
    clock: BoardClock,
    began_us: i64,
    seq: u32,
    mantissas: [i64; 4],
}

impl Source {
    /// A source whose first reading arrives at `now_us` or later.
    pub(crate) fn new(format: Format, now_us: i64) -> anyhow::Result<Self> {
        let boards = (0..DEVICES).map(|n| Board::new(format, u8::try_from(n)?, now_us));
        Ok(Self {
            format,
            names: CHANNELS.map(|(name, ..)| name.into()),
            boards: boards.collect::<anyhow::Result<_>>()?,
            random: fastrand::Rng::with_seed(1),
            boot: Uuid::from_u128(0x5b1c_2f60_9d3e_4a55_8c11_7b6a_90d2_e4f3),
            made: 0,
        })
    }

    /// The next reading, arriving at `now_us`.
    pub(crate) fn next(&mut self, now_us: i64) -> Reading {
        let index = usize::try_from(self.made).unwrap_or(0) % DEVICES;
        let id = MessageId::Gateway { boot: self.boot, n: self.made };
        self.made += 1;
        let board = &mut self.boards[index];
        let seq = board.seq;
        board.seq += 1;
        let (id, at) = match self.format {
            Format::Json => (id, now_us),
            Format::Wire => {
                let delay_us = DELAY_US.0 + self.random.i64(0..DELAY_US.1);
                let t_ms = u32::try_from((now_us - delay_us - board.began_us) / 1_000).unwrap_or(0);
                (
                    MessageId::Board { uid: board.uid.clone(), boot: 42, seq },
                    board.clock.sampled(t_ms, now_us),
                )
            }
        };
        for (mantissa, (_, _, _, steady)) in board.mantissas.iter_mut().zip(CHANNELS) {
            if self.random.u32(0..steady) == 0 {
                *mantissa += if self.random.bool() { 1 } else { -1 };
            }
        }
        let values = CHANNELS.iter().zip(board.mantissas);
        let values =
            values.map(|((_, _, exponent, _), mantissa)| Value::Decimal { mantissa, exponent: *exponent });
        Reading {
            device: Arc::clone(&board.device),
            id,
            seq: seq.into(),
            at: Stamp::this_boot(at),
            values: self.names.iter().cloned().zip(values).collect(),
        }
    }
}

impl Board {
    fn new(format: Format, n: u8, now_us: i64) -> anyhow::Result<Self> {
        let uid = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, n];
        // It has been on for a minute.
        let began_us = now_us - 60_000_000;
        Ok(Self {
            device: match format {
                Format::Wire => format!("greenhouse-66{n:02x}").into(),
                Format::Json => format!("board-{n}").into(),
            },
            uid: Uid::new(&uid).ok_or_else(|| anyhow::anyhow!("uid"))?,
            clock: BoardClock::new(60_000 - 6, now_us),
            began_us,
            seq: 0,
            mantissas: CHANNELS.map(|(_, start, ..)| start + i64::from(n) * 7),
        })
    }
}

/// A reading as a line of JSON, for those who store it as it came: 95 to 98 bytes.
pub(crate) fn json(reading: &Reading) -> String {
    let mut text = format!(
        r#"{{"id":"{}","seq":{},"ts":{}"#,
        reading.device,
        reading.seq,
        UNIX_MS + reading.at.us / 1000
    );
    for (name, value) in &reading.values {
        if let Value::Decimal { mantissa, exponent } = value {
            let scale = 10_i64.pow(exponent.unsigned_abs().into());
            let digits = usize::from(exponent.unsigned_abs());
            text.push_str(&format!(r#","{name}":{}.{:0digits$}"#, mantissa / scale, mantissa % scale));
        }
    }
    text.push('}');
    text
}
