//! `serialgate send`: a command down to a device, with its result.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{DaemonArg, Exit, complain, say};
use crate::control::{Line, Request, Response};

/// `send` on the command line.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    serialgate send greenhouse-6677 relay on\n  \
    serialgate send greenhouse-6677 setpoint 21.5\n  \
    serialgate send greenhouse-6677 '$interval' 10\n  \
    serialgate send greenhouse-6677 '$reboot' true\n  \
    serialgate send greenhouse-6677 '$call' '{\"command\":16,\"arguments\":500}'\n\n\
    The same as a message {\"CHANNEL\":VALUE} to serialgate/GATEWAY/DEVICE/set; docs/topics.md tells more.\n\
    The result comes within 5 seconds.\n\n\
    Exit code 0: the device did it (or, where it speaks JSON, it was sent). 1: the device refuses it.\n\
    65: it makes no sense for this device. 69: the device does not answer, is not there, or the daemon is not.")]
pub struct Args {
    /// The device's name, as in topics
    device: String,
    /// The channel to be set, or one of $interval, $reboot, $call
    channel: String,
    /// JSON, as in true, 21.5 or "text"; anything else is text as it stands
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArg,
}

/// What stands in a result, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Outcome {
    status: String,
    error: Option<String>,
    code: Option<u8>,
    values: Option<Map<String, Value>>,
    answer: Option<Vec<Value>>,
}

/// Sends the command and prints what became of it.
///
/// # Errors
/// Where no runtime can be started.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let value = serde_json::from_str(&args.value).unwrap_or_else(|_| Value::from(args.value.as_str()));
    let payload = json!({ args.channel.as_str(): value }).to_string();
    let request = Request::Call { device: args.device.clone(), payload };
    let result = match super::runtime()?.block_on(args.daemon.ask(request)) {
        Ok(Response::Result(Line(result))) => result,
        Ok(other) => {
            complain(format_args!("serialgate: {}", super::refusal(other)));
            return Ok(Exit::Unavailable);
        }
        Err(exit) => return Ok(exit),
    };
    let outcome: Outcome = serde_json::from_str(result.get())?;
    if args.json {
        say(result.get());
    } else {
        tell(&args.device, &outcome);
    }
    Ok(exit(&outcome.status))
}

fn tell(device: &str, outcome: &Outcome) {
    let Outcome { status, error, code, values, answer } = outcome;
    if let Some(error) = error {
        return complain(format_args!("serialgate: {error}"));
    }
    let given = values.iter().flatten().map(|(name, value)| format!("{name} {value}"));
    let given: Vec<String> = given.chain(answer.iter().flatten().map(ToString::to_string)).collect();
    let given = if given.is_empty() { String::new() } else { format!(": {}", given.join(", ")) };
    match (status.as_str(), code) {
        ("ok", _) => say(format_args!("{device}: done{given}")),
        ("sent", _) => say(format_args!("{device}: sent; devices that speak JSON do not answer")),
        ("unknown", _) => complain(format_args!("{device} does not know this command{given}")),
        ("refused", _) => complain(format_args!("{device} refuses it{given}")),
        (_, Some(code)) => complain(format_args!("{device} did not do it, and gives code {code}{given}")),
        (status, None) => complain(format_args!("{device}: {status}{given}")),
    }
}

fn exit(status: &str) -> Exit {
    match status {
        "ok" | "sent" => Exit::Ok,
        "invalid" => Exit::Data,
        "unknown" | "refused" | "failed" => Exit::No,
        _ => Exit::Unavailable,
    }
}
