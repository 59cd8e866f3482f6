//! Files with mistakes: each is named with its place and its remedy.

use super::*;

/// What is said about each of `texts`, after the text itself.
fn all(texts: &[&str]) -> String {
    let each = texts.iter().map(|text| format!("{}\n{}", text.trim_end(), mistakes(text)));
    each.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn syntax() {
    let texts = [
        "gateway: a\nports:\n  - path: /dev/ttyUSB0\n   format: json\n",
        "ports: [\n",
        "a: 1\n---\nb: 2\n",
        "a: *b\n",
    ];
    assert_snapshot!(all(&texts), @r"
    gateway: a
    ports:
      - path: /dev/ttyUSB0
       format: json
    s.yaml:4:4: while parsing a block collection, did not find expected '-' indicator; check the indentation (spaces, never tabs), the brackets and the quotes here

    ports: [
    s.yaml:1:8: unclosed bracket '['; check the indentation (spaces, never tabs), the brackets and the quotes here

    a: 1
    ---
    b: 2
    s.yaml:3:1: a second document begins here; keep one, without `---` between

    a: *b
    s.yaml:1:4: this refers to an anchor that is not there; put a text that begins with * in quotes
    ");
}

#[test]
fn unknown_keys() {
    let texts = [
        "qeue: {}\n",
        "ports:\n  - path: /dev/ttyUSB0\n    baudrate: 9600\n",
        "colour: green\n",
        "broker: {listen: [{adress: 127.0.0.1:1883}]}\n",
        "[a, b]: 1\n",
    ];
    assert_snapshot!(all(&texts), @r"
    qeue: {}
    s.yaml:1:1: the configuration has no key `qeue`; did you mean `queue`?

    ports:
      - path: /dev/ttyUSB0
        baudrate: 9600
    s.yaml:3:5: a port has no key `baudrate`; did you mean `baud`?

    colour: green
    s.yaml:1:1: the configuration has no key `colour`; the keys here are `gateway`, `base`, `ports`, `queue`, `broker`, `bridges` and `control`

    broker: {listen: [{adress: 127.0.0.1:1883}]}
    s.yaml:1:19: a listener has no `address`; add a line such as `address: 127.0.0.1:1883`
    s.yaml:1:20: a listener has no key `adress`; did you mean `address`?

    [a, b]: 1
    s.yaml:1:1: this key is a list; write a word
    ");
}

#[test]
fn repeated_keys() {
    let texts = ["gateway: a\nbase: b\ngateway: c\n"];
    assert_snapshot!(all(&texts), @r"
    gateway: a
    base: b
    gateway: c
    s.yaml:3:1: `gateway` stands in the configuration already, in line 1; keep one of the two
    ");
}

#[test]
fn wrong_types() {
    let texts = [
        "- a\n- b\n",
        "ports: /dev/ttyUSB0\n",
        "ports: [/dev/ttyUSB0]\n",
        "gateway: [a]\n",
        "gateway:\n",
        "gateway: \"a\\nb\"\n",
        "ports: [{path: /dev/ttyUSB0, baud: fast}]\n",
        "ports: [{path: /dev/ttyUSB0, baud: 1e5}]\n",
    ];
    assert_snapshot!(all(&texts), @r#"
    - a
    - b
    s.yaml:1:1: the configuration is a group of keys, and here stands a list; write lines of the form `key: value`

    ports: /dev/ttyUSB0
    s.yaml:1:8: ports: here stands a single value, not a list; write one port per line, as in `- path: /dev/ttyUSB0`

    ports: [/dev/ttyUSB0]
    s.yaml:1:9: a port is a group of keys, and here stands a single value; write lines of the form `key: value`

    gateway: [a]
    s.yaml:1:10: gateway: here stands a list, not a single value; write one value

    gateway:
    s.yaml:1:8: gateway: nothing stands here; write a value (in quotes if it begins with #), or leave the key out

    gateway: "a\nb"
    s.yaml:1:10: gateway: `a\nb` cannot stand in topics, where names are 1 to 64 of a-z 0-9 _ -; write `a_b`

    ports: [{path: /dev/ttyUSB0, baud: fast}]
    s.yaml:1:36: baud: `fast` is not a whole number; write for example 115200

    ports: [{path: /dev/ttyUSB0, baud: 1e5}]
    s.yaml:1:36: baud: `1e5` is not a whole number; write for example 115200
    "#);
}

#[test]
fn names() {
    let texts = ["gateway: Green House\nbase: ''\n", "ports: [{path: /dev/ttyUSB0, device: a/b}]\n"];
    assert_snapshot!(all(&texts), @r"
    gateway: Green House
    base: ''
    s.yaml:1:10: gateway: `Green House` cannot stand in topics, where names are 1 to 64 of a-z 0-9 _ -; write `green_house`
    s.yaml:2:7: base: `` cannot stand in topics, where names are 1 to 64 of a-z 0-9 _ -; write `greenhouse`

    ports: [{path: /dev/ttyUSB0, device: a/b}]
    s.yaml:1:38: device: `a/b` cannot stand in topics, where names are 1 to 64 of a-z 0-9 _ -; write `a_b`
    ");
}

#[test]
fn ports() {
    let texts = [
        "ports: [{baud: 9600}]\n",
        "ports: [{path: ttyUSB0}]\n",
        "ports: [{path: '/dev/tty[a'}]\n",
        "ports: [{path: /dev/a, baud: 12}]\n",
        "ports: [{path: /dev/a, format: jsno}]\n",
        "ports: [{path: /dev/a, format: xml}]\n",
        "ports:\n  - path: /dev/a\n  - path: /dev/a\n",
        "ports:\n  - {path: /dev/a/x, format: json}\n  - {path: /dev/b/x, format: json}\n",
        "ports: [{path: /dev/a, device_key: id}]\n",
        "ports: [{path: /dev/a, format: json, device: a, device_key: id}]\n",
    ];
    assert_snapshot!(all(&texts), @r"
    ports: [{baud: 9600}]
    s.yaml:1:9: a port has no `path`; add a line such as `path: /dev/ttyUSB0`

    ports: [{path: ttyUSB0}]
    s.yaml:1:16: path: `ttyUSB0` is not a full path; write `/dev/ttyUSB0`

    ports: [{path: '/dev/tty[a'}]
    s.yaml:1:16: path: `/dev/tty[a` is not a pattern: invalid range pattern; write for example `/dev/serial/by-id/usb-Arduino_*`

    ports: [{path: /dev/a, baud: 12}]
    s.yaml:1:30: baud: `12` is out of range; write a number from 50 to 12000000

    ports: [{path: /dev/a, format: jsno}]
    s.yaml:1:32: format: there is no `jsno`; did you mean `json`?

    ports: [{path: /dev/a, format: xml}]
    s.yaml:1:32: format: there is no `xml`; write `wire` or `json`

    ports:
      - path: /dev/a
      - path: /dev/a
    s.yaml:3:5: the port in line 2 has path `/dev/a` already; keep one of the two

    ports:
      - {path: /dev/a/x, format: json}
      - {path: /dev/b/x, format: json}
    s.yaml:3:5: the port in line 2 has device `x` already; give each port a `device` of its own

    ports: [{path: /dev/a, device_key: id}]
    s.yaml:1:36: device_key: boards that speak `wire` name themselves; leave it out, or write `format: json`

    ports: [{path: /dev/a, format: json, device: a, device_key: id}]
    s.yaml:1:61: device_key: `device` names the device of this port already; keep one of the two
    ");
}

#[test]
fn quantities() {
    let texts = [
        "queue:\n  commit_within: 250\n  max_size: 1G\n  max_age: forever\n",
        "queue:\n  commit_within: 1ms\n  max_size: 1KiB\n  max_age: 9999999d\n",
        "queue: {durability: sometimes, when_full: drop_old, path: /var/}\n",
    ];
    assert_snapshot!(all(&texts), @r"
    queue:
      commit_within: 250
      max_size: 1G
      max_age: forever
    s.yaml:2:18: commit_within: `250` has no unit; write a whole number and one of ms, s, min, h, d, such as `250ms`
    s.yaml:3:13: max_size: `1G` has the unknown unit `G`; write a whole number and one of KiB, MiB, GiB, TiB, such as `1GiB`
    s.yaml:4:12: max_age: `forever` does not begin with a whole number; write a whole number and one of ms, s, min, h, d, such as `30d`

    queue:
      commit_within: 1ms
      max_size: 1KiB
      max_age: 9999999d
    s.yaml:2:18: commit_within: `1ms` is too little; write something from 10ms to 1min
    s.yaml:3:13: max_size: `1KiB` is too little; write something from 1MiB to 1TiB
    s.yaml:4:12: max_age: `9999999d` is too much; write something from 1s to 3650d

    queue: {durability: sometimes, when_full: drop_old, path: /var/}
    s.yaml:1:21: durability: there is no `sometimes`; write `late` or `always`
    s.yaml:1:43: when_full: there is no `drop_old`; did you mean `drop_oldest`?
    s.yaml:1:59: path: `/var/` is a folder; write the name of a file
    ");
}

#[test]
fn bridges() {
    let texts = [
        "bridges: [{}]\n",
        "bridges:\n  - {name: a, url: 'mqtt://h'}\n  - {name: a, url: 'mqtt://i'}\n",
        "bridges: [{name: a, url: 'mqtts://h/path', protocol: 4}]\n",
        "bridges: [{name: a, url: 'mqtt://h:0'}, {name: b, url: h}, {name: c, url: 'tcp://h'}]\n",
        "bridges: [{name: a, url: 'mqtt://h', forward: ['a#', 'b/#/c', ok]}]\n",
        "bridges: [{name: a, url: 'mqtt://h', forward: []}]\n",
        "bridges: [{name: a, url: 'mqtt://h', forward: 'a/#'}]\n",
        "bridges: [{name: a, url: 'mqtt://h', forward: [$share/g/a, {qos: 3}, {filter: a/#, strip: b/, x: 1}]}]\n",
        "bridges: [{name: a, url: 'mqtt://h', forward: [{filter: a, strip: a}, {filter: a, prefix: +/}]}]\n",
    ];
    assert_snapshot!(all(&texts), @r#"
    bridges: [{}]
    s.yaml:1:11: a bridge has no `name`; add a line such as `name: cloud`
    s.yaml:1:11: a bridge has no `url`; add a line such as `url: mqtts://broker.example.com:8883`

    bridges:
      - {name: a, url: 'mqtt://h'}
      - {name: a, url: 'mqtt://i'}
    s.yaml:3:5: the bridge in line 2 has the name `a` already; give each bridge a name of its own

    bridges: [{name: a, url: 'mqtts://h/path', protocol: 4}]
    s.yaml:1:26: url: `mqtts://` has no path; write `mqtts://host:port`; only `ws://` and `wss://` have one
    s.yaml:1:54: protocol: `4` is no version of MQTT that we speak; write 5 or 3.1.1, or leave it out to try 5 first

    bridges: [{name: a, url: 'mqtt://h:0'}, {name: b, url: h}, {name: c, url: 'tcp://h'}]
    s.yaml:1:26: url: `mqtt://h:0` is not of the form `mqtt://host:port`; write for example `mqtts://broker.example.com`, or `mqtt://192.168.1.5:1884` for a port of its own
    s.yaml:1:56: url: `h` has no scheme; write for example `mqtts://broker.example.com`, or `mqtt://192.168.1.5:1884` for a port of its own
    s.yaml:1:75: url: `tcp://` is not one of mqtt, mqtts, ws and wss; write for example `mqtts://broker.example.com`, or `mqtt://192.168.1.5:1884` for a port of its own

    bridges: [{name: a, url: 'mqtt://h', forward: ['a#', 'b/#/c', ok]}]
    s.yaml:1:48: forward: `a#` is not a topic filter: `+` fills a whole level, and `#` only the last one; write for example `sensors/+/temp` or `sensors/#`
    s.yaml:1:54: forward: `b/#/c` is not a topic filter: `+` fills a whole level, and `#` only the last one; write for example `sensors/+/temp` or `sensors/#`

    bridges: [{name: a, url: 'mqtt://h', forward: []}]
    s.yaml:1:47: forward: the list is empty, so this bridge would carry nothing; leave the key out for the gateway's own topics, or write `forward: ["sensors/#"]`

    bridges: [{name: a, url: 'mqtt://h', forward: 'a/#'}]
    s.yaml:1:47: forward: here stands a single value, not a list; write `forward: ["sensors/#"]`

    bridges: [{name: a, url: 'mqtt://h', forward: [$share/g/a, {qos: 3}, {filter: a/#, strip: b/, x: 1}]}]
    s.yaml:1:48: forward: `$share/g/a` is a shared subscription, which a bridge cannot have; write the filter that follows the name of the group
    s.yaml:1:60: an entry of `forward` or `receive` has no `filter`; add a line such as `filter: "sensors/#"`
    s.yaml:1:66: qos: `3` is no QoS; write 0, 1 or 2
    s.yaml:1:91: strip: `b/` is not what the filter begins with, up to its first wildcard; write for example `{filter: "sensors/#", strip: "sensors/"}`
    s.yaml:1:95: an entry of `forward` or `receive` has no key `x`; the keys here are `filter`, `qos`, `strip` and `prefix`

    bridges: [{name: a, url: 'mqtt://h', forward: [{filter: a, strip: a}, {filter: a, prefix: +/}]}]
    s.yaml:1:67: strip: `a` takes the whole topic away; strip less, or add a `prefix`
    s.yaml:1:91: prefix: `+/` cannot stand in a topic: it has a wildcard or is too long; write for example `prefix: "site-1/"`
    "#);
}

#[test]
fn rates() {
    let rates =
        ["200", "0/s", "fast/s", "10B/s", "64 kb/s", "{messages: 1KiB/s, bytes: 5/s, per: s}", "[1/s]"];
    let texts = rates.map(|rate| format!("bridges: [{{name: a, url: 'mqtt://h', rate: {rate}}}]\n"));
    assert_snapshot!(all(&texts.each_ref().map(String::as_str)), @r"
    bridges: [{name: a, url: 'mqtt://h', rate: 200}]
    s.yaml:1:44: rate: `200` is not so much a second; write `200/s` for messages, `64KiB/s` for bytes, or both as `{messages: 200/s, bytes: 64KiB/s}`

    bridges: [{name: a, url: 'mqtt://h', rate: 0/s}]
    s.yaml:1:44: rate: `0` is out of range; write a number from 1 to 1000000

    bridges: [{name: a, url: 'mqtt://h', rate: fast/s}]
    s.yaml:1:44: rate: `fast` does not begin with a whole number; write a whole number and one of KiB, MiB, GiB, TiB, such as `64KiB/s`

    bridges: [{name: a, url: 'mqtt://h', rate: 10B/s}]
    s.yaml:1:44: rate: `10B` is too little; write something from 100B to 1GiB

    bridges: [{name: a, url: 'mqtt://h', rate: 64 kb/s}]
    s.yaml:1:44: rate: `64 kb` has the unknown unit `kb`; write a whole number and one of KiB, MiB, GiB, TiB, such as `64KiB/s`

    bridges: [{name: a, url: 'mqtt://h', rate: {messages: 1KiB/s, bytes: 5/s, per: s}}]
    s.yaml:1:55: messages: `1KiB` is not a whole number; write for example `200/s`
    s.yaml:1:70: bytes: `5` has no unit; write a whole number and one of KiB, MiB, GiB, TiB, such as `64KiB/s`
    s.yaml:1:75: a rate has no key `per`; the keys here are `messages` and `bytes`

    bridges: [{name: a, url: 'mqtt://h', rate: [1/s]}]
    s.yaml:1:44: rate: here stands a list, not a single value; write one value
    ");
}

#[test]
fn batches() {
    let batches = ["100", "", "{max: 1}", "{max: 5, within: 5, compress: gz, size: 1KiB}"];
    let texts = batches.map(|batch| format!("bridges: [{{name: a, url: 'mqtt://h', batch: {batch}}}]\n"));
    assert_snapshot!(all(&texts.each_ref().map(String::as_str)), @r"
    bridges: [{name: a, url: 'mqtt://h', batch: 100}]
    s.yaml:1:45: batch: a batch is a group of keys; write for example `batch: {max: 100, within: 1s}`

    bridges: [{name: a, url: 'mqtt://h', batch: }]
    s.yaml:1:43: batch: a batch is a group of keys; write for example `batch: {max: 100, within: 1s}`

    bridges: [{name: a, url: 'mqtt://h', batch: {max: 1}}]
    s.yaml:1:51: max: `1` is out of range; write a number from 2 to 1000

    bridges: [{name: a, url: 'mqtt://h', batch: {max: 5, within: 5, compress: gz, size: 1KiB}}]
    s.yaml:1:62: within: `5` has no unit; write a whole number and one of ms, s, min, h, d, such as `1s`
    s.yaml:1:75: compress: there is no `gz`; did you mean `gzip`?
    s.yaml:1:79: a batch has no key `size`; the keys here are `max`, `within` and `compress`
    ");
}

#[test]
fn urls() {
    for url in [
        "h:1883",
        "mqtts://h:0",
        "http://h",
        "mqtt://",
        "mqtt://h:0",
        "mqtt://h:x",
        "mqtt://h/path",
        "mqtt://[::g]",
        "mqtt://::1",
        "mqtt://[::1]x",
        "mqtt://u:p@h",
    ] {
        let text = mistakes(&format!("bridges: [{{name: a, url: '{url}'}}]\n"));
        assert!(text.starts_with("s.yaml:1:26: url: "), "{text}");
    }
}

#[test]
fn links() {
    let texts = [
        "bridges: [{name: a, url: 'mqtt://h', tls: {ca: x}}]\n",
        "bridges: [{name: a, url: 'ws://h', tls: {}}]\n",
        "bridges: [{name: a, url: 'ws://h/a b'}]\n",
        "bridges: [{name: a, url: 'wss://h/a#b'}]\n",
        "bridges: [{name: a, url: 'mqtts://h', tls: {certificate: x}}]\n",
        "bridges: [{name: a, url: 'mqtts://h', tls: {key: x, insecure: true}}]\n",
        "bridges: [{name: a, url: 'mqtts://h', tls: {alpn: mqtt, server_name: 'https://h'}}]\n",
        "bridges: [{name: a, url: 'mqtts://h', proxy: 'https://p:1'}]\n",
        "bridges: [{name: a, url: 'mqtts://h', proxy: 'http://p'}]\n",
        "bridges: [{name: a, url: 'mqtts://h', proxy: 'http://u:hunter2@p:1'}]\n",
        "bridges: [{name: a, url: 'mqtts://h', proxy: {url: 'http://p:1', password: {env: X}}}]\n",
        "bridges: [{name: a, url: 'mqtts://h', username: u, password: {sas: {}, file: x}}]\n",
        "bridges: [{name: a, url: 'mqtts://h', username: u, password: {sas: {key: hunter2, resource: r, valid: 1s}}}]\n",
    ];
    assert_snapshot!(all(&texts), @r#"
    bridges: [{name: a, url: 'mqtt://h', tls: {ca: x}}]
    s.yaml:1:43: tls: `mqtt://` is not encrypted; write `mqtts://` in the url, or leave `tls` out

    bridges: [{name: a, url: 'ws://h', tls: {}}]
    s.yaml:1:41: tls: `ws://` is not encrypted; write `wss://` in the url, or leave `tls` out

    bridges: [{name: a, url: 'ws://h/a b'}]
    s.yaml:1:26: url: the path is longer than 2048 bytes or has characters that a url has not; write for example `wss://broker.example.com/mqtt`, and other characters as %20

    bridges: [{name: a, url: 'wss://h/a#b'}]
    s.yaml:1:26: url: the path is longer than 2048 bytes or has characters that a url has not; write for example `wss://broker.example.com/mqtt`, and other characters as %20

    bridges: [{name: a, url: 'mqtts://h', tls: {certificate: x}}]
    s.yaml:1:58: certificate: there is no `key` for it; give both the certificate and its private key, each as a PEM file

    bridges: [{name: a, url: 'mqtts://h', tls: {key: x, insecure: true}}]
    s.yaml:1:50: key: there is no `certificate` for it; give both the certificate and its private key, each as a PEM file
    s.yaml:1:53: `tls` has no key `insecure`; the keys here are `ca`, `certificate`, `key`, `alpn` and `server_name`

    bridges: [{name: a, url: 'mqtts://h', tls: {alpn: mqtt, server_name: 'https://h'}}]
    s.yaml:1:51: alpn: here stands a single value, not a list; write `alpn: [x-amzn-mqtt-ca]`
    s.yaml:1:70: server_name: `https://h` is not a host name; write the name that stands in the broker's certificate, as in `broker.example.com`

    bridges: [{name: a, url: 'mqtts://h', proxy: 'https://p:1'}]
    s.yaml:1:46: proxy: `https://p:1` is not the address of an HTTP proxy; write for example `http://proxy.example.com:3128`

    bridges: [{name: a, url: 'mqtts://h', proxy: 'http://p'}]
    s.yaml:1:46: proxy: `http://p` names no port; write for example `http://proxy.example.com:3128`

    bridges: [{name: a, url: 'mqtts://h', proxy: 'http://u:hunter2@p:1'}]
    s.yaml:1:46: proxy: user name and password do not belong in the url; write `proxy: {url: "http://host:port", username: NAME, password: {file: PATH}}`

    bridges: [{name: a, url: 'mqtts://h', proxy: {url: 'http://p:1', password: {env: X}}}]
    s.yaml:1:76: password: there is no user name for it; add a line such as `username: greenhouse`

    bridges: [{name: a, url: 'mqtts://h', username: u, password: {sas: {}, file: x}}]
    s.yaml:1:68: `sas` has no `key`; add a line such as `key: {file: /etc/serialgate/secrets/a}`
    s.yaml:1:68: `sas` has no `resource`; add a line such as `resource: hub.azure-devices.net/devices/greenhouse`
    s.yaml:1:72: `password` has no key `file`; the keys here are `sas`

    bridges: [{name: a, url: 'mqtts://h', username: u, password: {sas: {key: hunter2, resource: r, valid: 1s}}}]
    s.yaml:1:74: password: a password does not stand in this file; put it into a file of its own and write `password: {file: /etc/serialgate/secrets/a-key}`
    s.yaml:1:103: valid: `1s` is too little; write something from 5min to 365d
    "#);
}

#[test]
fn passwords() {
    let texts = [
        "bridges: [{name: a, url: 'mqtt://h', username: u, password: hunter2}]\n",
        "bridges: [{name: a, url: 'mqtt://h', password: {file: x}}]\n",
        "bridges: [{name: a, url: 'mqtt://h', username: u, password: {file: x, env: Y}}]\n",
        "bridges: [{name: a, url: 'mqtt://h', username: u, password: {}}]\n",
        "bridges: [{name: a, url: 'mqtt://h', username: u, password: {env: $P}}]\n",
        "bridges: [{name: a, url: 'mqtt://h', username: u, password: {credential: a/b}}]\n",
    ];
    assert_snapshot!(all(&texts), @r"
    bridges: [{name: a, url: 'mqtt://h', username: u, password: hunter2}]
    s.yaml:1:61: password: a password does not stand in this file; put it into a file of its own and write `password: {file: /etc/serialgate/secrets/a}`

    bridges: [{name: a, url: 'mqtt://h', password: {file: x}}]
    s.yaml:1:48: password: there is no user name for it; add a line such as `username: greenhouse`

    bridges: [{name: a, url: 'mqtt://h', username: u, password: {file: x, env: Y}}]
    s.yaml:1:61: password: it comes from several places; write one of `{file: PATH}`, `{env: NAME}` and `{credential: NAME}`

    bridges: [{name: a, url: 'mqtt://h', username: u, password: {}}]
    s.yaml:1:61: password: nothing says where it comes from; write one of `{file: PATH}`, `{env: NAME}` and `{credential: NAME}`

    bridges: [{name: a, url: 'mqtt://h', username: u, password: {env: $P}}]
    s.yaml:1:67: env: `$P` is not the name of a variable; write the bare name, as in `{env: CLOUD_PASSWORD}`

    bridges: [{name: a, url: 'mqtt://h', username: u, password: {credential: a/b}}]
    s.yaml:1:74: credential: `a/b` is not the name of a credential; write the name that stands in `LoadCredential=NAME:PATH`, or `{file: PATH}`
    ");
}

#[test]
fn all_of_them_are_listed_in_the_order_of_the_file() {
    let text = "
base: Farm
prots: []
ports:
  - {path: /dev/a, baud: 1}
  - {path: /dev/a, format: wier}
queue: {max_size: 5KiB}
bridges:
  - {name: x, url: mqtt//h}
";
    assert_snapshot!(mistakes(text), @r"
    s.yaml:2:7: base: `Farm` cannot stand in topics, where names are 1 to 64 of a-z 0-9 _ -; write `farm`
    s.yaml:3:1: the configuration has no key `prots`; did you mean `ports`?
    s.yaml:5:26: baud: `1` is out of range; write a number from 50 to 12000000
    s.yaml:6:5: the port in line 5 has path `/dev/a` already; keep one of the two
    s.yaml:6:28: format: there is no `wier`; did you mean `wire`?
    s.yaml:7:19: max_size: `5KiB` is too little; write something from 1MiB to 1TiB
    s.yaml:9:20: url: `mqtt//h` has no scheme; write for example `mqtts://broker.example.com`, or `mqtt://192.168.1.5:1884` for a port of its own
    ");
}

/// Every key that the design names and this version does not have.
#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for (text, what) in [
        ("web: {listen: x}", "`web`"),
        ("home_assistant: {discovery: true}", "`home_assistant`"),
        ("devices: {a: b}", "`devices`"),
        ("output: json", "`output`"),
        ("ports: [{path: /dev/a, output: json}]", "`output`"),
        ("ports: [{path: /dev/a, format: csv}]", "`csv`"),
    ] {
        let version = env!("CARGO_PKG_VERSION");
        let sentence = format!("{what} is not available in this version ({version}); ");
        assert!(mistakes(text).contains(&sentence), "{}", mistakes(text));
    }
}
