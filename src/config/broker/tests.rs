use insta::assert_snapshot;

use super::*;
use crate::config::{Config, Identity};

fn parse(text: &str) -> Broker {
    let config = Config::parse(text, "/etc/serialgate/serialgate.yaml");
    config.unwrap_or_else(|error| panic!("{error}")).broker
}

/// Each text with what is said of it.
fn said(texts: &[&str]) -> String {
    let say = |text: &&str| {
        let error = Config::parse(text, "s.yaml").expect_err("should be refused");
        format!("{}\n{error}\n", text.trim_end())
    };
    texts.iter().map(say).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_of_a_listener_arrives_where_it_belongs() {
    let broker = parse(
        "broker:
  listen:
    - 127.0.0.1:1884
    - {address: '[::1]:1883', websocket: false}
    - {address: '0.0.0.0:8883', tls: {certificate: server.pem, key: /keys/server.key, client_ca: ca.pem}}
    - {address: '127.0.0.1:8084', websocket: true, tls: {certificate: a, key: b}}
",
    );
    let identity =
        |certificate: &str, key: &str| Identity { certificate: certificate.into(), key: key.into() };
    let strict = ServerTls {
        identity: identity("/etc/serialgate/server.pem", "/keys/server.key"),
        client_ca: Some("/etc/serialgate/ca.pem".into()),
    };
    let open = ServerTls { identity: identity("/etc/serialgate/a", "/etc/serialgate/b"), client_ca: None };
    let at = |address: &str| Listener::plain(address.parse().unwrap());
    let expected = [
        at("127.0.0.1:1884"),
        at("[::1]:1883"),
        Listener { tls: Some(strict), ..at("0.0.0.0:8883") },
        Listener { tls: Some(open), websocket: true, ..at("127.0.0.1:8084") },
    ];
    assert_eq!(broker.listen, expected);
    assert_eq!(
        broker.listen.iter().map(Listener::wants_certificates).collect::<Vec<_>>(),
        [false, false, true, false]
    );
}

#[test]
fn listeners_that_cannot_be() {
    let texts = [
        "broker: {listen: ['localhost:1884', 127.0.0.1]}\n",
        "broker: {listen: ['[::1]:1883', '[::1]:1883']}\n",
        "broker: {listen: [{address: '127.0.0.1:1', websocket: yes, tls: {certificate: a, client_ka: b}}]}\n",
        "broker: {listen: [{address: '127.0.0.1:1', tls: true}]}\n",
    ];
    assert_snapshot!(said(&texts), @r"
    broker: {listen: ['localhost:1884', 127.0.0.1]}
    s.yaml:1:19: listen: `localhost:1884` is not an IP address with a port; write `127.0.0.1:1884` for this machine only, `0.0.0.0:1884` for the network
    s.yaml:1:37: listen: `127.0.0.1` is not an IP address with a port; write `127.0.0.1:1883` for this machine only, `0.0.0.0:1883` for the network

    broker: {listen: ['[::1]:1883', '[::1]:1883']}
    s.yaml:1:33: `[::1]:1883` stands in `listen` twice; keep one of the two, or give each a port of its own

    broker: {listen: [{address: '127.0.0.1:1', websocket: yes, tls: {certificate: a, client_ka: b}}]}
    s.yaml:1:55: websocket: there is no `yes`; write `true` or `false`
    s.yaml:1:65: `tls` has no `key`; add a line such as `key: server.key`
    s.yaml:1:82: `tls` has no key `client_ka`; did you mean `client_ca`?

    broker: {listen: [{address: '127.0.0.1:1', tls: true}]}
    s.yaml:1:49: `tls` is a group of keys, and here stands a single value; write lines of the form `key: value`
    ");
}

#[test]
fn two_listeners_that_are_one_port() {
    let wildcard = "tls: {certificate: a, key: b, client_ca: c}";
    let both = |one: &str, two: &str| {
        format!("broker: {{listen: [{{address: '{one}', {wildcard}}}, {{address: '{two}', {wildcard}}}]}}")
    };
    for (one, two) in [
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "127.0.0.1:1"),
        ("[::1]:1", "[::]:1"),
        ("[::]:1", "0.0.0.0:1"),
    ] {
        let said = said(&[&both(one, two)]);
        assert!(said.contains(&format!("`{two}` and `{one}` are one port")), "{said}");
    }
    for (one, two) in [("0.0.0.0:1", "[::1]:1"), ("127.0.0.1:1", "127.0.0.2:1"), ("0.0.0.0:0", "127.0.0.1:0")]
    {
        assert_eq!(parse(&both(one, two)).listen.len(), 2);
    }
}

#[test]
fn what_the_network_reaches_must_know_its_clients() {
    let texts = [
        "broker: {listen: ['0.0.0.0:1883']}\n",
        "broker:\n  listen:\n    - {address: '[::]:8883', tls: {certificate: a, key: b}}\n",
        "broker: {listen: [{address: '192.168.1.5:80', websocket: true}]}\n",
    ];
    assert_snapshot!(said(&texts), @r"
    broker: {listen: ['0.0.0.0:1883']}
    s.yaml:1:19: listen: `0.0.0.0:1883` can be reached from the network, and anybody could read and send everything; add `users` (`serialgate passwd NAME` makes one), or `client_ca` to its `tls`, so that clients need a certificate, or write `127.0.0.1:1883`, which only this machine reaches

    broker:
      listen:
        - {address: '[::]:8883', tls: {certificate: a, key: b}}
    s.yaml:3:7: listen: `[::]:8883` can be reached from the network, and anybody could read and send everything; add `users` (`serialgate passwd NAME` makes one), or `client_ca` to its `tls`, so that clients need a certificate, or write `127.0.0.1:8883`, which only this machine reaches

    broker: {listen: [{address: '192.168.1.5:80', websocket: true}]}
    s.yaml:1:19: listen: `192.168.1.5:80` can be reached from the network, and anybody could read and send everything; add `users` (`serialgate passwd NAME` makes one), or `client_ca` to its `tls`, so that clients need a certificate, or write `127.0.0.1:80`, which only this machine reaches
    ");
    parse("broker: {listen: [{address: '0.0.0.0:8883', tls: {certificate: a, key: b, client_ca: c}}]}");
    parse("broker: {listen: ['0.0.0.0:1883'], users: [{name: a}]}");
    parse("broker: {listen: ['127.3.2.1:1883', '[::1]:1883', '[::ffff:127.0.0.1]:1884']}");
}

#[test]
fn every_limit_arrives_where_it_belongs() {
    let broker = parse(
        "broker:
  limits:
    connections: 50
    connections_per_address: 5
    handshakes: 20
    sessions: 60
    subscriptions: 7
    packet: 256KiB
    queue_messages: 8
    queue: 1MiB
    all_queues: 9MiB
    in_flight: 10
    receive_maximum: 11
    retained_messages: 0
    retained: 64KiB
",
    );
    let expected = Limits {
        connections: 50,
        connections_per_address: 5,
        handshakes: 20,
        sessions: 60,
        subscriptions: 7,
        packet_bytes: 256 << 10,
        queue_messages: 8,
        queue_bytes: 1 << 20,
        all_queues_bytes: 9 << 20,
        in_flight: 10,
        receive_maximum: 11,
        retained_messages: 0,
        retained_bytes: 64 << 10,
    };
    assert_eq!(broker.limits, expected);
}

#[test]
fn limits_that_cannot_be() {
    let texts = [
        "broker: {limits: {connections: 0, packet: 1GiB, queue: 1000, receive_maximum: many}}\n",
        "broker: {limits: {queue: 8MiB, all_queues: 4MiB, connections: 100, sessions: 99}}\n",
        "broker: {limits: {queue: 64MiB, connections: 5000}}\n",
        "broker: {limits: {max_connections: 5}}\n",
        "broker: {limits: [1]}\n",
    ];
    assert_snapshot!(said(&texts), @r"
    broker: {limits: {connections: 0, packet: 1GiB, queue: 1000, receive_maximum: many}}
    s.yaml:1:32: connections: `0` is out of range; write a number from 1 to 10000
    s.yaml:1:43: packet: `1GiB` is too much; write something from 1KiB to 64MiB
    s.yaml:1:56: queue: `1000` has no unit; write a whole number and one of KiB, MiB, GiB, TiB, such as `1MiB`
    s.yaml:1:79: receive_maximum: `many` is not a whole number; write for example `receive_maximum: 1000`

    broker: {limits: {queue: 8MiB, all_queues: 4MiB, connections: 100, sessions: 99}}
    s.yaml:1:44: all_queues: the queue of one client would be larger than those of all together; write a larger `all_queues` or a smaller `queue`
    s.yaml:1:78: sessions: each connected client has a session; write a larger `sessions` or a smaller `connections`

    broker: {limits: {queue: 64MiB, connections: 5000}}
    s.yaml:1:26: queue: the queue of one client would be larger than those of all together; write a larger `all_queues` or a smaller `queue`
    s.yaml:1:46: connections: each connected client has a session; write a larger `sessions` or a smaller `connections`

    broker: {limits: {max_connections: 5}}
    s.yaml:1:19: `limits` has no key `max_connections`; the keys here are `connections`, `connections_per_address`, `handshakes`, `sessions`, `subscriptions`, `packet`, `queue_messages`, `queue`, `all_queues`, `in_flight`, `receive_maximum`, `retained_messages` and `retained`

    broker: {limits: [1]}
    s.yaml:1:18: `limits` is a group of keys, and here stands a list; write lines of the form `key: value`
    ");
}

#[test]
fn the_queue_and_the_local_broker_never_share_a_file() {
    let texts = [
        "queue: {path: /data/all.db}\nbroker: {path: /data/all.db}\n",
        "queue: {path: data/../all.db}\nbroker:\n  path: ./all.db\n",
        "broker: {path: /var/lib/serialgate//queue.db}\n",
        "queue: {path: /data/broker.db}\n",
    ];
    assert_snapshot!(said(&texts), @r"
    queue: {path: /data/all.db}
    broker: {path: /data/all.db}
    s.yaml:2:16: path: `/data/all.db` would be the file of the queue and of the local broker; give each a file of its own, such as `path: queue.db` in `queue` and `path: broker.db` in `broker`

    queue: {path: data/../all.db}
    broker:
      path: ./all.db
    s.yaml:3:9: path: `data/../all.db` would be the file of the queue and of the local broker; give each a file of its own, such as `path: queue.db` in `queue` and `path: broker.db` in `broker`

    broker: {path: /var/lib/serialgate//queue.db}
    s.yaml:1:16: path: `/var/lib/serialgate/queue.db` would be the file of the queue and of the local broker; give each a file of its own, such as `path: queue.db` in `queue` and `path: broker.db` in `broker`

    queue: {path: /data/broker.db}
    s.yaml:1:8: path: `/data/broker.db` would be the file of the queue and of the local broker; give each a file of its own, such as `path: queue.db` in `queue` and `path: broker.db` in `broker`
    ");
    let error = Config::parse("queue: {path: q.db}\nbroker: {path: /etc/x/../q.db}", "/etc/s.yaml");
    assert!(error.is_err());
    for text in ["queue: {path: /a/q.db}\nbroker: {path: /b/q.db}", "queue: {path: /a/q.db}"] {
        parse(text);
    }
}
