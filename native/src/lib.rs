//! Headgate's native wire: bytes are read and written here, every decision is made in Python.
#![forbid(unsafe_code)]

pub mod accesslog;
mod answers;
pub mod authority;
pub mod border;
pub mod conversation;
mod first_token;
pub mod format;
pub mod gather;
pub mod grpc;
pub mod hub;
pub mod lru;
pub mod multipart;
mod outline;
pub mod prefix;
pub mod program;
pub mod proto;
pub mod rewrite;
pub mod scan;
pub mod server;
pub mod server_name;
mod sessions;
pub mod shape;
mod stored;
pub mod text;
pub mod threads;
pub mod tls;
pub mod usage;
