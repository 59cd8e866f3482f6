use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use insta::assert_snapshot;

use super::found::{Found, Kind};
use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A folder for files, and what `init` does in it.
struct Site {
    folder: tempfile::TempDir,
    found: Vec<Found>,
}

/// How one run ended.
struct Ran {
    result: Result<Option<Written>, Trouble>,
    /// What was on the screen.
    screen: String,
}

impl Site {
    /// With two boards and the pins.
    fn new() -> Self {
        let line = |kind, path: &str, device: &str| Found {
            kind,
            path: path.into(),
            device: device.into(),
            names: Vec::new(),
        };
        let found = vec![
            line(Kind::Usb, "/dev/serial/by-id/usb-Arduino_Uno_7543-if00", "ttyACM0"),
            line(Kind::Usb, "/dev/ttyUSB0", "ttyUSB0"),
            line(Kind::Pins, "/dev/serial0", "ttyAMA0"),
        ];
        Self { folder: tempfile::tempdir().unwrap(), found }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self, options: &[&str]) -> Args {
        let output = self.path("serialgate.yaml");
        let all = ["init", "--output", output.to_str().unwrap()].into_iter().chain(options.iter().copied());
        Cli::try_parse_from(all).unwrap().args
    }

    /// Runs with `options`, and with `typed` at the terminal unless nothing is to be asked.
    fn run(&self, options: &[&str], typed: &str) -> Ran {
        let args = self.args(options);
        let (mut input, mut output) = (typed.as_bytes(), Vec::new());
        let mut terminal = (!args.yes).then(|| Terminal::new(&mut input, &mut output, None));
        let result = init(&args, &self.found, &mut terminal);
        let folder = self.folder.path().to_str().unwrap();
        Ran { result, screen: String::from_utf8(output).unwrap().replace(folder, "/etc/serialgate") }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("serialgate.yaml")).unwrap()
    }

    fn config(&self) -> Config {
        Config::load(&self.path("serialgate.yaml")).unwrap_or_else(|error| panic!("{error}\n{}", self.text()))
    }
}

