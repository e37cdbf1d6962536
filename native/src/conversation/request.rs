//! The request phase: from headers to the pick.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::messages::{
    common, cut, empty, encode, find, read_client, read_headers, read_subset, streamed, text,
};
use super::{Arrival, Conversation, Phase, Said, WireError, whole_number};
use crate::format::{BodyKind, Format};
use crate::proto::{
    BodyMutation, CommonResponse, HeaderMutation, HttpBody, HttpHeaders, Kind, Mutation,
    PhaseResponse, ProtocolConfiguration, Response, Struct, TrailersResponse, body_mode, texts,
};
use crate::rewrite::{readable, replace_model};
use crate::text::beginning;

/// Bytes that are scanned before other streams have their turn.
pub(super) const SLICE: usize = 64 * 1024;

impl Conversation {
    pub(super) fn request_headers(
        &mut self,
        message: HttpHeaders,
        metadata: BTreeMap<String, Struct>,
        config: Option<ProtocolConfiguration>,
        attributes: &BTreeMap<String, Struct>,
    ) -> Result<Vec<Said>, WireError> {
        if self.phase != Phase::Start {
            return Err(WireError("request headers came twice".to_owned()));
        }
        self.phase = Phase::Body;
        if let Some(config) = config {
            self.configure(config)?;
        }
        self.pool_names = self.pools_meant(attributes);
        let end = message.end_of_stream;
        self.headers = read_headers(message)?;
        self.claimed = self.format_of_path();
        let settings = self.settings.clone();
        self.request_id = match find(&self.headers, &settings.names.request_id) {
            // A copy: a slice would keep the connection's read buffer for as long as the stream lasts.
            Some(id) if !id.is_empty() => cut(id, settings.longest_id),
            _ => self.name().into(),
        };
        if settings.subset_filter
            && let Some(hint) = metadata.get(&settings.names.subset_namespace)
        {
            self.subset = read_subset(
                hint,
                &settings.names.subset,
                settings.most_subset,
                settings.longest_endpoint,
            );
        }
        if let Some(own) = metadata.get(&settings.names.own_namespace) {
            self.client = read_client(own, &settings.names.client, settings.longest_id);
        }
        if end {
            self.headers_only = true;
            self.claim();
            return Ok(self.arrive(true));
        }
        if self.picks_on_headers {
            return Ok(self.arrive(false));
        }
        let length = whole_number(self.header("content-length").unwrap_or_default());
        if length.is_some_and(|length| length > settings.body_limit as u64) {
            return Ok(self.too_large());
        }
        self.claim();
        if !self.duplex {
            // A client may go while the pick is on its way to our own Envoy: its log has the name from here.
            let metadata = if self.lean {
                texts(&[(&settings.names.own_namespace, &[("stream", &self.key())])])
            } else {
                Bytes::new()
            };
            let answer = Response::RequestHeaders(PhaseResponse::default());
            self.outbox.push_back(encode(answer, metadata));
        }
        Ok(Vec::new())
    }

    fn pools_meant(&self, attributes: &BTreeMap<String, Struct>) -> Vec<String> {
        let mut found = Vec::new();
        for name in &self.settings.names.pool_attributes {
            for values in attributes.values() {
                if let Some(value) = values.fields.get(name) {
                    let text = match &value.kind {
                        Some(Kind::String(text)) => text.as_str(),
                        _ => "",
                    };
                    let text = text.strip_prefix("pool/").unwrap_or(text);
                    let longest = 2 * self.settings.longest_id;
                    found.push(beginning(text, longest).to_owned());
                }
            }
        }
        found
    }

