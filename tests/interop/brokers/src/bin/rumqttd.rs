//! rumqttd with its sample settings.

use rumqttd::{Broker, Config};
use serde_json::json;

fn main() {
    let addresses = interop_brokers::addresses("0.20.0");
    let server = |name: &str, address| {
        json!({"1": {
            "name": name, "listen": address, "next_connection_delay_ms": 1,
            "connections": {
                "connection_timeout_ms": 60000, "max_payload_size": 20480, "max_inflight_count": 100,
                "dynamic_filters": true
            }
        }})
    };
    let config: Config = serde_json::from_value(json!({
        "id": 0,
        "router": {
            "id": 0, "max_connections": 1000, "max_outgoing_packet_count": 200,
            "max_segment_size": 104857600, "max_segment_count": 10
        },
        "v4": server("v4", addresses[0]),
        "v5": server("v5", addresses[1]),
    }))
    .expect("settings");
    Broker::new(config).start().expect("start");
}
