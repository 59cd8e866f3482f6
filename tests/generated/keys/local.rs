//! The whole file, and of it all that is on this machine.

use super::Absent::{self, Required, Value, Words};
use super::Kind::{self, Choice, Duration, Either, List, Number, Size, Text, Truth, Zero};
use super::bridge::BRIDGE;
use super::{FILTER, Group, NAME, file, group, key, line};

const COUNT_OF_PACKETS: Kind = Number { from: 1, to: 10_000 };

/// The whole file.
pub(crate) static ROOT: Group = Group {
    is_choice: false,
    keys: &[
        key(
            "gateway",
            NAME,
            Words("the host name"),
            "The name of this gateway in topics: `BASE/GATEWAY/DEVICE/data`.",
        ),
        key(
            "base",
            NAME,
            Value("serialgate"),
            "The first level of all topics that the gateway itself publishes.",
        ),
        key(
            "ports",
            List { of: &PORT, least: 0, most: 64 },
            Value("[]"),
            "The serial lines, one entry each. A port that is not plugged in is waited for.",
        ),
        key("queue", QUEUE, Absent::Unsaid, "Readings wait here until every bridge has delivered them."),
        key(
            "broker",
            BROKER,
            Absent::Unsaid,
            "The MQTT broker on this machine. `listen: []` runs without it. If its address is taken, the holder is \
             named and the address tried again; readings go to the bridges meanwhile.",
        ),
        key(
            "bridges",
            List { of: &BRIDGE, least: 0, most: 16 },
            Value("[]"),
            "Other brokers that get the readings. Without one, readings are for local clients only.",
        ),
        key("control", CONTROL, Absent::Unsaid, "How commands such as `serialgate status` reach the daemon."),
    ],
};

const PORT: Kind = group(&[
    key(
        "path",
        Text {
            noun: "PATH",
            pattern: "^/",
            right: &["/dev/serial/by-id/usb-Arduino_*", "/dev/ttyAMA0"],
            wrong: &["ttyUSB0"],
        },
        Required,
        "The device file, always a full path. A name below /dev/serial/by-id follows the board to any socket. `*`, `?` \
         and `[...]` stand for anything, so that one entry may be several ports.",
    ),
    key(
        "format",
        Choice(&[
            ("wire", "boards with the Serialgate library, which describe themselves; readings are acknowledged"),
            ("json", "one JSON object per line, as in {\"temp\": 21.5, \"hum\": 40}"),
        ]),
        Value("wire"),
        "What is spoken on the line.",
    ),
    key(
        "baud",
        Number { from: 50, to: 12_000_000 },
        Value("115200"),
        "Speed in bits per second. Boards with USB of their own ignore it.",
    ),
    key(
        "device",
        NAME,
        Words("what a wire board calls itself; for json, a name made from the path"),
        "The name of the board in topics.",
    ),
    key(
        "device_key",
        line("KEY", &["id"]),
        Words("one device per port"),
        "The JSON key whose value names the device, where several speak on one line. For `format: json`, and not \
         together with `device`.",
    )
    .beside(&[("format", "json")]),
]);

const QUEUE: Kind = group(&[
    key(
        "path",
        file(&["/var/lib/serialgate/queue.db", "queue.db"]),
        Value("/var/lib/serialgate/queue.db"),
        "The file, on a disk that survives a power cut. A relative path begins at the folder of the configuration.",
    ),
    key(
        "durability",
        Choice(&[
            (
                "late",
                "a reading goes out at once, and to disk only if no cloud acknowledged it within `commit_within`; kind \
                 to SD cards",
            ),
            ("always", "every reading goes to disk first"),
        ]),
        Value("late"),
        "When a reading may leave for the cloud.",
    ),
    key(
        "commit_within",
        Duration { from: "10ms", to: "1min" },
        Value("250ms"),
        "No reading stays in memory only for longer than this. A power cut can cost what arrived within this time, \
         unless the board keeps it until it is acknowledged (`format: wire`).",
    ),
    key("max_size", Size { from: "1MiB", to: "1TiB" }, Value("1GiB"), "Largest size on disk, with its log."),
    key(
        "max_age",
        Duration { from: "1s", to: "3650d" },
        Value("30d"),
        "Readings older than this are dropped, and counted.",
    ),
    key(
        "max_readings",
        Number { from: 1000, to: 1_000_000_000_000 },
        Words("as many as fit into `max_size`"),
        "Most readings and messages in the file. Of this, `max_size` and `max_age` the one that is reached first counts.",
    ),
    key(
        "when_full",
        Choice(&[
            ("drop_oldest", "the oldest readings give way"),
            ("drop_newest", "new readings are dropped"),
            (
                "thin",
                "readings from in between give way, the more the older they are, so that an outage of any length leaves \
                 a history",
            ),
        ]),
        Value("drop_oldest"),
        "What gives way at `max_size` or `max_readings`. It is counted and told in any case.",
    ),
    key(
        "dead_letters",
        Either(&[Zero, Size { from: "0B", to: "1GiB" }]),
        Value("16MiB"),
        "How much is kept of what clouds refuse for good, at most an eighth of `max_size`; 0 keeps nothing. \
         `serialgate queue dead-letters` shows it.",
    ),
]);

