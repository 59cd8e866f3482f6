//! `bridges`: the links to other brokers.

use super::Absent::{self, Required, Value, Words};
use super::Kind::{self, Choice, Duration, Either, List, Number, Text};
use super::{FILTER, Group, NAME, file, group, key, line};

pub(super) const BRIDGE: Kind = group(&[
    key("name", NAME, Required, "Its name in logs and in `serialgate status`, different for each bridge."),
    key(
        "url",
        Text {
            noun: "URL",
            pattern: "^(mqtt|mqtts|ws|wss)://[^@]+$",
            right: &[
                "mqtts://broker.example.com:8883",
                "mqtt://192.168.1.5",
                "wss://broker.example.com/mqtt",
            ],
            wrong: &[
                "broker.example.com",
                "http://broker.example.com",
                "mqtt://user:password@broker.example.com",
            ],
        },
        Required,
        "Where the broker is: `mqtt://`, `mqtts://` (TLS), `ws://` (WebSocket) or `wss://` (both), and host and port. \
         Ports where none is written: 1883, 8883, 80, 443.",
    ),
    key(
        "tls",
        TLS,
        Words("whom the system believes"),
        "How the link is encrypted, for `mqtts` and `wss`. Files are PEM and are read at each connect.",
    ),
    key(
        "proxy",
        Either(&[PROXY_URL, PROXY]),
        Words("none"),
        "An HTTP proxy on the way: its url, or a group of keys.",
    ),
    key(
        "protocol",
        Choice(&[("5", "MQTT 5"), ("3.1.1", "MQTT 3.1.1")]),
        Words("5, then 3.1.1 if refused"),
        "The version of MQTT to speak.",
    ),
    key(
        "client_id",
        line("ID", &["greenhouse-1"]),
        Words("made from the names of the gateway and the bridge"),
        "The client id. A broker keeps one connection per id: two gateways with one id cut each other off.",
    ),
    key("username", line("NAME", &["greenhouse"]), Words("none"), "The user name."),
    key(
        "password",
        Either(&[SECRET, SAS]),
        Words("none"),
        "Where the password is, or the key that tokens are made from. It never stands in this file.",
    )
    .needs("username"),
    key(
        "order",
        Choice(&[
            ("oldest", "everything in the order in which it came in"),
            (
                "live_first",
                "what comes in now goes out at once; what waits keeps 30 % of the link, and all of it when nothing new \
                 is there",
            ),
        ]),
        Value("oldest"),
        "In which order what waits is sent.",
    ),
    key(
        "rate",
        Either(&[
            RATE_OF_MESSAGES,
            RATE_OF_BYTES,
            group(&[
                key("messages", RATE_OF_MESSAGES, Words("as many as the link takes"), "Messages per second."),
                key("bytes", RATE_OF_BYTES, Words("as many as the link takes"), "Bytes per second."),
            ]),
        ]),
        Words("as much as the link takes"),
        "The most that it sends: messages per second (`200/s`), bytes per second (`64KiB/s`), or a group of both.",
    ),
    key(
        "batch",
        group(&[
            key("max", Number { from: 2, to: 1000 }, Value("100"), "Most readings in one message."),
            key(
                "within",
                Duration { from: "10ms", to: "1h" },
                Value("1s"),
                "How long the first reading may wait for the others.",
            ),
            key(
                "compress",
                Choice(&[("gzip", "RFC 1952"), ("zstd", "RFC 8878")]),
                Words("not packed"),
                "How the message is packed.",
            ),
        ]),
        Words("each reading is a message of its own"),
        "Readings of a device go together in one message, as a JSON array.",
    ),
    key(
        "forward",
        ROUTES,
        Words("all topics of the gateway itself except `state`"),
        "Which topics go there: filters, or groups of keys.",
    ),
    key(
        "receive",
        ROUTES,
        Words("none"),
        "Which topics come from there, in the names that they have there: filters, or groups of keys.",
    ),
    key(
        "session_expiry",
        Duration { from: "0s", to: "365d" },
        Words("1d with `receive` or QoS 2, else 0s"),
        "How long the other broker keeps what is for us while we are away.",
    ),
]);

