//! One client's conversation with the broker, without a socket. The fuzz target uses this file, too.

use std::time::Duration;

use serialgate::broker::Broker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Passes when nobody has anything to do any more.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Bytes that may be on their way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

/// Says `bytes` to the broker, in pieces of at most `piece` bytes, and closes once that has been dealt
/// with: the clock stands still as long as anybody has something to do. What the broker said.
pub(crate) async fn converse(broker: &Broker, bytes: &[u8], piece: usize) -> Vec<u8> {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (mut reader, mut writer) = tokio::io::split(ours);
    let say = async {
        for piece in bytes.chunks(piece.max(1)) {
            // The broker may have closed: it is right to, at most of what it gets here.
            if writer.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(A_MOMENT).await;
        let _ = writer.shutdown().await;
    };
    let hear = async {
        let mut heard = Vec::new();
        let _ = reader.read_to_end(&mut heard).await;
        heard
    };
    let (_, (), heard) = tokio::join!(broker.serve_stream(theirs, CancellationToken::new()), say, hear);
    heard
}
