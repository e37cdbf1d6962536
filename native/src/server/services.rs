//! The services beside ext_proc: Envoy's access log, and health.

use prost::Message;

use super::link::Link;
use crate::accesslog::read_entries;
use crate::conversation::framed;
use crate::grpc::{INVALID_ARGUMENT, NOT_FOUND, Reader, Stop, Writer};
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
    link: u64,
}

impl Drop for LogStream<'_> {
    fn drop(&mut self) {
        self.lane.tell(Event::LogClosed { link: self.link });
    }
}

pub async fn access_log(
    lane: &Lane,
    link: &Link,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), Stop> {
    link.told();
    let number = link.number;
    lane.tell(Event::LogOpened { link: number });
    let _open = LogStream { lane, link: number };
    loop {
        let data = match reader.next().await {
            Ok(data) => data,
            // The service's one answer is an empty message.
            Err(Stop::Closed) => return writer.send(framed(b"")).await,
            Err(stop) => return Err(stop),
        };
        reader.hold(lane.wait_for_room()).await?;
        let told = read_entries(&data, &lane.hub.settings.names).map_err(|_| {
            Stop::Refused(INVALID_ARGUMENT, "not a StreamAccessLogsMessage".to_owned())
        })?;
        if let Some(id) = told.node {
            let node = format!("{id}@{}", link.host);
            lane.tell(Event::LogNode { link: number, node });
        }
        for entry in told.entries {
            lane.tell(Event::Logged(entry));
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

/// The name asked for.
async fn health_name(reader: &mut Reader) -> Result<String, Stop> {
    HealthCheckRequest::decode(reader.next().await?)
        .map(|request| request.service)
        .map_err(|_| Stop::Refused(INVALID_ARGUMENT, "not a HealthCheckRequest".to_owned()))
}

pub async fn check(hub: &Hub, reader: &mut Reader, writer: &mut Writer) -> Result<(), Stop> {
    let name = health_name(reader).await?;
    let status = health_of(&name, *hub.ready.borrow());
    if status == health::SERVICE_UNKNOWN {
        return Err(Stop::Refused(NOT_FOUND, "unknown service".to_owned()));
    }
    let answer = HealthCheckResponse { status }.encode_to_vec();
    writer.send(framed(&answer)).await
}

pub async fn watch_health(hub: &Hub, reader: &mut Reader, writer: &mut Writer) -> Result<(), Stop> {
    let name = health_name(reader).await?;
    let mut ready = hub.ready.subscribe();
    let mut said = None;
    loop {
        let status = health_of(&name, *ready.borrow_and_update());
        if said != Some(status) {
            said = Some(status);
            let answer = HealthCheckResponse { status }.encode_to_vec();
            writer.send(framed(&answer)).await?;
        }
        tokio::select! {
            changed = ready.changed() => changed.map_err(|_| Stop::Cancelled)?,
            () = writer.gone() => return Err(Stop::Cancelled),
        }
    }
}
