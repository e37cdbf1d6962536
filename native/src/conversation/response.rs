//! The response phase: when an answer begins, goes on and ends.

use std::sync::Arc;

use super::answering::{Answering, Head, pass};
use super::messages::{empty, find, read_headers, text};
use super::{Conversation, Phase, Said, WireError, whole_number};
use crate::accesslog::Ending;
use crate::answers::Answers;
use crate::proto::{
    CommonResponse, HeaderMutation, HttpBody, HttpHeaders, Kind, Metadata, PhaseResponse, Response,
    Struct, TrailersResponse,
};
use crate::rewrite::{Restorer, readable};
use crate::usage::Usage;

const VIA_UPSTREAM: &str = "via_upstream";

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
                self.outbox
                    .push_back(empty(Response::ResponseHeaders(PhaseResponse::default())));
                return Ok(self.unrouted_answer());
            }
            Phase::Started => return Err(WireError("response headers came twice".to_owned())),
            Phase::Routed => {}
        }
        self.phase = Phase::Started;
        self.stays = false;
        let end = message.end_of_stream;
        let headers = read_headers(message)?;
        let header = |name: &str| find(&headers, name).map(text);
        let status = whole_number(header(":status").unwrap_or_default()).unwrap_or(0);
        let kind = header("content-type").unwrap_or_default();
        let encoding = header("content-encoding").unwrap_or_default();
        let events = kind.to_lowercase().starts_with("text/event-stream");
        let restorer = match (&self.target, &self.asked_model, self.response_bodyless) {
            (Some(_), Some(asked), false) => Restorer::of(kind, encoding, asked, self.answers()),
            _ => None,
        };
        let names = &self.settings.names;
        let mut mutation = HeaderMutation::default();
        if !self.lean {
            mutation.put(&names.endpoint, served.as_deref().unwrap_or(&self.chosen));
            mutation.put(&names.decision, &self.decision);
            if header(&names.request_id).is_none() {
                mutation.put(&names.request_id, text(&self.request_id));
            }
        }
        if restorer.is_some() {
            mutation.remove_headers.push("content-length".to_owned());
        }
        let changes = !mutation.set_headers.is_empty() || !mutation.remove_headers.is_empty();
        let response = changes.then(|| CommonResponse {
            header_mutation: Some(mutation),
            ..CommonResponse::default()
        });
        self.outbox
            .push_back(empty(Response::ResponseHeaders(PhaseResponse { response })));
        let mut said = vec![Said::Started {
            status,
            served: served.clone(),
            local,
            plain: !events,
        }];
        let head = Head {
            status,
            served,
            events,
            readable: readable(encoding),
            restorer,
        };
        let mut answering = Answering::new(&self.answers(), head, self.lean, self.response_duplex);
        if end {
            said.extend(answering.finish());
        }
        self.follow(answering, &said);
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

    /// An answer to a request that was never routed: whoever waited for a pick waits no more.
    fn unrouted_answer(&mut self) -> Vec<Said> {
        let waited = self.phase == Phase::Picking;
        self.phase = Phase::Over;
        if waited {
            vec![self.over(Ending::Aborted, None, Usage::None, None)]
        } else {
            Vec::new()
        }
    }

    /// Goes on with an answer after what it said.
    fn follow(&mut self, answering: Answering, said: &[Said]) {
        // A stream that could have been left already is seen through.
        self.leaving = answering.leaving;
        if matches!(said.last(), Some(Said::Over { .. })) {
            self.phase = Phase::Over;
        }
        self.answering = Some(answering);
    }

    pub(super) fn response_body(
        &mut self,
        message: HttpBody,
        context: Option<Metadata>,
    ) -> Result<Vec<Said>, WireError> {
        let (body, end) = (message.body, message.end_of_stream);
        if self.lean && self.phase == Phase::Routed && (!body.is_empty() || end) {
            self.phase = Phase::Started;
            self.stays = false;
            self.answering = Some(Answering::headerless(&self.answers(), self.response_duplex));
        }
        if self.phase == Phase::Started
            && let Some(mut answering) = self.answering.take()
        {
            if answering.undecided() {
                answering.served = self.served_endpoint(context);
            }
            let said = answering.chunk(&mut self.outbox, &body, end);
            self.follow(answering, &said);
            return Ok(said);
        }
        if !self.lean && !matches!(self.phase, Phase::Over | Phase::Refusing) {
            return Err(WireError(
                "a response body before response headers".to_owned(),
            ));
        }
        pass(&mut self.outbox, &body, end, self.response_duplex);
        if matches!(self.phase, Phase::Over | Phase::Refusing | Phase::Routed) {
            return Ok(Vec::new());
        }
        // A refusal of our own Envoy's, by a filter before this one: it does not send the headers.
        Ok(self.unrouted_answer())
    }

    pub(super) fn response_trailers(&mut self) -> Vec<Said> {
        let mut answering = match self.phase {
            Phase::Started => self.answering.take(),
            _ => None,
        };
        if let Some(answering) = &mut answering {
            answering.held(&mut self.outbox);
        }
        self.outbox
            .push_back(empty(Response::ResponseTrailers(TrailersResponse {})));
        let Some(mut answering) = answering else {
            return Vec::new();
        };
        let said: Vec<Said> = answering.finish().into_iter().collect();
        self.follow(answering, &said);
        said
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
