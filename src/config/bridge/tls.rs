//! `tls` of a bridge: whom we believe, and who we are.

use std::net::IpAddr;
use std::path::PathBuf;

use super::url::{Scheme, is_host};
use crate::config::read::{Problems, Table, Wrong, text};
use crate::config::values;

/// Most protocols in `alpn`.
const MAX_PROTOCOLS: usize = 8;

/// Longest name of a protocol, in bytes (RFC 7301, 3.1).
const MAX_PROTOCOL_BYTES: usize = 255;

/// How the link is encrypted. The files are PEM and are read at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may have issued the broker's certificate, or that certificate itself; `None`: whom the
    /// system believes.
    pub ca: Option<PathBuf>,
    /// Our own certificate, where the broker wants one.
    pub identity: Option<Identity>,
    /// The protocols that we offer, in our order (RFC 7301).
    pub alpn: Vec<String>,
    /// The name that the broker's certificate must have, where it is not that of the url.
    pub server_name: Option<String>,
}

/// Our own certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key, without a passphrase.
    pub key: PathBuf,
}

impl Tls {
    /// Reads the key `tls` of a bridge that is reached by `scheme`, if that is known.
    pub(super) fn read(bridge: &mut Table<'_>, scheme: Option<Scheme>, problems: &mut Problems) -> Self {
        let mut tls = Self::default();
        let Some(node) = bridge.node("tls") else { return tls };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_secure()) {
            let secure = if scheme == Scheme::Ws { "wss" } else { "mqtts" };
            let what = format!("`{}://` is not encrypted", scheme.as_str());
            let instead = format!("write `{secure}://` in the url, or leave `tls` out");
            problems.add_for("tls", node.place, &Wrong::new(what, instead));
        }
        let Some(mut table) = Table::open("`tls`", node, problems) else { return tls };
        let file = |text: &str| values::file(text).map(Some);
        table.set("ca", &mut tls.ca, problems, file);
        let (mut certificate, mut key) = (None, None);
        table.set("certificate", &mut certificate, problems, file);
        table.set("key", &mut key, problems, file);
        for (one, other) in [("certificate", "key"), ("key", "certificate")] {
            if let (Some(place), None) = (table.place_of(one), table.place_of(other)) {
                let wrong = Wrong::new(
                    format!("there is no `{other}` for it"),
                    "give both the certificate and its private key, each as a PEM file",
                );
                problems.add_for(one, place, &wrong);
            }
        }
        tls.identity = certificate.zip(key).map(|(certificate, key)| Identity { certificate, key });
        let example = "`alpn: [x-amzn-mqtt-ca]`";
        let items = table.list("alpn", MAX_PROTOCOLS, example, problems).unwrap_or_default();
        let protocol = |text: &str| values::line(text, MAX_PROTOCOL_BYTES);
        tls.alpn = items.iter().filter_map(|item| text("alpn", item, problems, protocol)).collect();
        table.set("server_name", &mut tls.server_name, problems, server_name);
        table.close(&[], problems);
        tls
    }

    /// The files that it names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let identity = self.identity.iter_mut().flat_map(|own| [&mut own.certificate, &mut own.key]);
        self.ca.iter_mut().chain(identity)
    }
}

fn server_name(text: &str) -> Result<Option<String>, Wrong> {
    if is_host(text) || text.parse::<IpAddr>().is_ok() {
        return Ok(Some(text.to_owned()));
    }
    let instead = "write the name that stands in the broker's certificate, as in `broker.example.com`";
    Err(Wrong::value(text, "is not a host name", instead))
}
