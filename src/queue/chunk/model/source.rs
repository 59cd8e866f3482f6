//! Devices, their numbers and their clocks.

use std::sync::Arc;

use uuid::Uuid;

use crate::reading::{DeviceName, Stamp, Uid};

use super::super::range::Coder;
use super::super::{ChunkError, damaged};
use super::{Model, Numbers, SOURCE_BYTES, index};

/// Board clocks count milliseconds, so most stamps of a board differ by whole ones.
const GRID_US: i64 = 1_000;
/// Missing readings that a stamp's forecast looks across.
const ADVANCE_MAX: u64 = 1_000;

/// Who gives a source's readings their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::queue::chunk) enum Origin {
    /// The board.
    Board { uid: Uid, boot: u32 },
    /// A start of the daemon.
    Gateway(Uuid),
}

/// A device under one identity.
#[derive(Debug)]
pub(in crate::queue::chunk) struct Source {
    pub(in crate::queue::chunk) device: DeviceName,
    pub(in crate::queue::chunk) origin: Origin,
    /// Place of its start of the daemon in [`Model::gateways`].
    pub(super) gateway: usize,
    /// Number, own number and time of its newest reading, once there is one.
    pub(super) newest: Option<(u64, u64, i64)>,
    /// Microseconds from one reading to the next, as it goes.
    pub(super) step: Option<i64>,
    pub(super) shape: Option<usize>,
    /// Its columns in the order of the shape.
    pub(in crate::queue::chunk) columns: Vec<usize>,
}

impl Model {
    /// Tells who the new source is.
    pub(in crate::queue::chunk) fn introduce<C: Coder>(
        &mut self,
        coder: &mut C,
        device: &str,
        origin: &Origin,
    ) -> Result<(), ChunkError> {
        self.budget.take(SOURCE_BYTES)?;
        let board = coder.bit(&mut self.numbers.board, matches!(origin, Origin::Board { .. }));
        let (origin, gateway) =
            if board { (self.board(coder, origin)?, 0) } else { self.gateway(coder, origin)? };
        let suffix = suffix(&origin);
        let stem = suffix.as_deref().and_then(|suffix| device.strip_suffix(suffix));
        let suffixed = suffix.is_some() && coder.bit(&mut self.numbers.suffixed, stem.is_some());
        let stem = stem.filter(|_| suffixed).unwrap_or(device);
        let name = self.devices.code(coder, &mut self.budget, stem)?;
        let name = self.devices.known.get(name).map(Arc::clone).unwrap_or_default();
        let device = match suffix.filter(|_| suffixed) {
            Some(suffix) => {
                self.budget.take(name.len())?;
                format!("{name}{suffix}").into()
            }
            None => name,
        };
        self.after.push(None);
        let (newest, step, shape, columns) = (None, None, None, Vec::new());
        self.sources.push(Source { device, origin, gateway, newest, step, shape, columns });
        Ok(())
    }

    fn board<C: Coder>(&mut self, coder: &mut C, origin: &Origin) -> Result<Origin, ChunkError> {
        let (uid, boot): (&[u8], u32) = match origin {
            Origin::Board { uid, boot } => (uid.as_bytes(), *boot),
            Origin::Gateway(_) => (&[], 0),
        };
        let uid = self.uids.code(coder, uid, Uid::MAX).and_then(|uid| Uid::new(&uid));
        let uid = uid.ok_or_else(|| damaged("a uid has no length that a uid can have"))?;
        let boot = self.numbers.board_boot.near(coder, self.board_boot.into(), boot.into());
        let boot = u32::try_from(boot).map_err(|_| damaged("a boot's number is too large"))?;
        self.board_boot = boot;
        Ok(Origin::Board { uid, boot })
    }

