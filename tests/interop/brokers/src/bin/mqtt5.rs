//! mqtt5's broker.

use mqtt5::broker::{BrokerConfig, MqttBroker};

#[tokio::main]
async fn main() {
    let addresses = interop_brokers::addresses("0.49.0");
    let mut config = BrokerConfig { bind_addresses: vec![addresses[0]], ..Default::default() };
    config.auth_config.allow_anonymous = true;
    let mut broker = MqttBroker::with_config(config).await.expect("start");
    broker.run().await.expect("run");
}
