//! Serialgate wire protocol v1.
#![no_std]