    fn gateway<C: Coder>(&mut self, coder: &mut C, origin: &Origin) -> Result<(Origin, usize), ChunkError> {
        let start = match origin {
            Origin::Gateway(start) => *start,
            Origin::Board { .. } => Uuid::nil(),
        };
        let next = self.gateways.len();
        // From the newest on: there is rarely more than one.
        let back = self.gateways.iter().rev().position(|(known, _)| *known == start).unwrap_or(next);
        let back = index(self.numbers.gateway.small(coder, back), next)?;
        if back == next {
            let (high, low) = start.as_u64_pair();
            let start = Uuid::from_u64_pair(coder.raw(64, high), coder.raw(64, low));
            self.gateways.push((start, None));
            return Ok((Origin::Gateway(start), next));
        }
        let place = next - 1 - back;
        let start = self.gateways.get(place).map_or(Uuid::nil(), |(start, _)| *start);
        Ok((Origin::Gateway(start), place))
    }

    /// Number in the id, the device's own number and stamp of a reading of `source`.
    pub(in crate::queue::chunk) fn head<C: Coder>(
        &mut self,
        coder: &mut C,
        source: usize,
        number: u64,
        own: u64,
        at: Stamp,
    ) -> Result<(u64, u64, Stamp), ChunkError> {
        let Some(of) = self.sources.get_mut(source) else { return Err(damaged("no such source")) };
        let numbers = &mut self.numbers;
        let is_board = matches!(of.origin, Origin::Board { .. });
        let mut no_gateway = None;
        let in_gateway = if is_board {
            &mut no_gateway
        } else {
            self.gateways.get_mut(of.gateway).map_or(&mut no_gateway, |(_, newest)| newest)
        };
        let before = if is_board { of.newest.map(|(number, ..)| number) } else { *in_gateway };
        let number = match before {
            Some(before) => numbers.next.near(coder, before.wrapping_add(1), number),
            None => numbers.first.near(coder, 0, number),
        };
        *in_gateway = Some(number);
        let own_before = of.newest.map(|(_, own, _)| own);
        let own_foreseen = if is_board { number } else { own_before.map_or(0, |own| own.wrapping_add(1)) };
        let own = numbers.own.near(coder, own_foreseen, own);
        let stored = u32::from(at.epoch);
        if !coder.bit(&mut numbers.same_epoch, stored == self.epoch) {
            self.epoch = u32::try_from(coder.raw(32, stored.into())).unwrap_or(0);
        }
        let us = match of.newest {
            None => {
                numbers.first_at.near(coder, self.at.cast_unsigned(), at.us.cast_unsigned()).cast_signed()
            }
            Some((_, own_before, before)) => {
                let advance = own.wrapping_sub(own_before).clamp(1, ADVANCE_MAX).cast_signed();
                let step = of.step.unwrap_or(self.step);
                let gone = since(numbers, coder, step.wrapping_mul(advance), at.us.wrapping_sub(before));
                let each = gone / advance;
                // The first step as it is, then a quarter of what it was off by: clocks jitter.
                self.step = of.step.map_or(each, |step| step.wrapping_add(each.wrapping_sub(step) / 4));
                of.step = Some(self.step);
                before.wrapping_add(gone)
            }
        };
        self.at = us;
        of.newest = Some((number, own, us));
        Ok((number, own, Stamp { epoch: self.epoch.into(), us }))
    }
}

/// Microseconds since the source's reading before, foreseen to be `foreseen`.
fn since<C: Coder>(numbers: &mut Numbers, coder: &mut C, foreseen: i64, gone: i64) -> i64 {
    if coder.bit(&mut numbers.on_grid, gone % GRID_US == 0) {
        let foreseen = foreseen.wrapping_add(GRID_US / 2).div_euclid(GRID_US).cast_unsigned();
        let grid = numbers.at_grid.near(coder, foreseen, (gone / GRID_US).cast_unsigned());
        return grid.cast_signed().wrapping_mul(GRID_US);
    }
    numbers.at.near(coder, foreseen.cast_unsigned(), gone.cast_unsigned()).cast_signed()
}

/// What the gateway puts behind a board's name when the configuration gives it none.
fn suffix(origin: &Origin) -> Option<String> {
    let Origin::Board { uid, .. } = origin else { return None };
    let [.., high, low] = uid.as_bytes() else { return None };
    Some(format!("-{high:02x}{low:02x}"))
}
