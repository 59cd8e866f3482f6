//! What is asked, and what is done where nobody is asked.

use std::path::Path;

use super::Args;
use super::presets::{Access, Link, PRESETS, Preset, find};
use super::yaml::{Answers, Cloud, Login, Port, Scalar, Speaks, url};
use crate::command::terminal::{Stop, Terminal};
use crate::config::{Config, ConfigError, Format};
use crate::port::found::{Found, Kind};

/// What is known before the first question.
pub(super) struct Known<'a> {
    /// What the command line says.
    pub(super) args: &'a Args,
    /// The serial lines of this machine.
    pub(super) found: &'a [Found],
    /// The file is where the daemon looks for it, not somewhere for a try.
    pub(super) is_system: bool,
}

/// Asks for all that is not known; where nobody can be asked, takes what is most likely.
pub(super) fn answers(known: &Known<'_>, terminal: &mut Option<Terminal<'_>>) -> Result<Answers, Stop> {
    let Known { args, is_system, .. } = *known;
    let mut form = Form { terminal };
    let host_name = Config::default().gateway;
    let gateway = form.answer(&Question {
        flag: "--gateway",
        text: "Name of this gateway in topics",
        given: args.gateway.as_deref(),
        default: Some(&host_name),
        check: &|text| check(&format!("gateway: {}", Scalar(text))),
    })?;
    let (ports, others) = ports(known, &mut form)?;
    let cloud = match preset(args, &mut form)? {
        Some(preset) => Some(cloud(preset, args, &mut form)?),
        None => None,
    };
    Ok(Answers { gateway, ports, others, queue_beside: !is_system, cloud })
}

/// Something that must be known.
struct Question<'a> {
    /// The option that answers it.
    flag: &'static str,
    text: &'a str,
    given: Option<&'a str>,
    default: Option<&'a str>,
    check: &'a dyn Fn(&str) -> Result<(), String>,
}

/// Where answers come from: the command line, then the terminal, then the default.
struct Form<'f, 't> {
    terminal: &'f mut Option<Terminal<'t>>,
}

impl Form<'_, '_> {
    fn answer(&mut self, question: &Question<'_>) -> Result<String, Stop> {
        if let Some(given) = question.given {
            (question.check)(given).map_err(|why| Stop::Wrong(question.flag, why))?;
            return Ok(given.to_owned());
        }
        match (self.terminal.as_mut(), question.default) {
            (Some(terminal), default) => terminal
                .ask(question.text, default, |answer| (question.check)(answer).map(|()| answer.to_owned())),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(Stop::Missing(question.flag)),
        }
    }

    fn say(&mut self, line: &str) -> Result<(), Stop> {
        self.terminal.as_mut().map_or(Ok(()), |terminal| terminal.say(line))
    }
}

/// The lines that are wanted, and those that are there beside them.
fn ports(known: &Known<'_>, form: &mut Form<'_, '_>) -> Result<(Vec<Port>, Vec<String>), Stop> {
    let Known { args, found, .. } = *known;
    let usual: Vec<bool> = found.iter().map(|line| line.kind == Kind::Usb).collect();
    let wanted = match form.terminal.as_mut() {
        None => usual,
        Some(terminal) if found.is_empty() => {
            terminal.say("\nNo serial port was found. Add it to the file when the board is plugged in.\n")?;
            usual
        }
        Some(terminal) => {
            terminal.say("\nSerial ports:")?;
            for (n, line) in (1..).zip(found) {
                terminal.say(&format!("  {n}  {}", describe(line)))?;
            }
            let default = numbers(&usual);
            terminal.ask("Which ones, as in 1,2 or none", Some(&default), |text| choose(text, found.len()))?
        }
    };
    if args.format.is_none() && wanted.contains(&true) {
        form.say("\nWhat each speaks: wire with the Serialgate library, json with one JSON object a line.")?;
    }
    let mut ports = Vec::new();
    let mut others = Vec::new();
    for (line, wanted) in found.iter().zip(wanted) {
        let path = glob_free(&line.path);
        if wanted {
            let number = ports.len() + 1;
            ports.push(Port { path, speaks: speaks(line, number, args, form)? });
        } else {
            others.push(path);
        }
    }
    Ok((ports, others))
}

