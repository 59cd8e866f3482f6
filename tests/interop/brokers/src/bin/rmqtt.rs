//! rmqtt's broker without plugins.

use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;

#[tokio::main]
async fn main() {
    let addresses = interop_brokers::addresses("0.24.0");
    let context = ServerContext::new().build().await;
    let listener = Builder::new().name("tcp").laddr(addresses[0]).allow_zero_keepalive(true).bind();
    let listener = listener.and_then(|listener| listener.tcp()).expect("listener");
    MqttServer::new(context).listener(listener).build().run().await.expect("run");
}
