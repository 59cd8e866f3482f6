//! Starting the queue: from the configuration to a running storage thread.

use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

use crate::clock::{Clock, boot_id, boottime_us};
use crate::config;
use crate::topic::Topics;

use super::core::Core;
use super::desk::Replies;
use super::store::{KernelBoot, Limits, StoreError};
use super::types::{Room, Settings, WhenFull};
use super::worker::{self, Place, Worker};
use super::{Consumer, Interest, ONLOOKERS_AHEAD, Queue, Shared, State, lock};

/// What may be held in memory while the disk does not take it, in bytes; a quarter of `max_size` if
/// that is less, so that it fits in one commit.
const MEMORY_BYTES: usize = 8 * 1024 * 1024;
/// With `durability: always`, committed entries that stay in memory for bridges that keep up.
const CACHE_BYTES: usize = 256 * 1024;

/// Dead letters take at most this part of `max_size`.
const LETTERS_PART: u64 = 8;

/// Why the queue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system does not let us.
    #[error(
        "queue file {path}: {error}; check that its directory belongs to the user that runs the gateway and has space, and that \
         no other program uses the file"
    )]
    Refused {
        /// The file.
        path: String,
        /// What was said.
        error: String,
    },
    /// The thread could not be started.
    #[error("storage thread: {0}")]
    Thread(io::Error),
}

impl Queue {
    /// Opens the queue and starts its storage thread. A damaged file is set aside under a new name
    /// and a new one is begun. Where the disk is full, read-only or broken, the queue begins in
    /// memory and opens the file as soon as that can be done.
    ///
    /// # Errors
    /// [`OpenError`] when somebody must do something about it.
    pub fn open(config: &config::Queue, topics: Topics, consumers: Vec<Consumer>) -> Result<Self, OpenError> {
        let late = config.durability == config::Durability::Late;
        let limits = limits(config);
        let mut place = Place {
            path: config.path.clone(),
            bridges: consumers.iter().map(|consumer| consumer.name.clone()).collect(),
            limits: limits.clone(),
            kernel: KernelBoot { uuid: boot_id(), row: None },
            clock: Clock::default(),
        };
        let interest = Interest { topics, consumers };
        let event = interest.consumers.iter().enumerate().map(|(index, consumer)| {
            u32::from(consumer.forward.wants_own(&interest.topics.event())) << index
        });
        let settings = Settings {
            commit_within_us: micros(config.commit_within),
            commit_first: !late,
            memory_bytes: MEMORY_BYTES.min(usize::try_from(limits.max_bytes / 4).unwrap_or(MEMORY_BYTES)),
            cache_bytes: if late { 0 } else { CACHE_BYTES },
            keep_oldest: (limits.when_full == WhenFull::DropNewest)
                .then(|| Room { bytes: limits.content_bytes(), readings: limits.max_readings }),
            event_wants: event.fold(0, |a, b| a | b),
            live_first: interest.live_first(),
        };
        let start = Uuid::new_v4();
        let now = boottime_us();
        let (core, opened) = match place.open() {
            Ok(mut opened) => {
                let mut core = Core::new(settings, start, std::mem::take(&mut opened.found));
                if let Some(damage) = opened.damage.clone() {
                    core.announce_damage(damage, now);
                }
                (core, Some(opened))
            }
            Err(StoreError::Disk(error) | StoreError::Unreadable(error)) => {
                tracing::error!(
                    error,
                    "the queue file cannot be opened now: readings stay in memory until it can"
                );
                (Core::unopened(settings, start, place.bridges.len(), error, now), None)
            }
            Err(error) => {
                return Err(OpenError::Refused {
                    path: config.path.display().to_string(),
                    error: error.to_string(),
                });
            }
        };
        let clock = place.clock.clone();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { core, wakes_at: None, replies: Replies::default() }),
            work: Condvar::new(),
            pulse: OnceLock::new(),
            news: interest.consumers.iter().map(|_| Notify::new()).collect(),
            interest,
            keeps_letters: limits.letters_bytes > 0,
            clock,
            tap: Mutex::new(None),
            onlookers: broadcast::Sender::new(ONLOOKERS_AHEAD),
            worker: Mutex::new(None),
            restorers: Mutex::new(Vec::new()),
        });
        let worker = Worker::new(opened, place);
        let handle = worker::spawn(worker, Arc::clone(&shared)).map_err(OpenError::Thread)?;
        *lock(&shared.worker) = Some(handle);
        Ok(Self(shared))
    }
}

fn limits(config: &config::Queue) -> Limits {
    Limits {
        max_bytes: config.max_size,
        max_age_us: micros(config.max_age),
        max_readings: config.max_readings,
        letters_bytes: config.dead_letters.min(config.max_size / LETTERS_PART),
        when_full: match config.when_full {
            config::WhenFull::DropOldest => WhenFull::DropOldest,
            config::WhenFull::DropNewest => WhenFull::DropNewest,
            config::WhenFull::Thin => WhenFull::Thin,
        },
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
