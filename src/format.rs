//! Formats of ports: how the bytes of a line become readings.
//!
//! Two layers, both pure and push-style, so that no read of the driver needs to be a whole frame:
//! a framer finds where a frame begins and ends ([`lines`]), a decoder reads what stands in it
//! ([`json`]). Every limit is named; whatever breaks one is skipped, given a [`Reason`] and counted.
//! Wire v1 has its own framer and decoder in the `serialgate-wire` crate; its host side is
//! [`crate::wire`].

pub mod json;
pub mod lines;

use std::sync::Arc;

use crate::reading::Value;

/// The values of one frame, and whose they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What stood under the port's `device_key`, as text; `None` where the port has none or the
    /// frame does not hold it.
    pub device: Option<String>,
    /// Channel name and value, in the order of the frame.
    pub values: Vec<(Arc<str>, Value)>,
}

/// Why a frame could not be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Reason {
    /// The line is longer than [`lines::LINE_MAX`].
    #[error("line is longer than {} bytes", lines::LINE_MAX)]
    TooLong,
    /// The line is not UTF-8 text.
    #[error("line is not UTF-8 text")]
    NotUtf8,
    /// The line does not begin with `{`.
    #[error("line is not a JSON object")]
    NotObject,
    /// The line begins like a JSON object and is none.
    #[error("line is not valid JSON")]
    Syntax,
    /// The same name stands twice in the object.
    #[error("name stands twice in one object")]
    Duplicate,
    /// The object holds no values.
    #[error("object holds no values")]
    Empty,
    /// The object holds more than [`json::CHANNELS_MAX`] values.
    #[error("more than {} values in one object", json::CHANNELS_MAX)]
    TooMany,
    /// A name is empty or longer than [`json::NAME_MAX`].
    #[error("name is empty or longer than {} bytes", json::NAME_MAX)]
    Name,
    /// A text is longer than [`json::TEXT_MAX`], or a nested value than [`json::FRAGMENT_MAX`].
    #[error("value is too long")]
    ValueTooLong,
    /// A nested value is deeper than [`json::DEPTH_MAX`].
    #[error("value is nested more than {} deep", json::DEPTH_MAX)]
    TooDeep,
    /// What stands under the device key is no name: neither text nor a number.
    #[error("device key holds neither text nor a number")]
    Device,
    /// The object does not hold the device key.
    #[error("object does not hold the device key")]
    NoDevice,
    /// More names of devices than one port may bring.
    #[error("too many devices on one port")]
    TooManyDevices,
}
