//! The whole gateway, from outside: the real binary, boards on pseudo-terminals, Debian's mosquitto
//! as the cloud. One behaviour per test; each has its own directory, ports and processes.

mod support;

mod kill;
mod load;
mod outage;
mod path;