    fn configure(&mut self, config: ProtocolConfiguration) -> Result<(), WireError> {
        self.mode = config.request_body_mode;
        if !(body_mode::NONE..=body_mode::FULL_DUPLEX_STREAMED).contains(&self.mode) {
            return Err(WireError(format!(
                "request body mode {} is not served",
                self.mode
            )));
        }
        self.duplex = self.mode == body_mode::FULL_DUPLEX_STREAMED;
        self.picks_on_headers = matches!(self.mode, body_mode::NONE | body_mode::STREAMED);
        self.response_duplex = config.response_body_mode == body_mode::FULL_DUPLEX_STREAMED;
        self.response_bodyless = config.response_body_mode == body_mode::NONE;
        Ok(())
    }

    /// Starts the scanner of the path's format, where the body may be read.
    fn claim(&mut self) {
        if self.body_kind().is_none() {
            return;
        }
        self.format = self.claimed;
        self.scanner = self
            .format
            .and_then(|index| self.settings.formats[index].reader(self.content_type()));
    }

    /// The format of the path; one of JSON where the body may not be read.
    fn format_of_path(&self) -> Option<usize> {
        let kind = self.body_kind().unwrap_or(BodyKind::Json);
        let path = self.path();
        let posted = self.header(":method") == Some("POST");
        // The longest end of the path; the format without ends is that of all other paths.
        let fit = |format: &Format| match format.suffixes.as_slice() {
            _ if format.kind() != kind => None,
            [] => Some(0),
            ends => ends
                .iter()
                .filter(|end| posted && path.ends_with(end.as_str()))
                .map(String::len)
                .max(),
        };
        let formats = &self.settings.formats;
        (0..formats.len())
            .filter_map(|index| Some((fit(&formats[index])?, index)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, index)| index)
    }

    fn path(&self) -> &str {
        self.header(":path")
            .unwrap_or_default()
            .split('?')
            .next()
            .unwrap_or_default()
    }

    fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// How the body may be read; None: not at all, as if it is compressed.
    fn body_kind(&self) -> Option<BodyKind> {
        let encoding = self.header("content-encoding").unwrap_or_default();
        readable(encoding)
            .then(|| BodyKind::of(self.content_type()))
            .flatten()
    }

    pub(super) fn request_body(&mut self, message: HttpBody) -> Result<Vec<Said>, WireError> {
        if matches!(self.phase, Phase::Over | Phase::Refusing)
            || (self.duplex && self.request_end.repeats(&message))
        {
            return Ok(Vec::new());
        }
        if self.picks_on_headers && self.phase != Phase::Start {
            self.outbox
                .push_back(empty(Response::RequestBody(PhaseResponse::default())));
            return Ok(Vec::new());
        }
        if self.phase != Phase::Body {
            return Err(WireError("a request body that nobody waits for".to_owned()));
        }
        self.body_size += message.body.len();
        if self.body_size > self.settings.body_limit {
            return Ok(self.too_large());
        }
        if self.scanner.is_some() {
            self.unscanned = message.body.clone();
        }
        self.body.push(message.body);
        if self.mode == body_mode::BUFFERED_PARTIAL && !message.end_of_stream {
            self.then = Some(false);
        } else if message.end_of_stream || !self.duplex {
            self.then = Some(true);
        }
        Ok(self.scan_on())
    }

    /// A body message is not scanned to its end: see [`Conversation::scan_on`].
    pub fn scanning(&self) -> bool {
        !self.unscanned.is_empty()
    }

    /// Scans the next slice of a body message; hands the request over when that was the last one.
    ///
    /// To be called again, with other streams having their turn in between, before another message is received.
    pub fn scan_on(&mut self) -> Vec<Said> {
        let slice = self.unscanned.split_to(self.unscanned.len().min(SLICE));
        if let Some(scanner) = &mut self.scanner {
            scanner.feed(&slice);
        }
        if self.scanning() {
            return Vec::new();
        }
        self.unscanned = Bytes::new();
        self.then
            .take()
            .map_or_else(Vec::new, |seen| self.arrive(seen))
    }

