//! The clouds that `init` knows: what to ask for, and what each of them needs in a bridge.

/// One cloud. docs/clouds.md says where all this comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Preset {
    /// Its word on the command line, and the bridge's name: a slug.
    pub(super) name: &'static str,
    /// Its name for people.
    pub(super) title: &'static str,
    /// What a host there looks like.
    pub(super) host: &'static str,
    /// How the link is encrypted where the host comes without a scheme.
    pub(super) link: Link,
    /// The version of MQTT, where it is not to be found out.
    pub(super) protocol: Option<&'static str>,
    /// How it knows who we are.
    pub(super) access: Access,
    /// What goes there.
    pub(super) forward: Forward,
    /// Further lines of the bridge.
    pub(super) more: &'static [&'static str],
    /// What a newcomer should know, as lines of a comment.
    pub(super) about: &'static [&'static str],
}

/// Stands for the gateway's name in texts of a preset.
pub(super) const GATEWAY: &str = "GATEWAY";

/// What goes to a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    /// What goes everywhere.
    Own,
    /// The topics of one filter.
    Filter(&'static str),
    /// Azure IoT Hub has one topic, so each of ours has an entry that puts that one in its place.
    IotHub,
}

/// How the link is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// By TLS, with a certificate that every system believes.
    Public,
    /// Not, or by TLS with an authority of one's own: a broker in the house.
    Own,
}

/// How a cloud knows who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// By user name and password.
    Password {
        /// What it calls the user name.
        user: &'static str,
        /// It may let anybody in.
        optional: bool,
    },
    /// By a client certificate.
    Certificate {
        /// What it calls our name, which is the client id.
        client: &'static str,
        /// The name is the user name, too.
        as_user: bool,
    },
    /// By a token that is made from a device's key (Azure).
    Sas,
}

/// All of them, in the order in which they are offered.
pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "hivemq",
        title: "HiveMQ Cloud",
        host: "abc123.s1.eu.hivemq.cloud",
        link: Link::Public,
        protocol: None,
        access: Access::Password { user: "User name", optional: false },
        forward: Forward::Own,
        more: &[],
        about: &[],
    },
    Preset {
        name: "emqx",
        title: "EMQX Cloud, dedicated",
        host: "abc123.ala.eu-central-1.emqx.cloud",
        link: Link::Public,
        protocol: None,
        access: Access::Password { user: "User name", optional: false },
        forward: Forward::Own,
        more: &[],
        about: &[],
    },
    Preset {
        name: "emqx-serverless",
        title: "EMQX Cloud, serverless",
        host: "abc123.ala.eu-central-1.emqxsl.com",
        link: Link::Public,
        protocol: None,
        access: Access::Password { user: "User name", optional: false },
        forward: Forward::Own,
        more: &[
            "# It takes 10 messages a second from one client, and no more.",
            "rate: 10/s",
            "# For more readings than that: up to 100 of them in one message, which is an array then.",
            "#batch: {max: 100, within: 1s}",
        ],
        about: &[],
    },
    Preset {
        name: "mosquitto",
        title: "Mosquitto on a machine of your own",
        host: "192.168.1.5, or mqtts://broker.example.com",
        link: Link::Own,
        protocol: None,
        access: Access::Password { user: "User name (empty if it wants none)", optional: true },
        forward: Forward::Own,
        more: &[],
        about: &[],
    },
    Preset {
        name: "rabbitmq",
        title: "RabbitMQ with its MQTT plugin",
        host: "192.168.1.5, or mqtts://rabbit.example.com",
        link: Link::Own,
        protocol: None,
        access: Access::Password { user: "User name (vhost:user for another vhost than /)", optional: false },
        forward: Forward::Own,
        more: &[],
        about: &["AMQP consumers see dots for slashes: serialgate.GATEWAY.DEVICE.data"],
    },
    Preset {
        name: "aws",
        title: "AWS IoT Core",
        host: "abc123-ats.iot.eu-central-1.amazonaws.com",
        link: Link::Public,
        protocol: None,
        access: Access::Certificate { client: "Name of the thing", as_user: false },
        forward: Forward::Own,
        more: &["# As many messages as it takes from one connection.", "rate: 100/s"],
        about: &[
            "The policy of the certificate must allow this client id and serialgate/GATEWAY/*, retained",
            "messages and the last will as well. Where port 8883 is closed: port 443, and in `tls`",
            "alpn: [x-amzn-mqtt-ca]",
        ],
    },
    Preset {
        name: "azure-iot-hub",
        title: "Azure IoT Hub",
        host: "HUB.azure-devices.net",
        link: Link::Public,
        protocol: Some("3.1.1"),
        access: Access::Sas,
        forward: Forward::IotHub,
        more: &["# As many messages as a small hub takes, from all its devices together.", "rate: 100/s"],
        about: &[
            "It is no broker and has one topic for each of its devices: this gateway is one of them. So each topic",
            "needs an entry in `forward`. Azure Event Grid takes the topics as they are.",
        ],
    },
    Preset {
        name: "azure-event-grid",
        title: "Azure Event Grid, its MQTT broker",
        host: "abc123.westeurope-1.ts.eventgrid.azure.net",
        link: Link::Public,
        protocol: Some("5"),
        access: Access::Certificate { client: "Client authentication name", as_user: true },
        forward: Forward::Own,
        more: &[],
        about: &["A topic space with the template serialgate/GATEWAY/# must let this client publish."],
    },
    Preset {
        name: "thingsboard",
        title: "ThingsBoard, one device there for this gateway",
        host: "mqtt.thingsboard.cloud",
        link: Link::Public,
        protocol: None,
        access: Access::Password { user: "User name (MQTT Basic credentials)", optional: false },
        forward: Forward::Filter("serialgate/GATEWAY/+/data"),
        more: &[],
        about: &[
            "In the device profile there: transport MQTT, telemetry topic filter serialgate/GATEWAY/+/data,",
            "payload JSON. Several devices of one gateway share their keys: see docs/clouds.md.",
        ],
    },
    Preset {
        name: "home-assistant",
        title: "Home Assistant, its Mosquitto add-on",
        host: "homeassistant.local",
        link: Link::Own,
        protocol: None,
        access: Access::Password { user: "User name (a person in Home Assistant)", optional: false },
        forward: Forward::Filter("serialgate/#"),
        more: &[],
        about: &["All topics, with `state`: the newest values as retained messages."],
    },
];

/// The one that is called `name`.
pub(super) fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// All of them for `--help`: name and title, a line each.
pub(super) fn listed() -> String {
    PRESETS.iter().map(|preset| format!("  {:<17} {}\n", preset.name, preset.title)).collect()
}
