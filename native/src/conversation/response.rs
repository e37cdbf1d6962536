//! The response phase: what of the answer is told, changed and sent on.

use std::sync::Arc;

use bytes::Bytes;

use super::messages::{common, empty, find, read_headers, streamed, text};
use super::{Conversation, Phase, Said, WireError, whole_number};
use crate::accesslog::Ending;
use crate::answers::Answers;
use crate::proto::{
    BodyMutation, CommonResponse, HeaderMutation, HttpBody, HttpHeaders, Kind, Metadata, Mutation,
    PhaseResponse, Response, Struct, TrailersResponse,
};
use crate::rewrite::Restorer;
use crate::usage::{Usage, UsageReader};

const VIA_UPSTREAM: &str = "via_upstream";
const EVENT_LINES: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a piece that tell whether an answer is an event stream.
const LONGEST_BEGINNING: usize = 64;

/// Whether an answer that begins so is an event stream; None: more of it must be seen.
///
/// A byte order mark and empty lines may come first.
fn begins_events(beginning: &[u8]) -> Option<bool> {
    let line = match beginning.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest,
        None if BYTE_ORDER_MARK.starts_with(beginning) => return None,
        None => beginning,
    };
    let blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let line = &line[line.iter().take_while(|byte| blank(byte)).count()..];
    if EVENT_LINES.iter().any(|each| line.starts_with(each)) {
        return Some(true);
    }
    let may = EVENT_LINES.iter().any(|each| each.starts_with(line));
    (!may).then_some(false)
}

impl Conversation {
    pub(super) fn response_headers(
        &mut self,
        message: HttpHeaders,
        served: Option<String>,
        local: bool,
    ) -> Result<Vec<Said>, WireError> {
        match self.phase {
            Phase::Start | Phase::Over | Phase::Body | Phase::Picking | Phase::Refusing => {
                // The data plane's own answer, or our refusal: it passes.
                let waited = self.phase == Phase::Picking;
                self.phase = Phase::Over;
                self.outbox
                    .push_back(empty(Response::ResponseHeaders(PhaseResponse::default())));
                return Ok(if waited {
                    vec![self.over(Ending::Aborted, None, Usage::None, None)]
                } else {
                    Vec::new()
                });
            }
            Phase::Started => return Err(WireError("response headers came twice".to_owned())),
            Phase::Routed => {}
        }
        self.phase = Phase::Started;
        self.stays = false;
        // A stream that could have been left already is seen through.
        self.leaving = false;
        let end = message.end_of_stream;
        let headers = read_headers(message)?;
        let header = |name: &str| find(&headers, name).map(text);
        let status = whole_number(header(":status").unwrap_or_default()).unwrap_or(0);
        self.status = Some(status);
        self.served = served;
        let kind = header("content-type").unwrap_or_default();
        self.sse = kind.to_lowercase().starts_with("text/event-stream");
        if let (Some(_), Some(asked), false) =
            (&self.target, &self.asked_model, self.response_bodyless)
        {
            let encoding = header("content-encoding").unwrap_or_default();
            self.restorer = Restorer::of(kind, encoding, asked, self.answers());
        }
        let names = &self.settings.names;
        let mut mutation = HeaderMutation::default();
        if !self.lean {
            mutation.put(
                &names.endpoint,
                self.served.as_deref().unwrap_or(&self.chosen),
            );
            mutation.put(&names.decision, &self.decision);
            if header(&names.request_id).is_none() {
                mutation.put(&names.request_id, text(&self.request_id));
            }
        }
        if self.restorer.is_some() {
            mutation.remove_headers.push("content-length".to_owned());
        }
        let changes = !mutation.set_headers.is_empty() || !mutation.remove_headers.is_empty();
        let response = changes.then(|| CommonResponse {
            header_mutation: Some(mutation),
            ..CommonResponse::default()
        });
        self.outbox
            .push_back(empty(Response::ResponseHeaders(PhaseResponse { response })));
        if status >= 400 {
            self.id = None;
        }
        let mut said = vec![Said::Started {
            status,
            served: self.served.clone(),
            local,
            plain: !self.sse,
        }];
        if end {
            said.extend(self.finish());
        } else if self.lean && !self.sse && self.restorer.is_none() && self.id.is_none() {
            self.leaving = true;
        } else if !self.lean {
            self.usage = Some(UsageReader::new(self.answers()));
        }
        Ok(said)
    }

    /// What the answer may hold.
    pub(super) fn answers(&self) -> Arc<Answers> {
        let format = self.claimed.map(|index| &self.settings.formats[index]);
        format.map_or_else(Arc::default, |format| format.answers.clone())
    }

    /// Who answers, by the data plane's word; None when it says nothing.
    pub(super) fn served_endpoint(&self, context: Option<Metadata>) -> Option<String> {
        context
            .unwrap_or_default()
            .filter_metadata
            .get(&self.settings.names.lb_namespace)
            .and_then(|lb| lb.text(&self.settings.names.served))
            .filter(|served| served.len() <= self.settings.longest_endpoint)
            .map(str::to_owned)
    }