    pub(super) fn request_trailers(&mut self) -> Result<Vec<Said>, WireError> {
        match self.phase {
            Phase::Over | Phase::Refusing => Ok(Vec::new()),
            Phase::Start => Err(WireError("trailers before headers".to_owned())),
            Phase::Body => {
                self.trailers = true;
                Ok(self.arrive(true))
            }
            _ => {
                self.outbox
                    .push_back(empty(Response::RequestTrailers(TrailersResponse {})));
                Ok(Vec::new())
            }
        }
    }

    /// Hands the request over; `seen`: the body was seen whole.
    fn arrive(&mut self, seen: bool) -> Vec<Said> {
        self.phase = Phase::Picking;
        let scanner = self.scanner.take();
        let format = if seen { self.format } else { None };
        let unseen = self.response_bodyless && !self.lean;
        let strict = format.is_some_and(|index| self.settings.formats[index].strict());
        let mut reading = match format {
            Some(_) => scanner.and_then(|scanner| scanner.finish(&self.body)),
            None => None,
        };
        if format.is_some()
            && reading.is_none()
            && self.body_size <= self.settings.odd_body_limit
            && (self.body_size > 0 || strict)
        {
            return vec![Said::Unread {
                headers: self.headers.clone(),
                body: self.whole_body(),
                subset: self.subset.clone(),
                unseen,
                client: self.client.clone(),
                lean: self.lean,
            }];
        }
        let names = &self.settings.names;
        let path = self.path();
        let lists_models =
            self.header(":method") == Some("GET") && path.ends_with(&names.models_suffix);
        let api = match (format, &reading) {
            _ if lists_models => Arc::from("models"),
            (Some(index), Some(_)) => self.settings.formats[index].api.clone(),
            _ => Arc::from("other"),
        };
        let longest = beginning(path, self.settings.longest_path).len();
        let path =
            find(&self.headers, ":path").map_or_else(Bytes::new, |whole| whole.slice(..longest));
        let media = reading.as_ref().map_or(0, |reading| reading.media);
        if let Some(reading) = &mut reading {
            self.spans = Some(std::mem::take(&mut reading.spans));
        }
        let headers = self.headers.iter();
        let sessions = self.settings.wanted().told(
            headers.map(|(name, value)| (name.as_ref(), value.as_ref())),
            reading.as_ref().map_or(&[], |reading| &reading.sessions),
        );
        let arrival = Arrival {
            id: self.request_id.clone(),
            api,
            path,
            subset: self.subset.clone(),
            objective: self.first(&names.objective),
            fairness_id: self.first(&names.fairness_id),
            slo_ttft_ms: self.first(&names.slo_ttft_ms),
            slo_tpot_ms: self.first(&names.slo_tpot_ms),
            sessions,
            pools: if lists_models && self.lean {
                find(&self.headers, &names.pools).cloned()
            } else {
                None
            },
            client: self.client.clone(),
            flow: if self.lean {
                find(&self.headers, &names.flow).cloned()
            } else {
                None
            },
            body_bytes: if seen { self.body_size } else { 0 },
            media_tokens: media.min(self.settings.most_media) * self.settings.media_tokens,
            unseen,
            reading,
        };
        if let Some(reading) = &arrival.reading {
            self.asked_model.clone_from(&reading.model);
            self.streaming = reading.stream;
        }
        vec![Said::Arrived(Box::new(arrival))]
    }

    fn whole_body(&mut self) -> Bytes {
        if self.body.len() != 1 {
            let mut whole = BytesMut::with_capacity(self.body_size);
            for chunk in &self.body {
                whole.extend_from_slice(chunk);
            }
            self.body = vec![whole.freeze()];
        }
        self.body[0].clone()
    }

    fn too_large(&mut self) -> Vec<Said> {
        self.phase = Phase::Refusing;
        self.body.clear();
        self.scanner = None;
        self.unscanned = Bytes::new();
        vec![Said::TooLarge {
            request_id: self.request_id.clone(),
        }]
    }