const TLS: Kind = group(&[
    key(
        "ca",
        file(&["ca.pem"]),
        Words("whom the system believes"),
        "Who may have issued the broker's certificate, or that certificate itself.",
    ),
    key(
        "certificate",
        file(&["client.pem"]),
        Words("none"),
        "Our own certificate, where the broker wants one.",
    )
    .needs("key"),
    key("key", file(&["client.key"]), Words("none"), "Its private key, without a passphrase.")
        .needs("certificate"),
    key(
        "alpn",
        List { of: &line("PROTOCOL", &["x-amzn-mqtt-ca"]), least: 0, most: 8 },
        Value("[]"),
        "Protocols to offer. AWS IoT wants `x-amzn-mqtt-ca` on port 443.",
    ),
    key(
        "server_name",
        Text { noun: "HOST", pattern: "^[0-9A-Za-z._:-]+$", right: &["broker.example.com"], wrong: &["a b"] },
        Words("the host of the url"),
        "The name in the broker's certificate.",
    ),
]);

const PROXY_URL: Kind = Text {
    noun: "URL",
    pattern: "^http://[^@]+:[0-9]{1,5}/?$",
    right: &["http://proxy.example.com:3128"],
    wrong: &[
        "proxy.example.com:3128",
        "http://proxy.example.com",
        "http://pi:password@proxy.example.com:3128",
    ],
};

const PROXY: Kind = group(&[
    key("url", PROXY_URL, Required, "The proxy and its port."),
    key("username", line("NAME", &["pi"]), Words("none"), "The user name there."),
    key("password", SECRET, Words("none"), "Where the password is.").needs("username"),
]);

const SECRET: Kind = Kind::Group(Group {
    is_choice: true,
    keys: &[
        key(
            "file",
            file(&["/etc/serialgate/secrets/cloud"]),
            Absent::Unsaid,
            "The file whose first line it is. It is read at each connect.",
        ),
        key(
            "env",
            Text {
                noun: "VARIABLE",
                pattern: "^[^=$ ]+$",
                right: &["CLOUD_PASSWORD"],
                wrong: &["$CLOUD_PASSWORD"],
            },
            Absent::Unsaid,
            "The variable of the daemon's environment that holds it.",
        ),
        key(
            "credential",
            Text { noun: "NAME", pattern: "^[^./][^/]*$", right: &["cloud"], wrong: &["/etc/cloud"] },
            Absent::Unsaid,
            "The systemd credential that holds it: NAME of `LoadCredential=NAME:PATH`.",
        ),
    ],
});

const SAS: Kind = Kind::Group(Group {
    is_choice: true,
    keys: &[key(
        "sas",
        group(&[
            key("key", SECRET, Required, "Where the key is."),
            key(
                "resource",
                line("RESOURCE", &["hub.azure-devices.net/devices/greenhouse"]),
                Required,
                "What it opens: `HUB.azure-devices.net/devices/DEVICE`.",
            ),
            key(
                "policy",
                line("NAME", &["iothubowner"]),
                Words("the device's own key"),
                "The name of the key.",
            ),
            key("valid", Duration { from: "5min", to: "365d" }, Value("1h"), "How long one token is valid."),
        ]),
        Absent::Unsaid,
        "A key of Azure, of which a token is made for each connection.",
    )],
});

const RATE_OF_MESSAGES: Kind =
    Text { noun: "N/s", pattern: "^ *[0-9]+ */s$", right: &["200/s"], wrong: &["200", "200/min"] };

const RATE_OF_BYTES: Kind = Text {
    noun: "SIZE/s",
    pattern: "^ *[0-9]+ *([kMGT]?B|[KMGT]iB) */s$",
    right: &["64KiB/s"],
    wrong: &["64KiB", "64Kbit/s"],
};

const ROUTES: Kind = List { of: &Either(&[FILTER, ROUTE]), least: 1, most: 256 };

const ROUTE: Kind = group(&[
    key("filter", FILTER, Required, "Which topics."),
    key(
        "qos",
        Choice(&[("0", "at most once"), ("1", "at least once"), ("2", "exactly once")]),
        Value("1"),
        "The quality of service.",
    ),
    key("strip", PART, Value("''"), "What is taken off the front of the topic.")
        .beside(&[("filter", "sensors/#"), ("prefix", "x/")]),
    key("prefix", PART, Value("''"), "What is put there then.").beside(&[("filter", "sensors/#")]),
]);

const PART: Kind = Text { noun: "TEXT", pattern: "^[^+#]*$", right: &["sensors/", ""], wrong: &["#"] };
