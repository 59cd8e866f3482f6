//! The local broker's doors over real sockets: TCP, TLS, client certificates, WebSocket; silent, slow
//! and wrong clients; limits; and the reload of the real daemon.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod crowds;
mod daemon;
mod papers;
mod reload;
mod site;
mod tls;
mod websocket;
