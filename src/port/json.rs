//! The feed of a line that carries JSON: text in, readings out.

use std::collections::HashMap;
use std::sync::Arc;

use super::report::{Counts, DEVICES_MAX, Report};
use crate::call::{self, Answer, Call, Failure};
use crate::flow::Asked;
use crate::format::json::Decoder;
use crate::format::lines::Lines;
use crate::format::{Decoded, Reason};
use crate::reading::{Body, DeviceName, Reading, Stamp, Value};
use crate::render::{self, ChannelMeta, DeviceMeta};
use crate::topic::slug;

/// Longest piece of an unreadable line that is shown in the log, in bytes.
const SHOWN_MAX: usize = 200;
/// Most bytes that wait to be sent: the device takes them no faster than its line is.
const OUTBOX_MAX: usize = 2 * call::PAYLOAD_MAX;
/// Most channels of one device that its description lists.
const CHANNELS_MAX: usize = 256;

/// Turns the bytes of one line into readings.
#[derive(Debug)]
pub struct JsonFeed {
    lines: Lines,
    decoder: Decoder,
    /// The device whose readings name none; `None` where each must.
    unnamed: Option<usize>,
    /// What stood under the device key, and whose that is.
    by_key: HashMap<Box<str>, usize>,
    devices: Vec<Device>,
    /// The last line could not be read.
    out_of_step: bool,
    /// Unreadable lines were reported since the port was opened.
    complained: bool,
}

#[derive(Debug)]
struct Device {
    name: DeviceName,
    /// Readings so far.
    count: u64,
    /// The channels seen so far.
    channels: Vec<Arc<str>>,
    online: bool,
}

impl JsonFeed {
    /// A feed whose device is called `named`, or is named by each reading under `device_key`.
    #[must_use]
    pub fn new(named: Option<DeviceName>, device_key: Option<&str>) -> Self {
        let mut feed = Self {
            lines: Lines::default(),
            decoder: Decoder::new(device_key),
            unnamed: None,
            by_key: HashMap::new(),
            devices: Vec::new(),
            out_of_step: false,
            complained: false,
        };
        feed.unnamed = named.map(|name| feed.add(name));
        feed
    }

    /// The port was opened: whatever line was begun before is no more.
    pub fn opened(&mut self) {
        self.lines = Lines::default();
        self.out_of_step = false;
        self.complained = false;
    }

    /// The port was closed.
    pub fn closed(&mut self, report: &Report) {
        for device in self.devices.iter_mut().filter(|device| device.online) {
            device.online = false;
            report.offline(&device.name);
        }
    }

    /// The device is to get these values, as a line like those that it sends. It does not answer.
    pub fn call(&self, asked: Asked, outbox: &mut Vec<u8>) {
        let Asked { device, call, reply } = asked;
        let Call::Set(mut values) = call else {
            let why = "a device that speaks JSON takes values of channels, and nothing else";
            return reply.send(Failure::Invalid(why.into()).into());
        };
        if let Some((key, name)) = self.decoder.device_key().zip(self.key_of(&device)) {
            values.insert(0, (key.into(), Value::Text(name.into())));
        }
        let line = render::line(&values);
        if outbox.len() + line.len() > OUTBOX_MAX {
            return reply.send(Failure::Busy.into());
        }
        outbox.extend_from_slice(&line);
        reply.send(Answer::Sent);
    }

    /// What `device` calls itself.
    fn key_of(&self, device: &str) -> Option<&str> {
        let index = self.devices.iter().position(|known| *known.name == *device)?;
        self.by_key.iter().find(|(_, known)| **known == index).map(|(key, _)| &**key)
    }

    /// Takes what was read at `now`.
    pub fn bytes(&mut self, mut bytes: &[u8], now: Stamp, report: &Report) {
        let mut counts = Counts { bytes: bytes.len() as u64, ..Counts::default() };
        // The framer's line borrows it, so it steps aside while the line is looked at.
        let mut lines = std::mem::take(&mut self.lines);
        while let Some(line) = lines.next(&mut bytes) {
            let decoded = line.content.and_then(|content| self.decoder.decode(content));
            match decoded.and_then(|decoded| self.take(decoded, now, report)) {
                Ok(()) => {
                    counts.frames += 1;
                    counts.resyncs += u64::from(std::mem::take(&mut self.out_of_step));
                }
                // Nobody can know how the first line began.
                Err(_) if line.torn => {}
                Err(reason) => {
                    counts.bad_decode += 1;
                    self.out_of_step = true;
                    self.complain(reason, line.content.unwrap_or_default(), report);
                }
            }
        }
        self.lines = lines;
        report.count(counts, now);
    }

    fn take(&mut self, decoded: Decoded, now: Stamp, report: &Report) -> Result<(), Reason> {
        let index = match &decoded.device {
            None => self.unnamed.ok_or(Reason::NoDevice)?,
            Some(key) => self.device_of(key)?,
        };
        let Some(device) = self.devices.get_mut(index) else { return Err(Reason::NoDevice) };
        if !device.online {
            device.online = true;
            report.online(&device.name);
        }
        device.learn(&decoded, report);
        report.queue().push(Body::Reading(Reading {
            device: Arc::clone(&device.name),
            id: report.queue().name(),
            seq: device.count,
            at: now,
            values: decoded.values,
        }));
        device.count += 1;
        Ok(())
    }

    /// The device that calls itself `key`.
    fn device_of(&mut self, key: &str) -> Result<usize, Reason> {
        if let Some(index) = self.by_key.get(key) {
            return Ok(*index);
        }
        if self.by_key.len() >= DEVICES_MAX {
            return Err(Reason::TooManyDevices);
        }
        let name: DeviceName = slug(key).ok_or(Reason::Device)?.into();
        let known = self.devices.iter().position(|device| device.name == name);
        let index = known.unwrap_or_else(|| self.add(name));
        self.by_key.insert(key.into(), index);
        Ok(index)
    }

    fn add(&mut self, name: DeviceName) -> usize {
        self.devices.push(Device { name, count: 0, channels: Vec::new(), online: false });
        self.devices.len() - 1
    }

    /// Tells of an unreadable line: in the log once per opening, then for those who debug.
    fn complain(&mut self, reason: Reason, line: &[u8], report: &Report) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(port = report.path(), %reason, "cannot read a line; further ones are only counted");
        }
        report.trouble(reason.to_string());
        let shown = line.get(..SHOWN_MAX).unwrap_or(line);
        report.device_debug(&String::from_utf8_lossy(shown));
    }
}

impl Device {
    /// Describes the device anew if it has new channels.
    fn learn(&mut self, decoded: &Decoded, report: &Report) {
        let before = self.channels.len();
        for (name, _) in &decoded.values {
            if self.channels.len() < CHANNELS_MAX && !self.channels.contains(name) {
                self.channels.push(Arc::clone(name));
            }
        }
        if self.channels.len() > before {
            let channel = |name: &Arc<str>| ChannelMeta { name: name.to_string(), ..ChannelMeta::default() };
            let channels = self.channels.iter().map(channel).collect();
            report.describe(&self.name, DeviceMeta { channels, ..DeviceMeta::default() });
        }
    }
}
