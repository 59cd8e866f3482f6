//! JSON lines, good and bad.

use serialgate::config;
use serialgate::reading::Value;
use serialgate::topic::Subject;

use crate::support::{Rig, json, number};

#[tokio::test]
async fn lines_become_readings() {
    let mut rig = Rig::new();
    let mut cable = rig.start_plugged(json()).await;
    cable.send(b"{\"temp\":23.45,\"ok\":true}\n{\"temp\":").await;
    let reading = rig.next_reading().await;
    assert_eq!((&*reading.device, reading.seq), ("tty", 0));
    let temp = Value::Decimal { mantissa: 2345, exponent: -2 };
    assert_eq!(reading.values, [("temp".into(), temp), ("ok".into(), Value::Bool(true))]);
    cable.send(b"7}\r\n").await;
    let reading = rig.next_reading().await;
    assert_eq!((reading.seq, number(&reading)), (1, 7));
    assert_eq!(rig.post(&Subject::Status("tty".into())).as_deref(), Some("online"));
    let meta = rig.post(&Subject::Meta("tty".into())).unwrap();
    assert!(meta.contains(r#""channels":[{"name":"temp"},{"name":"ok"}]"#), "{meta}");
    let status = rig.status();
    assert_eq!((status.frames, status.bad_decode, status.device), (2, 0, vec!["tty".to_owned()]));
    assert!(status.last_frame_age_s.unwrap() < 20.0);
    rig.stop().await;
}

#[tokio::test]
async fn garbage_is_counted_and_stops_nothing() {
    let mut rig = Rig::new();
    let mut cable = rig.start_plugged(json()).await;
    cable.send(b"45,\"torn\":1}\n{\"n\":0}\n").await;
    assert_eq!(number(&rig.next_reading().await), 0);
    assert_eq!(rig.status().bad_decode, 0, "the first line may be the end of one");
    let long = vec![b'x'; 1_000_000];
    let bad: [&[u8]; 7] = [
        b"\xff\xfe{\"n\":1}",
        b"{\"n\":1",
        b"boot: 1, 2, 3",
        b"{\"n\":[1,]}",
        b"{\"n\":1}{\"n\":1}",
        b"{}",
        &long,
    ];
    for (round, bad) in (1..).zip(bad) {
        cable.send(bad).await;
        cable.send(format!("\n\0\0{{\0\"n\":{round}}}\r\n").as_bytes()).await;
        assert_eq!(number(&rig.next_reading().await), round);
        let status = rig.status();
        let counted = (status.frames, status.bad_decode, status.resyncs);
        let round = u64::try_from(round).unwrap();
        assert_eq!(
            counted,
            (round + 1, round, round),
            "{}",
            String::from_utf8_lossy(&bad[..bad.len().min(20)])
        );
    }
    assert_eq!(rig.status().last_error.as_deref(), Some("line is longer than 16384 bytes"), "the newest");
    rig.stop().await;
}

#[tokio::test]
async fn one_line_can_carry_many_devices_but_not_any_number() {
    let mut rig = Rig::new();
    let port = config::Port { device_key: Some("id".into()), ..json() };
    let mut cable = rig.start_plugged(port).await;
    for (line, device, seq) in [
        ("{\"id\":\"Shed 1\",\"n\":1}\n", "shed_1", 0),
        ("{\"n\":2,\"id\":7}\n", "7", 0),
        ("{\"id\":\"shed_1\",\"n\":3}\n", "shed_1", 1),
    ] {
        cable.send(line.as_bytes()).await;
        let reading = rig.next_reading().await;
        assert_eq!((&*reading.device, reading.seq, reading.values.len()), (device, seq, 1));
    }
    cable.send(b"{\"n\":4}\n").await;
    for n in 0..300 {
        cable.send(format!("{{\"id\":\"d{n}\",\"n\":{n}}}\n").as_bytes()).await;
    }
    rig.wait_for("all lines", || rig.status().frames + rig.status().bad_decode == 304).await;
    let status = rig.status();
    assert_eq!(status.device.len(), 255, "256 names, two of which are one");
    assert_eq!(status.bad_decode, 1 + 300 - 253);
    rig.stop().await;
}