    /// Answers with a pick; nothing when the client has gone. `read`: model and streaming of a body read in Python;
    /// `headers`: for the server, in place of the client's; `stays`: the request may be asked for back.
    pub fn route(
        &mut self,
        endpoints: &str,
        target: Option<String>,
        decision: &str,
        read: Option<(Option<String>, bool)>,
        headers: &[(String, String)],
        stays: bool,
    ) {
        if self.phase != Phase::Picking {
            return;
        }
        self.phase = Phase::Routed;
        self.stays = stays;
        self.chosen = endpoints.split(',').next().unwrap_or_default().to_owned();
        let told = if self.lists {
            endpoints.to_owned()
        } else {
            self.chosen.clone()
        };
        let endpoints = told.as_str();
        self.decision = decision.to_owned();
        if let Some((asked, streaming)) = read {
            (self.asked_model, self.streaming) = (asked, streaming);
        }
        let rewritten = match &target {
            Some(name) if !self.picks_on_headers => {
                let spans = self.spans.take();
                let body = self.whole_body();
                let new = match self.format.map(|index| &self.settings.formats[index]) {
                    Some(format) => {
                        format.rename(self.content_type(), &body, spans.as_deref(), name)
                    }
                    None => replace_model(&body, name),
                };
                new.filter(|new| **new != *body)
            }
            _ => None,
        };
        let settings = self.settings.clone();
        let names = &settings.names;
        let mut mutation = HeaderMutation::default();
        for (name, value) in headers {
            mutation.put(name, value);
        }
        mutation.put(&names.destination, endpoints);
        if !self.lean && self.header(&names.request_id).is_none() {
            mutation.put(&names.request_id, text(&self.request_id));
        }
        for (name, _) in &self.headers {
            let name = text(name);
            if names
                .stripped
                .binary_search_by(|known| known.as_str().cmp(name))
                .is_ok()
                && name != names.destination
            {
                mutation.remove_headers.push(name.to_owned());
            }
        }
        if target.is_some() && self.header("accept-encoding").is_some() {
            mutation.remove_headers.push("accept-encoding".to_owned());
        }
        if let Some(new) = &rewritten
            && self.header("content-length").is_some()
        {
            mutation.put("content-length", &new.len().to_string());
        }
        self.target = target;
        let key = self.key();
        let metadata = texts(&[
            (&names.lb_namespace, &[(&names.destination, endpoints)]),
            (
                &names.own_namespace,
                &[("stream", &key), ("decision", decision)],
            ),
        ]);
        let mut answer = CommonResponse {
            header_mutation: Some(mutation),
            body_mutation: None,
            clear_route_cache: !self.lean,
        };
        if self.headers_only || self.picks_on_headers || self.duplex {
            self.outbox
                .push_back(encode(Response::RequestHeaders(common(answer)), metadata));
            if self.duplex && !self.headers_only && !self.picks_on_headers {
                self.send_body_back(rewritten);
            }
        } else {
            answer.body_mutation = rewritten.map(|new| BodyMutation {
                mutation: Some(Mutation::Body(Bytes::from(new))),
            });
            self.outbox
                .push_back(encode(Response::RequestBody(common(answer)), metadata));
        }
        if self.trailers {
            self.outbox
                .push_back(empty(Response::RequestTrailers(TrailersResponse {})));
        }
        self.body = Vec::new();
        self.headers = Vec::new();
        // A plain answer shows no first token, and one that is not rewritten needs nothing from here any more.
        let kept = self.answers().stored && !self.response_bodyless;
        let plain = !self.streaming && self.target.is_none() && !kept;
        self.leaving = self.lean && plain && !stays;
    }

    fn send_body_back(&mut self, rewritten: Option<Vec<u8>>) {
        let body = match rewritten {
            Some(new) => Bytes::from(new),
            None => self.whole_body(),
        };
        self.outbox
            .extend(streamed(&body, !self.trailers, Response::RequestBody));
    }
}
