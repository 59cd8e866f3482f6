//! How parts show that they turn. Each has a [`Pulse`], and beats it whenever its loop comes round; a call
//! to all of them ([`Roll`]) wakes those that have nothing to do. Nobody is woken while nobody calls.

use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::boottime_us;
use crate::watchdog::Missing;

/// All parts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Roll(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The number of the last call.
    call: AtomicU64,
    /// Wakes the tasks among the parts.
    called: Notify,
    /// Wakes who called.
    answered: Notify,
    parts: Mutex<Vec<Arc<Part>>>,
}

struct Part {
    name: String,
    /// The last call that it has answered.
    answered: AtomicU64,
    /// Since when it waits for its disk, in microseconds of the boot clock; 0: it does not.
    at_disk: AtomicI64,
    /// Wakes a part that is a thread.
    wake: Option<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Roll {
    /// A new part, until its pulse is dropped.
    #[must_use]
    pub fn enter(&self, name: impl Into<String>) -> Pulse {
        self.add(name.into(), None)
    }

    /// A new part that is a thread: `wake` has it come round.
    #[must_use]
    pub fn enter_thread(&self, name: &str, wake: impl Fn() + Send + Sync + 'static) -> Pulse {
        self.add(name.to_owned(), Some(Box::new(wake)))
    }

    fn add(&self, name: String, wake: Option<Box<dyn Fn() + Send + Sync>>) -> Pulse {
        let answered = AtomicU64::new(self.0.call.load(Ordering::Relaxed));
        let part = Arc::new(Part { name, answered, at_disk: AtomicI64::new(0), wake });
        self.0.parts().push(Arc::clone(&part));
        Pulse { roll: Arc::clone(&self.0), part }
    }

    /// Calls all parts.
    pub fn call(&self) {
        self.0.call.fetch_add(1, Ordering::Relaxed);
        self.0.called.notify_waiters();
        let parts = self.0.parts().clone();
        parts.iter().filter_map(|part| part.wake.as_ref()).for_each(|wake| wake());
    }

    /// Resolves when a part has answered since the last time.
    pub async fn answered(&self) {
        self.0.answered.notified().await;
    }

    /// Who has not answered the last call.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let call = self.0.call.load(Ordering::Relaxed);
        let parts = self.0.parts();
        let missing = parts.iter().filter(|part| part.answered.load(Ordering::Relaxed) != call);
        missing
            .map(|part| Missing {
                part: part.name.clone(),
                at_disk: part.at_disk.load(Ordering::Relaxed) != 0,
            })
            .collect()
    }
}

impl Shared {
    fn parts(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Part>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part's own sign of life.
#[derive(Debug)]
pub struct Pulse {
    roll: Arc<Shared>,
    part: Arc<Part>,
}

impl Pulse {
    /// The loop comes round. Cheap.
    pub fn beat(&self) {
        let call = self.roll.call.load(Ordering::Relaxed);
        if self.part.answered.swap(call, Ordering::Relaxed) != call {
            self.roll.answered.notify_one();
        }
    }

    /// Resolves when there is a call to answer: a reason for a loop to come round. Cancel safe.
    pub async fn called(&self) {
        loop {
            // Before the look, so that no call falls in between.
            let called = self.roll.called.notified();
            if self.roll.call.load(Ordering::Relaxed) != self.part.answered.load(Ordering::Relaxed) {
                return;
            }
            called.await;
        }
    }

    /// Waits for something that has a time limit of its own, and answers calls meanwhile.
    pub async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        loop {
            self.beat();
            tokio::select! {
                biased;
                result = &mut wait => return result,
                () = self.called() => {}
            }
        }
    }

    /// Does something that the disk may hold up.
    pub fn at_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        self.part.at_disk.store(boottime_us().max(1), Ordering::Relaxed);
        let result = work();
        self.part.at_disk.store(0, Ordering::Relaxed);
        self.beat();
        result
    }

    /// For how long it has been waiting for its disk.
    #[must_use]
    pub fn at_disk_for(&self) -> Option<Duration> {
        let since = self.part.at_disk.load(Ordering::Relaxed);
        let us = (since != 0).then(|| u64::try_from(boottime_us() - since).unwrap_or(0))?;
        Some(Duration::from_micros(us))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.roll.parts().retain(|part| !Arc::ptr_eq(part, &self.part));
        self.roll.answered.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(roll: &Roll) -> Vec<String> {
        roll.missing().into_iter().map(|missing| missing.part).collect()
    }

    #[tokio::test]
    async fn an_idle_loop_is_woken_and_answers_and_one_that_hangs_does_not() {
        let roll = Roll::default();
        let (idle, hung) = (roll.enter("idle"), roll.enter("hung"));
        assert!(names(&roll).is_empty(), "nobody has called");
        let turns = tokio::spawn(async move {
            loop {
                idle.beat();
                idle.called().await;
            }
        });
        for _ in 0..3 {
            roll.call();
            while names(&roll) != ["hung"] {
                roll.answered().await;
            }
        }
        drop(hung);
        assert!(names(&roll).is_empty(), "who has left is not missed");
        turns.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_answers_calls() {
        let roll = Roll::default();
        let pulse = roll.enter("waits");
        let wait = tokio::spawn(async move {
            pulse.during(tokio::time::sleep(Duration::from_secs(100))).await;
            pulse
        });
        tokio::task::yield_now().await;
        roll.call();
        while !names(&roll).is_empty() {
            roll.answered().await;
        }
        let _pulse = wait.await.unwrap();
    }

    #[test]
    fn a_thread_at_its_disk_is_missing_with_an_excuse() {
        let roll = Roll::default();
        let pulse = roll.enter_thread("queue", || {});
        pulse.at_disk(|| {
            roll.call();
            assert_eq!(roll.missing(), [Missing { part: "queue".into(), at_disk: true }]);
            assert!(pulse.at_disk_for().is_some());
        });
        assert_eq!((roll.missing(), pulse.at_disk_for()), (vec![], None));
    }

    #[test]
    fn a_call_wakes_threads() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let roll = Roll::default();
        let _pulse = roll.enter_thread("thread", move || sender.send(()).unwrap());
        roll.call();
        receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
