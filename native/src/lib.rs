//! Headgate's native wire: bytes are read and written here, every decision is made in Python.
#![forbid(unsafe_code)]

pub mod accesslog;
pub mod border;
pub mod conversation;
pub mod grpc;
pub mod hub;
pub mod prefix;
pub mod proto;
pub mod rewrite;
pub mod scan;
pub mod server;
#[cfg(test)]
mod server_tests;
pub mod shape;
pub mod text;
pub mod tls;
pub mod usage;
