//! A client between its CONNECT and our answer.

use crate::mqtt::packet::Connect;

/// A client that has said CONNECT.
#[derive(Debug)]
pub(in crate::broker) struct Newcomer {
    pub(in crate::broker) connect: Connect,
    /// It has left the choice of its client id to us.
    pub(super) is_assigned: bool,
}

impl Newcomer {
    /// Gives it a client id if it has none.
    pub(in crate::broker) fn new(mut connect: Connect) -> Self {
        let is_assigned = connect.client_id.is_empty();
        if is_assigned {
            connect.client_id = format!("serialgate-{}", uuid::Uuid::new_v4().simple()).into();
        }
        Self { connect, is_assigned }
    }
}
