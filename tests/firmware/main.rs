//! The firmware of the boards against the whole gateway: the machine code of an Arduino Uno in an emulator
//! at the real one's pace, or of an STM32F405 in QEMU, a pseudo-terminal, the real binary. And what the
//! library for Arduino is made of. Needs what `scripts/setup firmware` installs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]

#[expect(dead_code, unused_imports, reason = "what other tests need")]
#[path = "../e2e/support/mod.rs"]
mod support;

mod arduino;
mod board;
mod calls;
mod chips;
mod emulated;
mod micropython;
mod outlive;
mod rust;
mod stm32;
