//! The scanner by itself: any chunking, any bytes.

use std::sync::Arc;

use proptest::prelude::*;

use crate::program::{Measures, Program};
use crate::scan::{Reading, Scanner};
use crate::shape::{ChoiceRule, Kinds, ObjectRule, Piece, Rule, Shape};

fn rule(fields: Vec<(&str, Rule)>, layout: Vec<Piece>) -> ObjectRule {
    let fields = fields
        .into_iter()
        .map(|(name, rule)| (name.as_bytes().to_vec(), rule))
        .collect();
    ObjectRule { fields, layout }
}

fn field(slot: usize) -> Piece {
    Piece::Field {
        before: b"<".to_vec(),
        slot,
        after: b"|".to_vec(),
    }
}

/// Every kind of rule at once.
fn program() -> Arc<Program> {
    let text = || Rule::Text {
        before: b"(".to_vec(),
        after: b")".to_vec(),
    };
    let part = Rule::Object(rule(
        vec![
            ("text", text()),
            ("i", Rule::Media(vec![b"url".to_vec(), b"id".to_vec()])),
        ],
        vec![field(0), field(1)],
    ));
    let content = Rule::Choice(ChoiceRule {
        string: Some(Box::new(text())),
        list: Some(Box::new(Rule::List(Box::new(Rule::Choice(ChoiceRule {
            string: Some(Box::new(text())),
            object: Some(Box::new(part)),
            ..ChoiceRule::default()
        }))))),
        object: None,
    });
    let message = Rule::Object(rule(vec![("c", content)], vec![field(0)]));
    let shape = Shape {
        root: rule(
            vec![
                ("p", Rule::Prompts(b";".to_vec())),
                ("m", Rule::Turns(Box::new(message), vec![b"<(sys".to_vec()])),
                ("r", Rule::Raw(vec![b"null".to_vec()])),
                ("model", Rule::Model),
                ("s", Rule::Stream),
                ("n", Rule::Limit(0)),
                ("salt", Rule::Salt),
            ],
            vec![Piece::Lead, field(2), field(1), field(0)],
        ),
        need: vec![(
            0,
            Kinds {
                string: true,
                list: true,
            },
        )],
        limits: 1,
        sessions: Vec::new(),
        cached: true,
        tools: Some(2),
    };
    let measures = Measures {
        block_bytes: 4,
        horizon: 64,
        media_blocks: 8,
        longest_model: 20,
    };
    Arc::new(Program::new(&shape, measures))
}

fn read<'a>(program: &Arc<Program>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Reading> {
    let mut scanner = Scanner::new(program.clone());
    for chunk in chunks {
        scanner.feed(chunk);
    }
    scanner.finish()
}

const WHOLE: &str = r#" {"model":"m","r":[1,{"p\u0041":1e-05}],"m":[{"c":"system"},{"c":[{"type":"i","i":{"url":"abcdef"}},"t"]}],
    "p":["a",[1,2],"\u00e9\ud83d\ude00\ud83d"],"s":true,"n":12,"salt":"x","t":-1.5E+3} "#;

#[test]
fn a_body_reads_the_same_when_cut_at_every_byte() {
    let program = program();
    let whole = read(&program, [WHOLE.as_bytes()]).expect("accepted");
    assert_eq!(
        (
            whole.model.as_deref(),
            whole.stream,
            whole.limit,
            whole.media
        ),
        (Some("m"), true, Some(12), 1)
    );
    assert_ne!(whole.blocks, whole.tools_first);
    assert!(!whole.tools_first.is_empty());
    assert_eq!(
        &WHOLE.as_bytes()[whole.spans[0].0..whole.spans[0].1],
        b"\"m\""
    );
    for cut in 0..WHOLE.len() {
        let (head, tail) = WHOLE.as_bytes().split_at(cut);
        assert_eq!(
            read(&program, [head, b"", tail]),
            Some(whole.clone()),
            "{cut}"
        );
    }
}

/// Pieces of JSON in no order: far more of it is nearly valid than of random bytes.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"model\":\"m\"",
        "\"p\":",
        "\"m\":[",
        "\"r\":",
        "{\"c\":",
        "{\"c\":\"sys\"}",
        "\"salt\":\"x\"",
        "\"s\":true",
        "\"n\":7",
        "\"type\":\"i\"",
        "\"i\":{\"url\":",
        "null",
        "-0",
        "1e9",
        "\"a\\",
        "u00e9",
        "\\ud83d\\ude00",
        "\\ud83d",
        "1.5E-3",
        " ",
        "\"text\"",
        "é",
        "\u{1}",
        "{\"model\":\"m\",\"p\":\"x\"}",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|all| all.concat().into_bytes())
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((0..WHOLE.len(), any::<u8>(), 0usize..3), 0..4);
    edits.prop_map(|edits| {
        let mut body = WHOLE.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at % body.len();
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => {
                    body.remove(at);
                }
            }
        }
        body
    })
}

#[test]
fn a_byte_order_mark_and_half_a_pair_are_read() {
    let program = program();
    let body = "\u{feff}{\"model\":\"m\",\"p\":\"\\ude00x\\ud83d\"}".as_bytes();
    let whole = read(&program, [body]).expect("accepted");
    // `<`, two replacement characters, `x` and `|`.
    assert_eq!(whole.prompt_bytes, 9);
    for cut in 0..body.len() {
        let (head, tail) = body.split_at(cut);
        assert_eq!(read(&program, [head, tail]), Some(whole.clone()));
    }
}

/// With `\\u0041` in the place of every escaped surrogate.
fn without_surrogates(text: &str) -> String {
    let mut out = text.to_owned();
    for at in 0..out.len().saturating_sub(5) {
        let escape = out.get(at..at + 6).unwrap_or_default().to_lowercase();
        if escape.starts_with("\\ud") && escape.as_bytes()[3] >= b'8' {
            out.replace_range(at..at + 6, "\\u0041");
        }
    }
    out
}

/// Cases of the fuzz test; `HEADGATE_FUZZ_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("HEADGATE_FUZZ_CASES");
    asked
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_bytes_in_any_chunks_read_the_same_and_only_json_is_accepted(
        body in prop_oneof![pieces(), damaged(), prop::collection::vec(any::<u8>(), 0..60)],
        size in 1usize..9,
    ) {
        let program = program();
        let whole = read(&program, [body.as_slice()]);
        prop_assert_eq!(read(&program, body.chunks(size)), whole.clone());
        if whole.is_some() {
            // Halves of surrogate pairs are read, and a byte order mark.
            let text = String::from_utf8_lossy(&body).replace('\u{feff}', "");
            let text = without_surrogates(&text);
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
                // JSON has no largest number, while `Value` has: 1e405 is read as far as it stands.
                prop_assert!(error.to_string().starts_with("number out of range"), "{}: {}", error, text);
            }
        }
    }
}
