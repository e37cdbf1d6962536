//! Envoy's gRPC access log: how requests that this picker routed have ended.

use prost::Message;

use crate::conversation::{Names, whole_number};
use crate::proto::{HttpAccessLogEntry, Kind, ResponseFlags, StreamAccessLogsMessage, Struct};
use crate::usage::Usage;

/// Envoy's details of an answer that a server gave.
const VIA_UPSTREAM: &str = "via_upstream";

/// Bytes of a node's id that is believed.
const LONGEST_NODE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Complete,
    Aborted,
    Failed,
    Lost,
    /// By us, for a more important request; no access log says so.
    Evicted,
}

impl Ending {
    pub fn name(self) -> &'static str {
        match self {
            Ending::Complete => "complete",
            Ending::Aborted => "aborted",
            Ending::Failed => "failed",
            Ending::Lost => "lost",
            Ending::Evicted => "evicted",
        }
    }
}

/// The end of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `Conversation::key` of the stream, when it is one of ours.
    pub stream: String,
    pub ending: Ending,
    pub status: Option<u64>,
    pub usage: Usage,
    pub served: Option<String>,
    /// Why no other endpoint was tried, else Envoy's response code details, in printable ASCII.
    pub details: Option<String>,
    pub attempts: Option<u32>,
}

fn ending(flags: &ResponseFlags) -> Ending {
    let gone = flags.downstream_connection_termination
        || flags.downstream_remote_reset
        || flags.downstream_protocol_error;
    let failed = flags.no_healthy_upstream
        || flags.upstream_request_timeout
        || flags.local_reset
        || flags.upstream_remote_reset
        || flags.upstream_connection_failure
        || flags.upstream_connection_termination
        || flags.upstream_overflow
        || flags.upstream_retry_limit_exceeded
        || flags.stream_idle_timeout
        || flags.upstream_max_stream_duration_reached
        || flags.duration_timeout
        || flags.upstream_protocol_error
        || flags.dns_resolution_failure;
    match (gone, failed) {
        (true, _) => Ending::Aborted,
        (_, true) => Ending::Failed,
        _ => Ending::Complete,
    }
}

fn count(values: &Struct, key: &str) -> Option<i64> {
    match values.fields.get(key)?.kind.as_ref()? {
        Kind::Number(number) if (0.0..(1i64 << 53) as f64).contains(number) => Some(*number as i64),
        Kind::String(text) => whole_number(text).map(|number| number as i64),
        _ => None,
    }
}

fn usage(values: Option<&Struct>) -> Usage {
    let Some(values) = values else {
        return Usage::None;
    };
    // Ranks may say nothing but a total.
    match count(values, "prompt").or_else(|| count(values, "total")) {
        None => Usage::None,
        Some(prompt) => {
            let (read, created) = (count(values, "cache_read"), count(values, "cache_creation"));
            Usage::Counts {
                prompt: prompt + read.unwrap_or(0) + created.unwrap_or(0),
                completion: count(values, "completion").unwrap_or(0),
                cached: count(values, "cached").or(read),
            }
        }
    }
}

/// `ip:port`, with brackets around an IPv6 address.
fn endpoint(address: &str, port: u32) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// *failure*: why a connection could not be made.
fn details(said: &str, failure: &str, longest: usize) -> Option<String> {
    let more = if failure.is_empty() || said.contains(failure) {
        String::new()
    } else {
        format!("{{{failure}}}")
    };
    (!said.is_empty() && said != VIA_UPSTREAM).then(|| {
        said.chars()
            .chain(more.chars())
            .take(longest)
            .map(|letter| {
                if (' '..='~').contains(&letter) {
                    letter
                } else {
                    '?'
                }
            })
            .collect()
    })
}

fn read_entry(entry: HttpAccessLogEntry, names: &Names) -> Option<Entry> {
    let common = entry.common?;
    let metadata = common.metadata?.filter_metadata;
    let own = metadata.get(&names.own_namespace)?.fields.get("stream")?;
    let stream = match &own.kind {
        Some(Kind::String(text)) => text.clone(),
        _ => String::new(),
    };
    let served = metadata
        .get(&names.lb_namespace)
        .and_then(|lb| lb.text(&names.served))
        .map(str::to_owned);
    let response = entry.response.unwrap_or_default();
    let refused = metadata
        .get(&names.attempts_namespace)
        .and_then(|attempts| attempts.text("reason"));
    Some(Entry {
        stream,
        ending: ending(&common.response_flags.unwrap_or_default()),
        details: details(
            refused.unwrap_or(&response.response_code_details),
            &common.upstream_transport_failure_reason,
            names.longest_details,
        ),
        attempts: Some(common.upstream_request_attempt_count).filter(|count| *count != 0),
        status: response
            .response_code
            .map(|code| u64::from(code.value))
            .filter(|code| *code != 0),
        usage: usage(metadata.get(&names.usage_namespace)),
        served: served.or_else(|| {
            let address = common.upstream_remote_address?.socket_address?;
            (!address.address.is_empty()).then(|| endpoint(&address.address, address.port_value))
        }),
    })
}

/// What one message tells.
pub struct Told {
    /// The routed requests; other requests are left out.
    pub entries: Vec<Entry>,
    /// The id of the Envoy that writes, in a stream's first message.
    pub node: Option<String>,
}

pub fn read_entries(data: &[u8], names: &Names) -> Result<Told, prost::DecodeError> {
    let message = StreamAccessLogsMessage::decode(data)?;
    Ok(Told {
        entries: message
            .http_logs
            .unwrap_or_default()
            .log_entry
            .into_iter()
            .filter_map(|entry| read_entry(entry, names))
            .collect(),
        node: message
            .identifier
            .and_then(|identifier| identifier.node)
            .map(|node| node.id)
            .filter(|id| (1..=LONGEST_NODE).contains(&id.len())),
    })
}