fn describe(line: &Found) -> String {
    let name = Path::new(&line.path).file_name().and_then(|name| name.to_str()).unwrap_or(&line.path);
    match line.kind {
        Kind::Usb if name == line.device => name.to_owned(),
        Kind::Usb => format!("{name} ({})", line.device),
        Kind::Pins => format!("{name} ({}, the pins)", line.device),
    }
}

/// `1,3` for the first and the third.
fn numbers(wanted: &[bool]) -> String {
    let numbers: Vec<String> =
        (1..).zip(wanted).filter(|(_, wanted)| **wanted).map(|(n, _): (usize, _)| n.to_string()).collect();
    if numbers.is_empty() { "none".to_owned() } else { numbers.join(",") }
}

/// The opposite of [`numbers`] for `count` lines.
fn choose(text: &str, count: usize) -> Result<Vec<bool>, String> {
    let mut wanted = vec![text == "all"; count];
    if ["all", "none"].contains(&text) {
        return Ok(wanted);
    }
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let place = word.parse::<usize>().ok().and_then(|n| wanted.get_mut(n.checked_sub(1)?));
        *place
            .ok_or_else(|| format!("there is no {word}: write numbers from 1 to {count}, all or none"))? =
            true;
    }
    Ok(wanted)
}

/// `path` as a pattern that fits nothing else.
fn glob_free(path: &str) -> String {
    path.chars().map(|c| if "*?[".contains(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

fn speaks(line: &Found, number: usize, args: &Args, form: &mut Form<'_, '_>) -> Result<Speaks, Stop> {
    let format = match (args.format, form.terminal.as_mut()) {
        (Some(format), _) => format.into(),
        (None, None) => Format::Wire,
        (None, Some(terminal)) => terminal.ask(&describe(line), Some("wire"), |text| match text {
            "wire" => Ok(Format::Wire),
            "json" => Ok(Format::Json),
            _ => Err("wire or json?".to_owned()),
        })?,
    };
    if format == Format::Wire {
        return Ok(Speaks::Wire);
    }
    let in_port = |key: &str, text: &str| {
        check(&format!("ports: [{{path: /dev/x, format: json, {key}: {}}}]", Scalar(text)))
    };
    let device = form.answer(&Question {
        flag: "--format",
        text: "  Name of its device in topics",
        given: None,
        default: Some(&format!("sensor-{number}")),
        check: &|text| in_port("device", text),
    })?;
    let baud = form.answer(&Question {
        flag: "--format",
        text: "  Bits per second",
        given: None,
        default: Some("115200"),
        check: &|text| in_port("baud", text),
    })?;
    // The configuration takes whole numbers in a range only.
    let baud = baud.parse().map_err(|_| Stop::Wrong("--format", baud))?;
    Ok(Speaks::Json { device, baud })
}

fn preset(args: &Args, form: &mut Form<'_, '_>) -> Result<Option<&'static Preset>, Stop> {
    if let Some(name) = &args.cloud {
        return Ok(find(name));
    }
    let Some(terminal) = form.terminal.as_mut() else { return Ok(None) };
    terminal.say("\nWhere the readings go:\n   0  nowhere for now, only to programs on this machine")?;
    for (n, preset) in (1..).zip(PRESETS) {
        terminal.say(&format!("  {n:>2}  {}", preset.title))?;
    }
    terminal.ask("Which one", Some("0"), |text| {
        let number = text.parse::<usize>().ok();
        match number {
            Some(0) => Ok(None),
            Some(n) if n <= PRESETS.len() => Ok(PRESETS.get(n - 1)),
            _ => find(text).map(Some).ok_or_else(|| format!("write a number from 0 to {}", PRESETS.len())),
        }
    })
}

fn cloud(preset: &'static Preset, args: &Args, form: &mut Form<'_, '_>) -> Result<Cloud, Stop> {
    let mut tls = args.ca.is_some();
    form.say("")?;
    let host = form.answer(&Question {
        flag: "--host",
        text: &format!("Its host, as in {}", preset.host),
        given: args.host.as_deref(),
        default: None,
        check: &|text| in_bridge(&url(text, preset.link, true), ""),
    })?;
    let mut ca = args.ca.clone();
    let is_open = !host.contains("://") && preset.link == Link::Own;
    if let (true, None, Some(terminal)) = (is_open, &ca, form.terminal.as_mut()) {
        tls = terminal.confirm("Does it speak TLS (port 8883)?", false)?;
    }
    let address = url(&host, preset.link, tls);
    let is_encrypted = address.starts_with("mqtts://") || address.starts_with("wss://");
    if preset.link == Link::Own && is_encrypted && ca.is_none() && form.terminal.is_some() {
        let file = form.answer(&Question {
            flag: "--ca",
            text: "File with the certificate of its authority (empty if the system knows it)",
            given: None,
            default: Some(""),
            check: &|text| if text.is_empty() { Ok(()) } else { tls_file("ca", text) },
        })?;
        ca = Some(file).filter(|file| !file.is_empty());
    }
    let login = login(preset, args, form)?;
    Ok(Cloud { preset, url: address, login, ca })
}

fn login(preset: &Preset, args: &Args, form: &mut Form<'_, '_>) -> Result<Login, Stop> {
    match preset.access {
        Access::Password { user, optional } => {
            let username = form.answer(&Question {
                flag: "--username",
                text: user,
                given: args.username.as_deref(),
                default: optional.then_some(""),
                check: &|text| match text {
                    "" if optional => Ok(()),
                    text => in_bridge("mqtt://x", &format!("username: {}", Scalar(text))),
                },
            })?;
            if username.is_empty() {
                return Ok(Login::Anonymous);
            }
            let file = password_file(preset, args, form)?;
            Ok(Login::Password { username, file })
        }
        Access::Sas => {
            let device = form.answer(&Question {
                flag: "--username",
                text: "Name of the device there",
                given: args.username.as_deref(),
                default: None,
                check: &|text| {
                    let topic = Scalar(text);
                    in_bridge(
                        "mqtt://x",
                        &format!("client_id: {topic}, forward: [{{filter: a, prefix: {topic}}}]"),
                    )
                },
            })?;
            let file = password_file(preset, args, form)?;
            Ok(Login::Sas { device, file })
        }
        Access::Certificate { client, as_user } => {
            form.say("The certificate and its key, as PEM files; relative paths begin at the configuration's folder.")?;
            let name = form.answer(&Question {
                flag: "--username",
                text: client,
                given: args.username.as_deref(),
                default: None,
                check: &|text| in_bridge("mqtt://x", &format!("client_id: {0}, username: {0}", Scalar(text))),
            })?;
            let mut file = |flag, text, given: &Option<String>, default: &str| {
                form.answer(&Question {
                    flag,
                    text,
                    given: given.as_deref(),
                    default: Some(default),
                    check: &|text| tls_file("ca", text),
                })
            };
            let name_of = |end: &str| format!("secrets/{}.{end}", preset.name);
            let certificate = file("--certificate", "Certificate", &args.certificate, &name_of("pem"))?;
            let key = file("--key", "Private key", &args.key, &name_of("key"))?;
            Ok(Login::Certificate { client: name, as_user, certificate, key })
        }
    }
}

fn password_file(preset: &Preset, args: &Args, form: &mut Form<'_, '_>) -> Result<String, Stop> {
    let text = if preset.access == Access::Sas {
        "File for the device's primary key"
    } else {
        "File for the password"
    };
    form.answer(&Question {
        flag: "--password-file",
        text,
        given: args.password_file.as_deref(),
        default: Some(&format!("secrets/{}", preset.name)),
        check: &|text| in_bridge("mqtt://x", &format!("username: x, password: {{file: {}}}", Scalar(text))),
    })
}

fn tls_file(key: &str, file: &str) -> Result<(), String> {
    in_bridge("mqtts://x", &format!("tls: {{{key}: {}}}", Scalar(file)))
}

/// Whether a bridge with `url` and `more` is right.
fn in_bridge(url: &str, more: &str) -> Result<(), String> {
    check(&format!("bridges: [{{name: x, url: {}, {more}}}]", Scalar(url)))
}

/// Whether `yaml` is a right configuration; in the words of the configuration if not.
fn check(yaml: &str) -> Result<(), String> {
    match Config::parse(yaml, "") {
        Ok(_) => Ok(()),
        Err(ConfigError::Invalid(problems)) => {
            Err(problems.into_iter().next().map_or_else(String::new, |problem| problem.message))
        }
        Err(error) => Err(error.to_string()),
    }
}
