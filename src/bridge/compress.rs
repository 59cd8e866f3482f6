//! Batches made smaller.

use std::io::Write as _;

use flate2::write::GzEncoder;

use crate::config::Compression;
use crate::mqtt::packet::Publish;

/// Levels above these take several times as long and save a few percent.
const GZIP_LEVEL: u32 = 6;
/// See [`GZIP_LEVEL`].
const ZSTD_LEVEL: i32 = 3;
/// Name of the MQTT 5 user property that says how a payload is packed.
const CODING_PROPERTY: &str = "content-encoding";
/// What is packed.
const CONTENT_TYPE: &str = "application/json";

/// Packs the payload, and says so in the properties, where that is shorter.
pub(super) fn compress(publish: &mut Publish, how: Compression) {
    let (name, packed) = match how {
        Compression::Gzip => ("gzip", gzip(&publish.payload)),
        Compression::Zstd => ("zstd", zstd::bulk::compress(&publish.payload, ZSTD_LEVEL).ok()),
    };
    let words = CODING_PROPERTY.len() + name.len() + CONTENT_TYPE.len();
    let Some(packed) = packed.filter(|packed| packed.len() + words < publish.payload.len()) else { return };
    publish.payload = packed.into();
    publish.properties.content_type = Some(CONTENT_TYPE.into());
    publish.properties.user.push((CODING_PROPERTY.into(), name.into()));
}

/// `None` does not happen: writing to memory does not fail.
fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}