    /// Our own Envoy, of an answer that needs no change, sends the body without the headers.
    pub(super) fn first_bytes(&mut self, message: &HttpBody, served: Option<String>) -> Vec<Said> {
        self.pass(&message.body, message.end_of_stream);
        if message.body.is_empty() && !message.end_of_stream {
            return Vec::new();
        }
        self.stays = false;
        let mut said: Vec<Said> = self
            .look_for_id(&message.body, served.clone())
            .into_iter()
            .collect();
        let piece = &message.body[..message.body.len().min(LONGEST_BEGINNING)];
        self.beginning.extend_from_slice(piece);
        let events = begins_events(&self.beginning);
        if events.is_none() && !message.end_of_stream {
            if self.beginning.len() > LONGEST_BEGINNING {
                // Empty lines, for the most part.
                let blank =
                    |byte: &&u8| BYTE_ORDER_MARK.contains(byte) || matches!(byte, b'\r' | b'\n');
                let blanks = self.beginning.iter().take_while(blank).count();
                self.beginning.drain(..blanks);
            }
            return said;
        }
        self.phase = Phase::Started;
        self.leaving = self.id.is_none() || message.end_of_stream;
        if events != Some(true) {
            self.served = served;
            return said; // plain, or an error: the access log tells
        }
        self.served.clone_from(&served);
        said.push(Said::Started {
            status: 200,
            served,
            local: false,
            plain: false,
        });
        said.push(Said::FirstBytes);
        said
    }

    /// Looks into the next piece of an answer; the reader goes once nothing more can be found.
    fn look_for_id(&mut self, piece: &[u8], served: Option<String>) -> Option<Said> {
        let reader = self.id.as_mut()?;
        let found = reader.feed(piece);
        if reader.done {
            self.id = None;
        }
        found.map(|id| Said::Stored { id, served })
    }

    pub(super) fn response_body(&mut self, message: HttpBody) -> Result<Vec<Said>, WireError> {
        if matches!(self.phase, Phase::Over | Phase::Refusing) {
            self.pass(&message.body, message.end_of_stream);
            return Ok(Vec::new());
        }
        if self.lean && self.phase != Phase::Started {
            // A refusal of our own Envoy's, by a filter before this one: it does not send the headers.
            let waited = self.phase == Phase::Picking;
            self.phase = Phase::Over;
            self.pass(&message.body, message.end_of_stream);
            return Ok(if waited {
                vec![self.over(Ending::Aborted, None, Usage::None, None)]
            } else {
                Vec::new()
            });
        }
        if self.phase != Phase::Started {
            return Err(WireError(
                "a response body before response headers".to_owned(),
            ));
        }
        let mut said = Vec::new();
        if !message.body.is_empty() && !self.response_seen {
            self.response_seen = true;
            if self.sse {
                said.push(Said::FirstBytes);
            }
        }
        let served = self.served.clone();
        said.extend(self.look_for_id(&message.body, served));
        if let Some(usage) = &mut self.usage
            && !message.body.is_empty()
        {
            usage.feed(&message.body);
        }
        self.answer_body(&message.body, message.end_of_stream);
        if message.end_of_stream {
            said.extend(self.finish());
        } else if self.lean && self.restorer.is_none() && self.response_seen && self.id.is_none() {
            self.leaving = true;
        }
        Ok(said)
    }

    fn answer_body(&mut self, body: &Bytes, end: bool) {
        let Some(restorer) = &mut self.restorer else {
            self.pass(body, end);
            return;
        };
        let mut restored = restorer.feed(body);
        if end {
            restored.extend(restorer.finish());
        }
        let restored = Bytes::from(restored);
        if self.response_duplex {
            self.outbox
                .extend(streamed(&restored, end, Response::ResponseBody));
            return;
        }
        let mutation = if restored.is_empty() {
            Mutation::ClearBody(true)
        } else {
            Mutation::Body(restored)
        };
        self.outbox
            .push_back(empty(Response::ResponseBody(common(CommonResponse {
                body_mutation: Some(BodyMutation {
                    mutation: Some(mutation),
                }),
                ..CommonResponse::default()
            }))));
    }

    fn pass(&mut self, body: &Bytes, end: bool) {
        if self.response_duplex {
            self.outbox
                .extend(streamed(body, end, Response::ResponseBody));
        } else {
            self.outbox
                .push_back(empty(Response::ResponseBody(PhaseResponse::default())));
        }
    }

    pub(super) fn response_trailers(&mut self) -> Vec<Said> {
        let started = self.phase == Phase::Started;
        if let (true, true, Some(restorer)) = (started, self.response_duplex, &mut self.restorer) {
            let rest = Bytes::from(restorer.finish());
            self.outbox
                .extend(streamed(&rest, false, Response::ResponseBody));
        }
        self.outbox
            .push_back(empty(Response::ResponseTrailers(TrailersResponse {})));
        if started {
            self.finish().into_iter().collect()
        } else {
            Vec::new()
        }
    }

    /// The answer is whole. Our own Envoy's access log says so itself, with the usage.
    fn finish(&mut self) -> Option<Said> {
        self.leaving = true;
        if self.lean {
            return None;
        }
        self.phase = Phase::Over;
        let usage = self.usage.as_ref().map_or(Usage::None, UsageReader::usage);
        let (status, served) = (self.status, self.served.take());
        Some(self.over(Ending::Complete, status, usage, served))
    }
}

/// Whether the data plane answered by itself, when it forwards `response.code_details`.
pub(super) fn is_local<'a>(attributes: impl Iterator<Item = &'a Struct>) -> bool {
    for values in attributes {
        if let Some(details) = values.fields.get("response.code_details") {
            return matches!(&details.kind, Some(Kind::String(text)) if !text.is_empty() && text != VIA_UPSTREAM);
        }
    }
    false
}
