//! Which line a device is on, for commands to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::call::{Answer, Call, Failure};
use crate::reading::DeviceName;

/// Most devices that are named when one is not found.
const NAMED_MAX: usize = 10;

/// A command on its way to a device.
#[derive(Debug)]
pub struct Asked {
    /// Whose.
    pub device: DeviceName,
    /// What is to be done.
    pub call: Call,
    /// Who is told what becomes of it.
    pub reply: Reply,
}

/// Tells what became of a command, once. One that is dropped tells that nobody knows.
pub struct Reply(Option<Box<dyn FnOnce(Answer) + Send>>);

impl Reply {
    /// Whoever is to be told: `tell` must neither block nor wait.
    #[must_use]
    pub fn new(tell: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// That became of it.
    pub fn send(mut self, answer: Answer) {
        if let Some(tell) = self.0.take() {
            tell(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Failure::Gone.into());
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// The devices that are there, and the lines that take commands for them.
#[derive(Clone, Debug, Default)]
pub struct Switchboard(Arc<Mutex<BTreeMap<DeviceName, mpsc::Sender<Asked>>>>);

impl Switchboard {
    /// `device` is on this line now.
    pub fn connect(&self, device: &DeviceName, line: &mpsc::Sender<Asked>) {
        self.lock().insert(Arc::clone(device), line.clone());
    }

    /// `device` is not on this line any more. It may be on another one.
    pub fn disconnect(&self, device: &DeviceName, line: &mpsc::Sender<Asked>) {
        let mut lines = self.lock();
        if lines.get(device).is_some_and(|known| known.same_channel(line)) {
            lines.remove(device);
        }
    }

    /// Hands a command to the line that its device is on. Answers it where there is none, or where the
    /// line has too many.
    pub fn call(&self, asked: Asked) {
        let Some(line) = self.lock().get(&asked.device).cloned() else {
            let why = self.missing(&asked.device);
            return asked.reply.send(Failure::Offline(why).into());
        };
        match line.try_send(asked) {
            Ok(()) => {}
            Err(TrySendError::Full(asked)) => asked.reply.send(Failure::Busy.into()),
            Err(TrySendError::Closed(asked)) => {
                let why = format!("the port of device {} is being closed", asked.device);
                asked.reply.send(Failure::Offline(why).into());
            }
        }
    }

    fn missing(&self, device: &str) -> String {
        let lines = self.lock();
        let mut known: Vec<&str> = lines.keys().take(NAMED_MAX).map(|name| &**name).collect();
        if lines.len() > NAMED_MAX {
            known.push("…");
        }
        match known.as_slice() {
            [] => format!("device {device} is not online, and no other is"),
            known => format!("device {device} is not online; those that are: {}", known.join(", ")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceName, mpsc::Sender<Asked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(device: &str, answers: &Arc<Mutex<Vec<Answer>>>) -> Asked {
        let answers = Arc::clone(answers);
        let reply = Reply::new(move |answer| answers.lock().unwrap().push(answer));
        Asked { device: device.into(), call: Call::Reboot, reply }
    }

    #[test]
    fn every_command_is_answered_once() {
        let (board, answers) = (Switchboard::default(), Arc::default());
        let (line, mut commands) = mpsc::channel(1);
        board.connect(&"shed".into(), &line);
        for device in ["attic", "shed", "shed"] {
            board.call(asked(device, &answers));
        }
        let offline = Failure::Offline("device attic is not online; those that are: shed".into());
        assert_eq!(*answers.lock().unwrap(), [offline.into(), Failure::Busy.into()]);
        drop(commands.try_recv().unwrap());
        assert_eq!(answers.lock().unwrap().len(), 3);
        assert_eq!(answers.lock().unwrap()[2], Failure::Gone.into());
    }

    #[test]
    fn a_device_that_moved_stays_where_it_is_now() {
        let (board, answers) = (Switchboard::default(), Arc::default());
        let [(old, _old), (new, mut commands)] = [mpsc::channel(1), mpsc::channel(1)];
        let shed = DeviceName::from("shed");
        board.connect(&shed, &old);
        board.connect(&shed, &new);
        board.disconnect(&shed, &old);
        board.call(asked("shed", &answers));
        assert_eq!(commands.try_recv().unwrap().device, shed);
        board.disconnect(&shed, &new);
        board.call(asked("shed", &answers));
        let none = Failure::Offline("device shed is not online, and no other is".into());
        assert_eq!(*answers.lock().unwrap().last().unwrap(), none.into());
    }
}
