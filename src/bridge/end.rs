//! The end of a connection that we end ourselves.

use tokio::time::{Instant, timeout};

use crate::topic::{OFFLINE, Subject};

use super::batch;
use super::link::Connection;
use super::{Bridge, CLOSE_WITHIN, FINISH_WITHIN, State};

impl Bridge {
    /// What is not acknowledged by the end stays in the queue.
    pub(super) async fn farewell(&mut self, mut connection: Connection) {
        if !self.finish(&mut connection).await {
            return;
        }
        connection.session.say_goodbye(&self.handles.topics.of(&Subject::Gateway), OFFLINE);
        self.close(&mut connection).await;
        self.pulse(None);
        tracing::info!(bridge = %self.config.name, "bridge closed");
    }

    /// Ends a connection whose token is about to end; the next one says a new one.
    pub(super) async fn renew(&mut self, mut connection: Connection) -> State {
        if self.finish(&mut connection).await {
            connection.session.leave();
            self.close(&mut connection).await;
        }
        let left = connection.session.end();
        self.report.renewing(batch::readings_in(&left));
        self.handles.outlet.rewind();
        State::Connecting
    }

    /// Waits until what is in flight is acknowledged, for a moment; whether the connection still is
    /// there.
    async fn finish(&mut self, connection: &mut Connection) -> bool {
        let until = Instant::now() + FINISH_WITHIN;
        let mut outcomes = Vec::new();
        while connection.session.in_flight() > 0 {
            let turned = tokio::time::timeout_at(until, connection.turn(&mut outcomes)).await;
            self.settle(&mut outcomes);
            match turned {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return false,
                Err(_) => break,
            }
        }
        true
    }

    /// Either the broker closes, or we have waited long enough.
    async fn close(&mut self, connection: &mut Connection) {
        let mut outcomes = Vec::new();
        let _ = timeout(CLOSE_WITHIN, connection.close(&mut outcomes)).await;
        self.settle(&mut outcomes);
    }
}