#[test]
fn a_few_answers_make_a_configuration() {
    let site = Site::new();
    let typed = "green house\ngreenhouse\n1,3,9\n1,3\n\njson\nshed\n9600\nhivemq\nhttp://x\nabc.s1.eu.hivemq.cloud\nme\n\nhunter2: #\nyes\n";
    let ran = site.run(&[], typed);
    assert!(matches!(&ran.result, Ok(Some(written)) if written.missing.is_empty()), "{:?}", ran.result);
    let host_name = format!("[{}]", Config::default().gateway);
    let (questions, rest) = ran.screen.split_once("-----").unwrap();
    let questions = questions.replace(&host_name, "[raspberrypi]").replace("]: \n", "]:\n");
    assert_snapshot!(questions.trim_end(), @r##"
        A first configuration. Enter takes what stands in [brackets], Ctrl-C writes nothing.

        Name of this gateway in topics [raspberrypi]:   gateway: `green house` cannot stand in topics, where names are 1 to 64 of a-z 0-9 _ -; write `green_house`
        Name of this gateway in topics [raspberrypi]:
        Serial ports:
          1  usb-Arduino_Uno_7543-if00 (ttyACM0)
          2  ttyUSB0
          3  serial0 (ttyAMA0, the pins)
        Which ones, as in 1,2 or none [1,2]:   there is no 9: write numbers from 1 to 3, all or none
        Which ones, as in 1,2 or none [1,2]:
        What each speaks: wire with the Serialgate library, json with one JSON object a line.
        usb-Arduino_Uno_7543-if00 (ttyACM0) [wire]: serial0 (ttyAMA0, the pins) [wire]:   Name of its device in topics [sensor-2]:   Bits per second [115200]:
        Where the readings go:
           0  nowhere for now, only to programs on this machine
           1  HiveMQ Cloud
           2  EMQX Cloud, dedicated
           3  EMQX Cloud, serverless
           4  Mosquitto on a machine of your own
           5  RabbitMQ with its MQTT plugin
           6  AWS IoT Core
           7  Azure IoT Hub
           8  Azure Event Grid, its MQTT broker
           9  ThingsBoard, one device there for this gateway
          10  Home Assistant, its Mosquitto add-on
        Which one [0]:
        Its host, as in abc123.s1.eu.hivemq.cloud:   url: `http://` is not one of mqtt, mqtts, ws and wss; write for example `mqtts://broker.example.com`, or `mqtt://192.168.1.5:1884` for a port of its own
        Its host, as in abc123.s1.eu.hivemq.cloud: User name: File for the password [secrets/hivemq]: Password (not shown; empty to write the file yourself):
        "##);
    assert!(rest.contains(&site.text()), "{rest}");
    assert!(!ran.screen.contains("hunter2"), "a password is never shown");

    let config = site.config();
    assert_eq!(config.gateway, "greenhouse");
    let told: Vec<_> = config.ports.iter().map(|port| (port.path.as_str(), port.format, port.baud)).collect();
    let expected = [
        ("/dev/serial/by-id/usb-Arduino_Uno_7543-if00", Format::Wire, 115_200),
        ("/dev/serial0", Format::Json, 9600),
    ];
    assert_eq!(told, expected);
    assert!(site.text().contains("#  - path: /dev/ttyUSB0\n"), "what is not wanted is shown as a comment");
    let bridge = &config.bridges[0];
    assert_eq!(bridge.endpoint.url.to_string(), "mqtts://abc.s1.eu.hivemq.cloud:8883");
    let secret = site.path("secrets/hivemq");
    assert_eq!(bridge.password.as_ref().unwrap().secret().read().unwrap(), "hunter2: #");
    assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(site.path("serialgate.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn without_questions_the_boards_that_are_plugged_in_are_taken() {
    let site = Site::new();
    let ran = site.run(&["--yes", "--gateway", "pi"], "");
    assert!(matches!(ran.result, Ok(Some(_))), "{:?}", ran.result);
    assert_eq!(ran.screen, "");
    let config = site.config();
    assert_eq!(config.ports.len(), 2);
    assert!(config.ports.iter().all(|port| port.format == Format::Wire));
    assert!(config.bridges.is_empty());
    assert_eq!(config.queue.path, site.path("queue.db"));
    assert!(site.text().contains("#  - path: /dev/serial0\n"));

    let ran = site.run(&["--yes", "--force", "--format", "json"], "");
    assert!(matches!(ran.result, Ok(Some(_))), "{:?}", ran.result);
    let devices: Vec<_> = site.config().ports.into_iter().map(|port| port.device.unwrap()).collect();
    assert_eq!(devices, ["sensor-1", "sensor-2"]);
}

#[test]
fn options_answer_for_every_cloud() {
    for preset in PRESETS {
        let site = Site::new();
        let options = ["--yes", "--cloud", preset.name, "--host", "broker.example.com", "--username", "me"];
        let Ok(Some(written)) = site.run(&options, "").result else { panic!("{}", preset.name) };
        let bridge = &site.config().bridges[0];
        assert_eq!(
            (bridge.name.as_str(), bridge.endpoint.url.host.as_str()),
            (preset.name, "broker.example.com")
        );
        assert_eq!(bridge.endpoint.url.scheme.is_secure(), preset.link == presets::Link::Public);
        let said = written.next(&site.args(&options));
        assert!(said.contains(&format!("secrets/{}", preset.name)), "it says what is still to come: {said}");
        assert!(said.contains("serialgate check --connect --config "), "{said}");
    }
}

#[test]
fn the_configuration_of_the_service_is_taken_over_by_the_service() {
    let site = Site::new();
    let mut args = site.args(&["--yes"]);
    assert!(!Written { missing: Vec::new() }.next(&args).contains("systemctl"));
    args.output = config::DEFAULT_PATH.into();
    let said = Written { missing: Vec::new() }.next(&args);
    assert!(said.ends_with("systemctl restart serialgate"), "{said}");
}

#[test]
fn a_broker_in_the_house_may_have_its_own_authority() {
    let site = Site::new();
    let ran =
        site.run(&["--gateway", "pi", "--cloud", "mosquitto"], "none\n192.168.1.5\nyes\nca.pem\n\nyes\n");
    assert!(matches!(ran.result, Ok(Some(_))), "{:?}\n{}", ran.result, ran.screen);
    let bridge = &site.config().bridges[0];
    assert_eq!(bridge.endpoint.url.to_string(), "mqtts://192.168.1.5:8883");
    assert_eq!(bridge.endpoint.tls.ca, Some(site.path("ca.pem")));
    assert_eq!((&bridge.username, &bridge.password), (&None, &None));
}

#[test]
fn whoever_stops_or_says_no_gets_no_file() {
    for (typed, asked) in [
        ("", "Name of this gateway"),
        ("pi\n", "Which ones"),
        ("pi\nnone\nmosquitto\nbroker\nno\nme\n\n", "Password"),
        ("pi\nnone\nmosquitto\nbroker\nno\nme\n\nhunter2\n", "Write this"),
        ("pi\nnone\nmosquitto\nbroker\nno\nme\n\nhunter2\nno\n", "Write this"),
    ] {
        let site = Site::new();
        let ran = site.run(&[], typed);
        assert!(matches!(ran.result, Ok(None) | Err(Trouble::Stop(Stop::Ended))), "{:?}", ran.result);
        assert!(ran.screen.lines().last().unwrap().contains(asked), "{}", ran.screen);
        assert_eq!(fs::read_dir(site.folder.path()).unwrap().count(), 0, "{typed:?}");
    }
}

#[test]
fn a_password_that_is_there_is_not_asked_for_nor_replaced() {
    let site = Site::new();
    fs::create_dir(site.path("secrets")).unwrap();
    fs::write(site.path("secrets/emqx"), "old\n").unwrap();
    let ran = site.run(&["--gateway", "pi"], "none\nemqx\nbroker.example.com\nme\n\n\n");
    assert!(matches!(ran.result, Ok(Some(_))), "{:?}\n{}", ran.result, ran.screen);
    assert!(ran.screen.contains("secrets/emqx is there already"), "{}", ran.screen);
    assert_eq!(fs::read_to_string(site.path("secrets/emqx")).unwrap(), "old\n");
}

#[test]
fn what_is_missing_or_wrong_on_the_command_line_is_named() {
    for (options, words) in [
        (&["--cloud", "hivemq"][..], "--host is missing"),
        (&["--cloud", "hivemq", "--host", "h"], "--username is missing"),
        (
            &["--cloud", "hivemq", "--host", "a b", "--username", "u"],
            "--host: url: `mqtts://a b` is not of the form",
        ),
        (&["--gateway", "Green House"], "--gateway: gateway: `Green House` cannot stand in topics"),
    ] {
        let site = Site::new();
        let all: Vec<&str> = ["--yes"].into_iter().chain(options.iter().copied()).collect();
        let Err(Trouble::Stop(stop)) = site.run(&all, "").result else { panic!("{options:?}") };
        assert!(stop.to_string().contains(words), "{stop}");
    }
}

#[test]
fn a_file_that_is_there_stays() {
    let site = Site::new();
    fs::write(site.path("serialgate.yaml"), "mine").unwrap();
    assert!(may_write(&site.args(&["--yes"])).unwrap_err().contains("is there already"));
    assert_eq!(may_write(&site.args(&["--yes", "--force"])), Ok(()));
    // One that came while questions were asked stays, too.
    assert!(matches!(site.run(&["--yes"], "").result, Err(Trouble::File(..))));
    assert_eq!(site.text(), "mine");
}
