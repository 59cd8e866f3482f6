//! bridge
mod alive;
mod eta;
mod flights;
mod lost;
mod session;
mod version;
mod words;
