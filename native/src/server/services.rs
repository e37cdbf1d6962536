//! The services beside ext_proc: Envoy's access log, and health.

use prost::Message;

use crate::accesslog::read_entries;
use crate::conversation::framed;
use crate::grpc::{INVALID_ARGUMENT, NOT_FOUND, OK, Reader, Stop, Writer};
use crate::hub::{Event, Hub, Lane};
use crate::proto::{HealthCheckRequest, HealthCheckResponse, health};

/// Services whose health is told; `liveness` says that the process runs, the others that requests should come.
const HEALTH_NAMES: [&str; 5] = [
    "",
    "liveness",
    "readiness",
    "inference-extension",
    "envoy.service.ext_proc.v3.ExternalProcessor",
];

/// Says that an access-log stream has ended, however it did.
struct LogStream<'a> {
    lane: &'a Lane,
}

impl Drop for LogStream<'_> {
    fn drop(&mut self) {
        self.lane.tell(Event::LogClosed);
    }
}

pub async fn access_log(lane: &Lane, mut reader: Reader, mut writer: Writer) {
    lane.tell(Event::LogOpened);
    let _open = LogStream { lane };
    loop {
        let data = match reader.next().await {
            Ok(data) => data,
            Err(Stop::Closed) => {
                // The service's one answer is an empty message.
                if writer.send(framed(b"")).await.is_ok() {
                    writer.finish(OK, "");
                }
                return;
            }
            Err(Stop::Cancelled) => return,
            Err(Stop::Refused(code, text)) => return writer.finish(code, &text),
        };
        lane.wait_for_room().await;
        match read_entries(&data, &lane.hub.settings.names) {
            Ok(entries) => {
                for entry in entries {
                    lane.tell(Event::Logged(entry));
                }
            }
            Err(_) => {
                return writer.finish(INVALID_ARGUMENT, "not a StreamAccessLogsMessage");
            }
        }
    }
}

fn health_of(service: &str, ready: bool) -> i32 {
    if !HEALTH_NAMES.contains(&service) {
        health::SERVICE_UNKNOWN
    } else if ready || service == "liveness" {
        health::SERVING
    } else {
        health::NOT_SERVING
    }
}

/// The name asked for; None: the stream has been ended.
async fn health_name(reader: &mut Reader, writer: Writer) -> Option<(String, Writer)> {
    let data = match reader.next().await {
        Ok(data) => data,
        Err(Stop::Refused(code, text)) => {
            writer.finish(code, &text);
            return None;
        }
        Err(Stop::Closed | Stop::Cancelled) => return None,
    };
    match HealthCheckRequest::decode(data) {
        Ok(request) => Some((request.service, writer)),
        Err(_) => {
            writer.finish(INVALID_ARGUMENT, "not a HealthCheckRequest");
            None
        }
    }
}

pub async fn check(hub: &Hub, mut reader: Reader, writer: Writer) {
    let Some((name, mut writer)) = health_name(&mut reader, writer).await else {
        return;
    };
    let status = health_of(&name, *hub.ready.borrow());
    if status == health::SERVICE_UNKNOWN {
        return writer.finish(NOT_FOUND, "unknown service");
    }
    let answer = HealthCheckResponse { status }.encode_to_vec();
    if writer.send(framed(&answer)).await.is_ok() {
        writer.finish(OK, "");
    }
}

pub async fn watch_health(hub: &Hub, mut reader: Reader, writer: Writer) {
    let Some((name, mut writer)) = health_name(&mut reader, writer).await else {
        return;
    };
    let mut ready = hub.ready.subscribe();
    let mut said = None;
    loop {
        let status = health_of(&name, *ready.borrow_and_update());
        if said != Some(status) {
            said = Some(status);
            let answer = HealthCheckResponse { status }.encode_to_vec();
            if writer.send(framed(&answer)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            () = writer.gone() => return,
        }
    }
}
