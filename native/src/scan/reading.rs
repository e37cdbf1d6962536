//! What was read of a body, once it is whole.

use std::sync::Arc;

use super::{Model, Scanner, State};
use crate::program::Node;
use crate::shape::Piece;
use crate::text::{Text, chain, model_mask, no_salt};

/// What a shape found in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// None: the engine's default.
    pub model: Option<String>,
    pub stream: bool,
    pub limit: Option<i64>,
    pub prompt_bytes: usize,
    /// Images, sounds and files.
    pub media: usize,
    /// See [`chain`].
    pub blocks: Vec<u8>,
    /// The blocks with the tools before the system text; empty: no other order.
    pub tools_first: Vec<u8>,
    /// Where the values of top-level model fields stand, quotes included.
    pub spans: Vec<(usize, usize)>,
    /// The id of what the request continues.
    pub prior: Option<String>,
    /// Fields that may name the session, with digests of what they say.
    pub sessions: Vec<(Arc<str>, u128)>,
}

impl Scanner {
    /// What was read, once the body is whole; None: ask the format's own reader.
    pub fn finish(self) -> Option<Reading> {
        if self.unsure || self.state != State::End || !self.partial.is_empty() {
            return None;
        }
        let program = &self.program;
        if program.strict() && !self.met.iter().any(|met| *met) {
            return None;
        }
        let model = match self.model {
            Model::Missing => None,
            Model::Name(name) => {
                Some(String::from_utf8(name).ok()?).filter(|name| !name.is_empty())
            }
            Model::TooLong => return None,
            Model::Other if program.strict() => return None,
            Model::Other => None,
        };
        let given = self.given?;
        let Node::Object { layout, .. } = &program.nodes[program.root] else {
            return None;
        };
        let (salt, mask) = (
            self.salt.unwrap_or_else(no_salt),
            model_mask(model.as_deref()),
        );
        let hashes = |layout: &[&Piece]| {
            if !program.cached {
                return Vec::new();
            }
            let pieces = layout
                .iter()
                .flat_map(|piece| placed(piece, &given, self.lead.as_ref()));
            let measures = program.measures;
            chain(pieces, salt, mask, measures.block_bytes, measures.horizon)
        };
        let usual: Vec<&Piece> = layout.iter().collect();
        let others = tools_first(&usual, program.tools, &given, self.lead.as_ref());
        let mut reading = Reading {
            stream: self.stream,
            limit: self.told.limits.iter().flatten().next().copied(),
            prompt_bytes: 0,
            media: 0,
            blocks: hashes(&usual),
            tools_first: others.map_or_else(Vec::new, |order| hashes(&order)),
            spans: self.spans,
            prior: self.told.prior(),
            sessions: self
                .told
                .sessions
                .iter()
                .map(|(index, digest)| (program.sessions[*index].clone(), *digest))
                .collect(),
            model,
        };
        for piece in layout {
            let (text, around) = match piece {
                Piece::Literal(bytes) => (None, bytes.len()),
                Piece::Lead => (self.lead.as_ref(), 0),
                Piece::Field {
                    before,
                    slot,
                    after,
                } => (given[*slot].as_ref(), before.len() + after.len()),
            };
            if let Some(text) = text {
                reading.prompt_bytes += text.total;
                reading.media += text.media;
            }
            if text.is_some() || matches!(piece, Piece::Literal(_)) {
                reading.prompt_bytes += around;
            }
        }
        Some(reading)
    }
}

/// The bytes of one piece of the top-level layout.
fn placed<'a>(
    piece: &'a Piece,
    given: &'a [Option<Text>],
    lead: Option<&'a Text>,
) -> impl Iterator<Item = &'a [u8]> {
    let (before, text, after): (&[u8], Option<&Text>, &[u8]) = match piece {
        Piece::Literal(bytes) => (bytes, None, &[]),
        Piece::Lead => (&[], lead, &[]),
        Piece::Field {
            before,
            slot,
            after,
        } => match &given[*slot] {
            Some(text) => (before, Some(text), after),
            None => (&[], None, &[]),
        },
    };
    let pieces = text.into_iter().flat_map(Text::pieces);
    std::iter::once(before)
        .chain(pieces)
        .chain(std::iter::once(after))
}

/// The layout with the tools first; None: nothing stands before them.
fn tools_first<'a>(
    layout: &[&'a Piece],
    tools: Option<usize>,
    given: &[Option<Text>],
    lead: Option<&Text>,
) -> Option<Vec<&'a Piece>> {
    let is_tools =
        |piece: &&&Piece| matches!(piece, Piece::Field { slot, .. } if Some(*slot) == tools);
    let at = layout.iter().position(|piece| is_tools(&piece))?;
    given[tools?].as_ref()?;
    let stands = |piece: &&Piece| match piece {
        Piece::Lead => lead.is_some(),
        Piece::Field { slot, .. } => given[*slot].is_some(),
        Piece::Literal(_) => true,
    };
    layout[..at].iter().any(stands).then(|| {
        let mut order = vec![layout[at]];
        order.extend(&layout[..at]);
        order.extend(&layout[at + 1..]);
        order
    })
}
