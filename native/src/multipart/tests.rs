//! Forms in any pieces.

use super::*;
use crate::shape::ObjectRule;

fn fields() -> Arc<Fields> {
    let shape = Shape {
        root: ObjectRule {
            fields: vec![
                (b"model".to_vec(), Rule::Model),
                (b"stream".to_vec(), Rule::Stream),
            ],
            layout: Vec::new(),
        },
        need: Vec::new(),
        limits: 0,
        sessions: Vec::new(),
        cached: false,
        tools: None,
    };
    let measures = Measures {
        longest_boundary: 70,
        most_parts: 3,
        longest_headers: 100,
        longest_model: 20,
        true_words: vec![b"true".to_vec()],
    };
    Arc::new(Fields::new(&shape, measures))
}

fn read(body: &[u8], size: usize) -> Option<Reading> {
    let chunks: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let mut scanner = Scanner::new(&fields(), "multipart/form-data; boundary=b")?;
    for chunk in &chunks {
        scanner.feed(chunk);
    }
    scanner.finish(&chunks)
}

const BODY: &[u8] = b"--bb\r\n--b \r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b\r\n\
    content-disposition:form-data;name=stream\r\n\r\nTrue\r\n--b\r\n\r\n\r\r\n-\r\n--c\r\n--b--\r\n--b\r\n";

#[test]
fn a_form_reads_the_same_in_any_pieces() {
    for size in 1..=BODY.len() {
        let found = read(BODY, size).unwrap();
        assert_eq!(
            (found.model.as_deref(), found.stream),
            (Some("whisper"), true),
            "{size}"
        );
        let (start, end) = found.spans[0];
        assert_eq!(&BODY[start..end], b"whisper");
    }
}

#[test]
fn every_model_is_renamed_and_nothing_else() {
    let new = replace_model(&fields(), "multipart/form-data; boundary=b", BODY, "m").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&new),
        String::from_utf8_lossy(BODY).replace("whisper", "m")
    );
    assert_eq!(
        replace_model(&fields(), "multipart/form-data", BODY, "m"),
        None
    );
}

#[test]
fn more_parts_or_longer_headers_than_allowed_are_not_read() {
    let four = b"--b\r\n\r\n\r\n--b\r\n\r\n\r\n--b\r\n\r\n\r\n--b\r\n\r\n\r\n--b--";
    assert_eq!(
        read(&four[..four.len() - 12], 1000).map(|found| found.model),
        Some(None)
    );
    assert_eq!(read(four, 1000), None);
    let long = [b"--b\r\nx:".as_slice(), &[b'y'; 99], b"\r\n\r\n"].concat();
    assert_eq!(read(&long, 1000), None);
}
