//! Serialgate: serial sensors to MQTT, and no reading lost.
//!
//! ```text
//! board ──> port ──> queue (SQLite) ─┬─tap──> publisher ──> broker ──> LAN clients
//!   ^                  ^             └─outlet──> bridge ──> cloud
//!   └── ACK when safe  └── LAN clients' messages that a bridge forwards
//! ```
//!
//! **The layer rule.** Pure modules decide: they know no task, file, clock or log; time and
//! randomness are arguments. Services and parts act. A part may use the queue, the services and
//! what is pure, and never another part: [`gateway`] wires them. `tests/layers.rs` holds this.
//!
//! | layer | modules |
//! |---|---|
//! | pure | [`reading`], [`topic`], [`format`](mod@format), [`wire`], [`mqtt`], [`render`], [`call`], [`backoff`], [`password`], [`watchdog`], and the deciding halves of parts (`queue::core`, `bridge::session`, `broker::routing`, …) |
//! | configuration | [`config`] |
//! | services | [`clock`], [`flow`], [`status`], [`logging`], [`signal`], [`control`], [`notify`], [`pulse`], [`transport`] |
//! | parts | [`port`], [`queue`], [`broker`], [`publisher`], [`bridge`] |
//! | wiring | [`gateway`], [`command`], `main` |
//! | beside it | [`sim`]: boards without hardware |

pub mod backoff;
pub mod bridge;
pub mod broker;
pub mod call;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod flow;
pub mod format;
pub mod gateway;
pub mod logging;
pub mod mqtt;
pub mod notify;
pub mod password;
pub mod port;
pub mod publisher;
pub mod pulse;
pub mod queue;
pub mod reading;
pub mod render;
pub mod signal;
pub mod sim;
pub mod status;
pub mod topic;
pub mod transport;
pub mod watchdog;
pub mod wire;
