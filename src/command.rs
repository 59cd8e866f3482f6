//! The commands of the command line, one module each.

pub mod sim;
