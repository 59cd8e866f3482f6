//! What of a new configuration the running gateway can take over. Everything else waits for a restart.

use crate::config::Config;

/// What has changed and needs a restart, as people call it: `queue`, or a bridge by its name.
pub(super) fn needs_restart(running: &Config, new: &Config) -> Vec<String> {
    // Whoever adds a key decides here whether it can change while the gateway runs.
    let Config { gateway, base, ports: _, queue, broker: _, bridges, control } = running;
    let parts = [
        ("gateway", *gateway != new.gateway),
        ("base", *base != new.base),
        ("queue", *queue != new.queue),
        ("control", *control != new.control),
    ];
    let mut keys: Vec<String> =
        parts.iter().filter(|(_, changed)| *changed).map(|(key, _)| format!("`{key}`")).collect();
    for bridge in &new.bridges {
        match bridges.iter().find(|known| known.name == bridge.name) {
            None => keys.push(format!("the new bridge {}", bridge.name)),
            Some(known) if known != bridge => keys.push(format!("the bridge {}", bridge.name)),
            Some(_) => {}
        }
    }
    let gone = bridges.iter().filter(|known| !new.bridges.iter().any(|bridge| bridge.name == known.name));
    keys.extend(gone.map(|bridge| format!("the end of the bridge {}", bridge.name)));
    let order = |config: &Config| config.bridges.iter().map(|bridge| bridge.name.clone()).collect::<Vec<_>>();
    if keys.is_empty() && order(running) != order(new) {
        keys.push("the order of `bridges`".to_owned());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "s.yaml").unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let two = "gateway: pi\nbridges: [{name: a, url: 'mqtt://h'}, {name: b, url: 'mqtt://h'}]\n";
        for (before, after, expected) in [
            ("gateway: pi", "gateway: pi", vec![]),
            ("gateway: pi", "gateway: pi\nports: [{path: /dev/a}]\nbroker: {listen: []}", vec![]),
            (
                "gateway: pi",
                "gateway: pj\nbase: x\nqueue: {max_age: 1d}\ncontrol: {socket: /s}",
                vec!["`gateway`", "`base`", "`queue`", "`control`"],
            ),
            (
                two,
                "gateway: pi\nbridges: [{name: a, url: 'mqtt://i'}, {name: c, url: 'mqtt://h'}]",
                vec!["the bridge a", "the new bridge c", "the end of the bridge b"],
            ),
            (
                two,
                "gateway: pi\nbridges: [{name: b, url: 'mqtt://h'}, {name: a, url: 'mqtt://h'}]",
                vec!["the order of `bridges`"],
            ),
        ] {
            assert_eq!(needs_restart(&config(before), &config(after)), expected, "{after}");
        }
    }
}
