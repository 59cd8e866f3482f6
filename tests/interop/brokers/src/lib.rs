//! What the programs share: their arguments.

use std::net::SocketAddr;

/// `--version` prints `version` and ends; else the ports for plain MQTT (3.1.1, and 5 where that is
/// apart), as addresses on loopback.
pub fn addresses(version: &str) -> Vec<SocketAddr> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--version") {
        println!("{version}");
        std::process::exit(0);
    }
    let port = |text: &String| SocketAddr::from(([127, 0, 0, 1], text.parse().expect("a port")));
    arguments.iter().map(port).collect()
}
