//! MQTT 3.1.1 and 5.0, both sides: one packet type for both versions, a codec, and the pure
//! session state that the local broker and the bridges share.
//!
//! [`packet`] is our own vocabulary, [`codec`] turns it into bytes and back (the only user of the
//! codec crate), [`session`] keeps what one side of a connection must remember.

pub mod codec;
pub mod packet;
pub mod session;
