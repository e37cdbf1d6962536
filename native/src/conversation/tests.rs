//! Large bodies, which are scanned in slices.

use std::sync::{Arc, RwLock};

use bytes::Bytes;
use prost::Message;

use super::request::SLICE;
use crate::conversation::{Conversation, Names, Said, Settings};
use crate::format::{Format, Reads};
use crate::program::{Measures, Program};
use crate::proto::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, ProcessingRequest, Request as Kind,
};
use crate::shape::{ObjectRule, Rule, Shape};

fn settings() -> Arc<Settings> {
    let shape = Shape {
        root: ObjectRule {
            fields: vec![(b"model".to_vec(), Rule::Model)],
            layout: Vec::new(),
        },
        need: Vec::new(),
        limits: 0,
        sessions: Vec::new(),
        cached: false,
        tools: None,
    };
    let measures = Measures {
        block_bytes: 128,
        horizon: 8,
        media_blocks: 1,
        longest_model: 20,
    };
    Arc::new(Settings {
        names: Names::default(),
        formats: vec![Format {
            api: Arc::from("other"),
            suffixes: Vec::new(),
            reads: Reads::Json(Arc::new(Program::new(&shape, measures))),
            answers: Arc::default(),
        }],
        nonce: "n".into(),
        secret: Vec::new(),
        body_limit: 1 << 30,
        odd_body_limit: 0,
        media_tokens: 1,
        most_media: 1,
        longest_id: 9,
        longest_path: 9,
        longest_endpoint: 9,
        most_subset: 9,
        subset_filter: true,
        evicted_status: 429,
        sessions: RwLock::default(),
    })
}

fn encoded(request: Kind) -> Bytes {
    let message = ProcessingRequest {
        request: Some(request),
        ..ProcessingRequest::default()
    };
    Bytes::from(message.encode_to_vec())
}

#[test]
fn a_large_body_is_scanned_in_slices() {
    let mut talk = Conversation::new(settings(), 1, true, false);
    let header = |key: &str, value: &str| HeaderValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
        ..HeaderValue::default()
    };
    let headers = HttpHeaders {
        headers: Some(HeaderMap {
            headers: vec![header(":method", "POST"), header(":path", "/x")],
        }),
        ..HttpHeaders::default()
    };
    assert!(
        talk.receive(encoded(Kind::RequestHeaders(headers)))
            .unwrap()
            .is_empty()
    );
    let mut text = vec![b' '; 10 * SLICE];
    text.extend_from_slice(br#"{"model":"m"}"#);
    let body = HttpBody {
        body: Bytes::from(text),
        end_of_stream: true,
    };
    let mut said = talk.receive(encoded(Kind::RequestBody(body))).unwrap();
    let mut slices = 1;
    while talk.scanning() {
        assert!(said.is_empty(), "handed over before all was seen");
        said = talk.scan_on();
        slices += 1;
    }
    assert_eq!(slices, 11);
    let [Said::Arrived(arrival)] = said.as_slice() else {
        panic!("not handed over");
    };
    let model = arrival
        .reading
        .as_ref()
        .and_then(|reading| reading.model.as_deref());
    assert_eq!(model, Some("m"));
}
