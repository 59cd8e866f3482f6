//! What must hold for any bytes at all. The property test and the fuzz target both call it.

use serialgate_wire::{Decoder, MAX_WIRE, Message};

/// Feeds `bytes` to decoders of two sizes and checks all that comes out.
///
/// # Panics
/// When a promise is broken.
pub(crate) fn check_any_bytes(bytes: &[u8]) {
    check(Decoder::new(), bytes);
    check(Decoder::<32>::sized(), bytes);
}

fn check<const N: usize>(mut decoder: Decoder<N>, bytes: &[u8]) {
    let mut out = [0; MAX_WIRE];
    let mut delivered = 0;
    for &byte in bytes {
        match decoder.feed(byte) {
            None => {}
            Some(Ok(frame)) => {
                // COBS has one form for a frame, so the same bytes come back.
                let wire = frame.encode(&mut out).unwrap();
                delivered += wire.len() - 2;
                let Ok(message) = Message::parse(&frame) else { continue };
                let mut again = [0; MAX_WIRE];
                let again = message.encode(frame.boot8, &mut again).unwrap();
                assert_eq!(reparse(again), normal(message), "a message changed on its way");
            }
            Some(Err(rejected)) => {
                assert!(!rejected.bytes.is_empty() && !rejected.bytes.contains(&0));
                delivered += rejected.bytes.len();
            }
        }
    }
    let closed = bytes.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
    let complete = bytes[..closed].iter().filter(|byte| **byte != 0).count();
    assert!(delivered >= complete, "{delivered} of {complete} bytes were handed out");
    assert!(delivered <= bytes.len());
}

fn reparse(wire: &[u8]) -> String {
    let mut decoder = Decoder::new();
    for &byte in wire {
        if let Some(result) = decoder.feed(byte) {
            return normal(Message::parse(&result.unwrap()).unwrap());
        }
    }
    panic!("the frame did not come back");
}

/// As text, because NaN is not equal to itself.
fn normal(message: Message<'_>) -> String {
    format!("{message:?}")
}
