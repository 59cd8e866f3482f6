//! Tokens that end: the connection is renewed before, and nothing is lost by that.

use super::*;

/// A shared access signature that is renewed two seconds after each connect.
fn short_lived(key: &std::path::Path) -> config::Password {
    config::Password::Sas(config::Sas {
        key: config::Secret::File(key.into()),
        resource: "hub/devices/pi".into(),
        policy: None,
        valid: Duration::from_secs(62),
    })
}

fn said(connect: &Connect) -> String {
    String::from_utf8(connect.password.clone().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_is_renewed_before_its_token_ends() {
    let mut key = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut key, b"a2V5\n").unwrap();
    let rig = Rig::with(TcpListener::bind("127.0.0.1:0").await.unwrap(), |config| {
        config.username = Some("hub/pi".into());
        config.password = Some(short_lived(key.path()));
    });
    let (mut broker, first) = rig.accept().await;
    broker.say(Packet::ConnAck(Box::new(accepted()))).await;
    broker.ack_event().await;
    rig.push(10, 1);
    assert_eq!(broker.ack_through(8).await.len(), 9);
    // The last reading is acknowledged only when the goodbye is due: it is waited for.
    let (id, last) = broker.reading().await;
    assert_eq!(last, 9);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    broker.ack(id, Reason::SUCCESS).await;
    // No word that the gateway is offline, and a goodbye that keeps the will unsaid.
    match broker.next().await {
        Some(Packet::Disconnect(end)) => assert_eq!(end.reason, Reason::SUCCESS),
        other => panic!("no goodbye: {other:?}"),
    }
    drop(broker);
    let (mut broker, second) = rig.accept().await;
    assert!(said(&first).starts_with("SharedAccessSignature sr=hub%2Fdevices%2Fpi&sig="));
    assert_ne!(said(&first), said(&second));
    broker.say(Packet::ConnAck(Box::new(accepted()))).await;
    rig.push(1, 1);
    assert_eq!(broker.ack_through(10).await, [10]);
    let status = rig.status.lock().clone();
    assert_eq!((status.duplicates_possible, status.last_error), (0, None));
}
