//! Which calls fail, and how.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::interpose::{Call, Verdict, Watch};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NoSpace,
    Io,
    ReadOnly,
    /// Half of what should be written is.
    Short,
}

/// Of the calls that can fail so, these do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// The number of the first, from 1.
    pub(crate) first: usize,
    /// How many in a row.
    pub(crate) calls: usize,
}

/// Lets calls fail as planned.
pub(crate) struct Injector {
    plan: Plan,
    seen: AtomicUsize,
}

impl Injector {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, seen: AtomicUsize::new(0) }
    }

    /// Whether a call has failed.
    pub(crate) fn has_struck(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.plan.first
    }
}

impl Watch for Injector {
    fn before(&self, call: Call<'_>) -> Verdict {
        let Some(verdict) = verdict(self.plan.fault, call) else { return Verdict::Pass };
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = (self.plan.first..self.plan.first + self.plan.calls).contains(&number);
        if fails { verdict } else { Verdict::Pass }
    }

    fn after(&self, _: Call<'_>) {}
}

/// How `call` fails; `None` when it cannot for this reason.
fn verdict(fault: Fault, call: Call<'_>) -> Option<Verdict> {
    let changes_names = matches!(call, Call::Rename { .. } | Call::Unlink { .. } | Call::MakeFolder { .. });
    match (fault, call) {
        (Fault::NoSpace, Call::Open { creates: true, .. } | Call::Write { .. } | Call::MakeFolder { .. }) => {
            Some(Verdict::Fail(Errno::ENOSPC))
        }
        (Fault::Io, _) => Some(Verdict::Fail(Errno::EIO)),
        (Fault::ReadOnly, Call::Open { writable: true, .. } | Call::Write { .. } | Call::Truncate { .. }) => {
            Some(Verdict::Fail(Errno::EROFS))
        }
        (Fault::ReadOnly, _) if changes_names => Some(Verdict::Fail(Errno::EROFS)),
        (Fault::Short, Call::Write { data, .. }) => Some(Verdict::Short(data.len() / 2)),
        (Fault::NoSpace | Fault::ReadOnly | Fault::Short, _) => None,
    }
}
