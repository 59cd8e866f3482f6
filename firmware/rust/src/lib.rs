//! Serialgate wire protocol, version 1: what a microcontroller and the gateway say over a UART.
//!
//! ```text
//!   00 | COBS( type flags boot8 seq seq  payload…  crc crc crc crc ) | 00
//! ```
//!
//! - [`Decoder`] takes bytes one at a time and gives [`Frame`]s, or the chunks that are none.
//! - [`Message`] is what a frame says; it is parsed in place and encoded into the caller's buffer.
//! - [`Items`] and [`Value`] are the measured values inside a message.
//!
//! There is no allocation, no unsafe code, no floating-point arithmetic and no dependency: the
//! same code runs in the gateway and on a board with a few kilobytes of memory. The session rules
//! (who acknowledges what, and when) belong to the two ends; this crate only knows the words.
//!
//! ```
//! use serialgate_wire::{Ack, Decoder, MAX_WIRE, Message};
//!
//! let mut buffer = [0; MAX_WIRE];
//! let bytes = Message::Ack(Ack { next: 1, rewind: false }).encode(0x2A, &mut buffer).unwrap();
//!
//! let mut decoder = Decoder::new();
//! for &byte in bytes {
//!     if let Some(Ok(frame)) = decoder.feed(byte) {
//!         assert_eq!(Message::parse(&frame), Ok(Message::Ack(Ack { next: 1, rewind: false })));
//!     }
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::indexing_slicing, reason = "tests"))]

mod bytes;
mod crc;
mod decoder;
mod frame;
mod message;
mod value;

pub use bytes::NoRoom;
pub use crc::Crc32;
pub use decoder::{Decoder, Reject, Rejected};
pub use frame::{Frame, Kind, MAX_CHUNK, MAX_PAYLOAD, MAX_RAW, MAX_WIRE, flags};
pub use message::{Ack, Call, CallResult, Class, Data, Describe, DescribeReq, Hello, Message, PayloadError};
pub use value::{Exponent, Int, Item, ItemWriter, Items, Value};
