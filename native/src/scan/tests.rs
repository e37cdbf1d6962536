//! The scanner by itself: any chunking, any bytes.

use std::sync::Arc;

use proptest::prelude::*;

use crate::program::Program;
use crate::scan::{Reading, Scanner};
use crate::shape::{ChoiceRule, ObjectRule, PartRule, Piece, Rule, Shape};

fn rule(fields: Vec<(&str, Rule)>, layout: Vec<Piece>) -> ObjectRule {
    let fields = fields
        .into_iter()
        .map(|(name, rule)| (name.as_bytes().to_vec(), rule))
        .collect();
    ObjectRule { fields, layout }
}

fn field(slot: usize) -> Piece {
    Piece::Field {
        slot,
        suffix: b"|".to_vec(),
    }
}

/// Every kind of rule at once.
fn program() -> Arc<Program> {
    let text = || Some(Box::new(Rule::Text { null: false }));
    let part = Rule::Part(PartRule {
        text: b"text".to_vec(),
        kind: b"type".to_vec(),
        url: b"url".to_vec(),
        longest: 4,
        mark: b"#".to_vec(),
    });
    let content = Rule::Choice(ChoiceRule {
        string: text(),
        list: Some(Box::new(Rule::List(Box::new(Rule::Choice(ChoiceRule {
            string: text(),
            object: Some(Box::new(part)),
            ..ChoiceRule::default()
        }))))),
        object: None,
        null: true,
    });
    let message = Rule::Object(rule(vec![("c", content)], vec![field(0)]));
    let prompt = Rule::Choice(ChoiceRule {
        string: text(),
        list: Some(Box::new(Rule::Prompts(b";".to_vec()))),
        ..ChoiceRule::default()
    });
    let shape = Shape {
        root: rule(
            vec![
                ("p", prompt),
                ("m", Rule::List(Box::new(message))),
                ("r", Rule::Raw(vec![b"null".to_vec()])),
                ("model", Rule::Model),
                ("s", Rule::Stream),
                ("n", Rule::Limit(0)),
            ],
            vec![field(2), field(1), field(0)],
        ),
        need: 0,
        limits: 1,
    };
    Arc::new(Program::new(&shape, 4, 8))
}

fn read<'a>(program: &Arc<Program>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Reading> {
    let mut scanner = Scanner::new(program.clone());
    for chunk in chunks {
        scanner.feed(chunk);
    }
    scanner.finish()
}

const WHOLE: &str = r#" {"model":"m","r":[1,{"p":"x"}],"m":[{"c":"hi"},{"c":[{"type":"i","i":{"url":"abcdef"}},"t"]}],
    "p":["a",[1,2],"\u00e9\ud83d\ude00"],"s":true,"n":12} "#;

#[test]
fn a_body_reads_the_same_when_cut_at_every_byte() {
    let program = program();
    let whole = read(&program, [WHOLE.as_bytes()]).expect("accepted");
    assert_eq!(
        (whole.model.as_str(), whole.stream, whole.limit),
        ("m", true, Some(12))
    );
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
            let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&body);
            prop_assert!(parsed.is_ok(), "{}", String::from_utf8_lossy(&body));
        }
    }
}