const BROKER: Kind = group(&[
    key(
        "listen",
        List { of: &Either(&[ADDRESS, LISTENER]), least: 0, most: 16 },
        Value("[127.0.0.1:1883]"),
        "Where clients connect: addresses with a port, or groups of keys. 0.0.0.0 is every IPv4 address of this machine, \
         [::] every address. What the network reaches needs `users` or a `client_ca`.",
    ),
    key(
        "users",
        List { of: &USER, least: 0, most: 1000 },
        Value("[]"),
        "Who may connect with a name and a password, or with a certificate of that name. Clients on this machine need \
         no name, unless their listener says `anonymous: false`.",
    ),
    key(
        "path",
        file(&["/var/lib/serialgate/broker.db"]),
        Words("`broker.db` beside the queue's file"),
        "The file of sessions and retained messages.",
    ),
    key(
        "limits",
        LIMITS,
        Absent::Unsaid,
        "How much the broker takes on. What goes over a limit is refused, or dropped and counted.",
    ),
]);

const ADDRESS: Kind = Text {
    noun: "ADDRESS:PORT",
    pattern: "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$",
    right: &["127.0.0.1:1883", "[::1]:1883"],
    wrong: &["localhost:1883", "127.0.0.1"],
};

const LISTENER: Kind = group(&[
    key("address", ADDRESS, Required, "The IP address and the TCP port. Port 0 is any free one."),
    key(
        "tls",
        group(&[
            key(
                "certificate",
                file(&["server.pem"]),
                Required,
                "The certificate that clients are shown, followed by those that vouch for it.",
            ),
            key("key", file(&["server.key"]), Required, "Its private key, without a passphrase."),
            key(
                "client_ca",
                file(&["ca.pem"]),
                Words("clients need no certificate"),
                "Who issues clients' certificates. With it nobody gets in without one.",
            ),
        ]),
        Words("not encrypted"),
        "How connections are encrypted. Files are PEM, and are read again by a reload.",
    ),
    key("websocket", Truth, Value("false"), "MQTT comes through a WebSocket, as browsers need it."),
    key("anonymous", Truth, Value("true"), "Whether clients on this machine get in without a name."),
]);

const USER: Kind = group(&[
    key(
        "name",
        line("NAME", &["esp32", "board.example.com"]),
        Required,
        "The name, or that in the client's certificate.",
    ),
    key(
        "password_hash",
        Text {
            noun: "HASH",
            pattern: "^\\$argon2id\\$",
            right: &[
                "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8",
            ],
            wrong: &["hunter2"],
        },
        Words("only a client certificate lets the user in"),
        "What `serialgate passwd` prints, in quotes.",
    ),
    key(
        "publish",
        RULES,
        Words("everything"),
        "Filters of what the user may publish; `[]` is nothing. `%c` is the client id, `%u` the name.",
    ),
    key("subscribe", RULES, Words("everything"), "Filters of what the user may subscribe to."),
]);

const RULES: Kind = List { of: &FILTER, least: 0, most: 100 };

const LIMITS: Kind = group(&[
    key("connections", Number { from: 1, to: 10_000 }, Value("500"), "Clients that are connected.")
        .beside(&[("sessions", "100000")]),
    key(
        "connections_per_address",
        Number { from: 1, to: 10_000 },
        Value("100"),
        "Clients from one address. This machine has no such limit.",
    ),
    key(
        "handshakes",
        Number { from: 10, to: 5000 },
        Value("250"),
        "Connections whose client has not said CONNECT yet, beside `connections`.",
    ),
    key(
        "sessions",
        Number { from: 1, to: 100_000 },
        Value("2000"),
        "Clients that are remembered, connected or not.",
    )
    .beside(&[("connections", "1")]),
    key("subscriptions", Number { from: 1, to: 100_000 }, Value("1000"), "Subscriptions of one client."),
    key("packet", Size { from: "1KiB", to: "64MiB" }, Value("1MiB"), "The largest packet."),
    key(
        "queue_messages",
        Number { from: 1, to: 1_000_000 },
        Value("10000"),
        "Messages that wait for one client.",
    ),
    key("queue", Size { from: "64KiB", to: "1GiB" }, Value("8MiB"), "Bytes that wait for one client.")
        .beside(&[("all_queues", "4095MiB")]),
    key(
        "all_queues",
        Size { from: "64KiB", to: "4095MiB" },
        Value("32MiB"),
        "Bytes that wait for all clients.",
    )
    .beside(&[("queue", "64KiB")]),
    key("in_flight", COUNT_OF_PACKETS, Value("100"), "Messages under way to one client, unacknowledged."),
    key(
        "receive_maximum",
        COUNT_OF_PACKETS,
        Value("1000"),
        "Messages under way from one client, unacknowledged.",
    ),
    key("retained_messages", Number { from: 0, to: 1_000_000 }, Value("10000"), "Retained messages."),
    key("retained", Size { from: "64KiB", to: "1GiB" }, Value("16MiB"), "Bytes of retained messages."),
]);

const CONTROL: Kind = group(&[key(
    "socket",
    file(&["/run/serialgate/control.sock"]),
    Words("/run/serialgate/control.sock under systemd, else below $XDG_RUNTIME_DIR or beside the queue"),
    "The control socket.",
)]);
