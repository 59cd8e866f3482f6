//! The library for Arduino on chips whose core is not here: compiled against a stub of each core, and run on
//! this machine as far as what it says first.

use std::process::Command;

use serialgate_wire::{Decoder, Message, Value};

use crate::board::make;

#[test]
fn a_board_of_each_chip_says_who_it_is() {
    let built = make("chips");
    for (chip, uid) in [
        ("esp8266", &[0xEE, 0xFF, 0xC0, 0x00, 0xEF, 0x40, 0x16, 0x00][..]),
        ("esp32", &[0x24, 0x0A, 0xC4, 0x01, 0x02, 0x03]),
        ("rp2040", &[0xE6, 0x60, 0x58, 0x38, 0x83, 0x11, 0x22, 0x33]),
        ("stm32", &[0x03, 0x02, 0x01, 0x00, 0x07, 0x06, 0x05, 0x04, 0x0B, 0x0A, 0x09, 0x08]),
        // Nothing is known of these: a sketch has to call setUid().
        ("rp2040-mbed", b"unnamed"),
        ("samd", b"unnamed"),
    ] {
        let said = Command::new(built.join(format!("chips/{chip}/hello"))).output().unwrap();
        assert!(said.status.success(), "{chip}");
        let (mut decoder, mut heard) = (Decoder::new(), Vec::new());
        for byte in said.stdout {
            let Some(frame) = decoder.feed(byte) else { continue };
            match Message::parse(&frame.unwrap()).unwrap() {
                Message::Hello(hello) => {
                    assert_eq!((hello.uid, hello.firmware), (uid, "stub 1.0"), "{chip}");
                    assert_ne!(hello.boot, 0, "{chip}");
                    heard.push("HELLO".to_owned());
                }
                Message::Data(data) => {
                    let values: Vec<_> = data.items.map(|item| item.value).collect();
                    let [Value::Decimal { mantissa, exponent }] = values[..] else { panic!("{values:?}") };
                    heard.push(format!("{:?}e{}", mantissa.to_i64(), exponent.get()));
                }
                other => panic!("{chip}: {other:?}"),
            }
        }
        assert_eq!(heard, ["HELLO", "Some(2345)e-2"], "{chip}");
    }
}
