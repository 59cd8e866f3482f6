//! What a line tells the rest of the gateway: events, device status, its own status.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config;
use crate::flow::Asked;
use crate::queue::{Full, Queue, Ticket};
use crate::reading::{Body, DeviceName, Event, EventKind, GapReason, Loss, Stamp, Whose};
use crate::render::DeviceMeta;
use crate::status::{Cell, LivePort, PortState};
use crate::topic::{OFFLINE, ONLINE, Subject};

use super::Handles;

/// Most names of devices that one port shows in the status.
pub const DEVICES_MAX: usize = 256;

/// The voice of one line.
#[derive(Debug)]
pub struct Report {
    path: Arc<str>,
    handles: Handles,
    cell: Cell<LivePort>,
    /// Where commands to the line's devices go.
    calls: mpsc::Sender<Asked>,
}

/// What was counted since the last [`Report::count`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes read.
    pub bytes: u64,
    /// Good frames.
    pub frames: u64,
    /// Frames with a wrong check sum.
    pub bad_check: u64,
    /// Frames that could not be understood.
    pub bad_decode: u64,
    /// Good frames after bad ones.
    pub resyncs: u64,
}

/// A line that is taken out of the configuration leaves the status as well.
impl Drop for Report {
    fn drop(&mut self) {
        self.handles.status.remove(&self.cell);
    }
}

impl Report {
    /// The voice of the line at `path`, which takes commands from the other end of `calls`.
    #[must_use]
    pub fn new(path: &str, handles: Handles, calls: mpsc::Sender<Asked>) -> Self {
        let cell = handles.status.add(path);
        Self { path: path.into(), handles, cell, calls }
    }

    /// The line's path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.handles.queue
    }

    /// What all ports know of boards.
    #[must_use]
    pub fn boards(&self) -> &super::boards::Boards {
        &self.handles.boards
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.handles.queue.clock().now()
    }

    /// Adds to the counters.
    pub fn count(&self, counts: Counts, now: Stamp) {
        let mut live = self.cell.lock();
        live.port.bytes += counts.bytes;
        live.port.frames += counts.frames;
        live.port.bad_check += counts.bad_check;
        live.port.bad_decode += counts.bad_decode;
        live.port.resyncs += counts.resyncs;
        if counts.frames > 0 {
            live.last_frame_us = Some(now.us);
        }
    }

    /// The last trouble, in words.
    pub fn trouble(&self, error: String) {
        self.cell.lock().port.last_error = Some(error);
    }

    /// The device went away.
    pub fn disconnected(&self) {
        self.cell.lock().port.disconnects += 1;
    }

    /// The line's new state.
    pub fn state(&self, state: PortState) {
        let before = std::mem::replace(&mut self.cell.lock().port.state, state);
        // Silence is shown, but is no event: some sensors are silent for hours between two readings.
        let silence = [before, state].contains(&PortState::Silent) && state != PortState::Absent;
        if before != state && !silence {
            let (path, state) = (self.path.to_string(), state.as_str().to_owned());
            self.handles.queue.push(self.event(EventKind::Port { path, state }));
        }
    }

    /// Readings `from` to `to` of `device` will not come; `lost` of them are lost, about in the time
    /// `span`. The ticket tells when that is safely reported.
    ///
    /// # Errors
    /// [`Full`]: there is no room to report it.
    pub fn gap(
        &self,
        device: &DeviceName,
        (from, to): (u32, u32),
        lost: u32,
        span: Option<(Stamp, Stamp)>,
    ) -> Result<Ticket, Full> {
        let of = Whose::Device { device: Arc::clone(device), from_seq: from.into(), to_seq: to.into() };
        let loss = Loss { of, span, lost: lost.into(), reason: GapReason::Device };
        let ticket = self.handles.queue.push_ticketed(self.event(EventKind::Lost(loss)))?;
        tracing::warn!(port = &*self.path, device = &**device, from, to, lost, "readings lost by the device");
        Ok(ticket)
    }

    /// `device` is there.
    pub fn online(&self, device: &DeviceName) {
        let mut live = self.cell.lock();
        let devices = &mut live.port.device;
        if devices.len() < DEVICES_MAX && !devices.iter().any(|known| **known == **device) {
            devices.push(device.to_string());
        }
        drop(live);
        tracing::info!(port = &*self.path, device = &**device, "device online");
        self.handles.switchboard.connect(device, &self.calls);
        self.handles.bulletin.post(Subject::Status(Arc::clone(device)), ONLINE);
    }

    /// `device` is not there.
    pub fn offline(&self, device: &DeviceName) {
        tracing::info!(port = &*self.path, device = &**device, "device offline");
        self.handles.switchboard.disconnect(device, &self.calls);
        self.handles.bulletin.post(Subject::Status(Arc::clone(device)), OFFLINE);
    }

    /// What is known of `device`.
    pub fn describe(&self, device: &DeviceName, meta: DeviceMeta) {
        let meta = DeviceMeta { port: Some(self.path.to_string()), ..meta };
        self.handles.bulletin.post(Subject::Meta(Arc::clone(device)), meta.to_json());
    }

    /// A line that a device wrote for people. The text stands in the message itself: the journal
    /// shows nothing else unless it is asked to.
    pub fn device_log(&self, device: Option<&DeviceName>, line: &str) {
        let device = device.map(|device| &**device);
        tracing::info!(target: "device", port = &*self.path, device, "board: {line}");
    }

    /// So many lines more were written than are shown.
    pub fn device_log_more(&self, device: Option<&DeviceName>, more: u64) {
        let device = device.map(|device| &**device);
        tracing::info!(target: "device", port = &*self.path, device, "board: {more} more lines suppressed");
    }

    /// What came on the line and is shown to those who debug only.
    pub fn device_debug(&self, text: &str) {
        tracing::debug!(target: "device", port = &*self.path, text, "device log");
    }

    fn event(&self, kind: EventKind) -> Body {
        let queue = &self.handles.queue;
        Body::Event(Event { id: queue.name(), at: queue.clock().now(), kind })
    }
}

/// The name that `config` gives to what speaks on the line at `path`, if it gives one.
#[must_use]
pub fn configured_name(config: &config::Port, path: &str) -> Option<DeviceName> {
    let by_path = || match config.format {
        config::Format::Json if config.device_key.is_none() => config::Port::device_at(path),
        config::Format::Json | config::Format::Wire => None,
    };
    config.device.clone().or_else(by_path).map(Into::into)
}
