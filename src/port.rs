//! stub
#![expect(missing_docs, unused)]
use crate::{
    config,
    flow::Bulletin,
    queue::Queue,
    status::{self, Cell},
};
use tokio_util::sync::CancellationToken;
pub struct Handles {
    pub queue: Queue,
    pub bulletin: Bulletin,
    pub status: Cell<Vec<Cell<status::Port>>>,
}
pub struct Port;
impl Port {
    pub fn new(_: config::Port, _: Handles) -> Self {
        Port
    }
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await
    }
}
