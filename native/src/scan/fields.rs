//! What the tokens mean: the rule that each value meets, and what it adds to the reading.

use xxhash_rust::xxh3::Xxh3;

use super::{DEPTH, Frame, Model, Scanner, Sink, State, Step, Unsure};
use crate::program::{ID, Node, PROMPT, SKIP};
use crate::shape::Piece;
use crate::text::{Digest, Text};

impl Scanner {
    /// A value begins: its node, and what an earlier value of the same top-level field said is forgotten.
    pub(super) fn begin(&mut self, byte: u8) {
        if let [
            Frame::Object {
                slot: Some(slot), ..
            },
        ] = self.stack.as_slice()
        {
            let slot = *slot;
            for (met, (needed, kinds)) in self.met.iter_mut().zip(&self.program.need) {
                if *needed == slot {
                    *met = byte == b'"' && kinds.string || byte == b'[' && kinds.list;
                }
            }
            if Some(slot) == self.program.turns {
                self.lead = None;
            }
            match self.program.nodes[self.node] {
                Node::Model if byte == b'n' => self.model = Model::Missing,
                Node::Model => self.model = Model::Other,
                Node::Stream => self.stream = false,
                Node::Salt => self.salt = None,
                _ => self.told.forget(&self.program.nodes, self.node),
            }
        } else if let Node::Limit(_) | Node::Prior(_) | Node::Session(_) =
            self.program.nodes[self.node]
        {
            self.told.forget(&self.program.nodes, self.node);
        }
        if let Node::Choice {
            string,
            list,
            object,
        } = &self.program.nodes[self.node]
        {
            let chosen = match byte {
                b'"' => string,
                b'[' => list,
                b'{' => object,
                _ => &None,
            };
            self.node = chosen.unwrap_or(SKIP);
        }
    }

    pub(super) fn string_start(&mut self) {
        self.sink = match &self.program.nodes[self.node] {
            Node::Text { before, .. } => {
                let mut text = Text::default();
                text.push(before, self.program.keep());
                Sink::Text(text)
            }
            Node::Prompts(_) | Node::Prompt => Sink::Text(Text::default()),
            Node::Media(_) => Sink::Media(Digest::default()),
            Node::Model => Sink::Name(Some(Vec::new())),
            Node::Salt => Sink::Salt(Box::new(Xxh3::new())),
            Node::Prior(_) => Sink::Prior(Some(Vec::new())),
            Node::Session(_) => Sink::Session(Box::new(Xxh3::new()), true),
            _ if matches!(self.stack.last(), Some(Frame::Media { key: Some(_), .. })) => {
                Sink::Media(Digest::default())
            }
            _ => Sink::Nowhere,
        };
        self.state = State::String;
    }

    pub(super) fn open(&mut self, object: bool) -> Step<()> {
        if self.stack.len() >= DEPTH {
            return Err(Unsure);
        }
        let (rule, out) = (self.node, Text::default());
        let frame = match (&self.program.nodes[rule], object) {
            (Node::Object { fields, .. }, true) => Frame::Object {
                rule,
                slots: vec![None; fields.len()],
                slot: None,
            },
            (Node::List { .. }, false) => Frame::List {
                rule,
                out,
                first: true,
            },
            (Node::Media(keys), true) => Frame::Media {
                rule,
                found: keys.iter().map(|_| None).collect(),
                key: None,
            },
            (Node::Prompts(_), false) => Frame::Prompts {
                rule,
                out,
                first: true,
            },
            (Node::Prompt, false) => Frame::Ids { out },
            _ => Frame::Skip { object },
        };
        // A body is an object.
        if self.stack.is_empty() && !matches!(frame, Frame::Object { .. }) {
            return Err(Unsure);
        }
        self.stack.push(frame);
        if object {
            self.state = State::Key { close: true };
        } else {
            self.state = State::Value { close: true };
            self.next_item();
        }
        Ok(())
    }

    /// The closing quote came; `end` is the position behind it.
    pub(super) fn string_end(&mut self, end: usize) {
        match std::mem::replace(&mut self.sink, Sink::Nowhere) {
            Sink::Key => self.key_end(),
            Sink::Nowhere => self.done(None),
            Sink::Media(digest) => {
                let digest = (!digest.empty).then_some(digest);
                if let Some(Frame::Media {
                    found,
                    key: Some(key),
                    ..
                }) = self.stack.last_mut()
                {
                    found[*key] = digest;
                    self.done(None);
                } else {
                    let text = digest.map(|digest| self.shown(&digest));
                    self.done(text);
                }
            }
            Sink::Name(name) => {
                self.model = name.map_or(Model::TooLong, Model::Name);
                self.spans.push((self.start, end));
                self.done(None);
            }
            Sink::Prior(prior) => {
                if let Node::Prior(index) = self.program.nodes[self.node] {
                    self.told.priors.push((index, prior));
                }
                self.done(None);
            }
            Sink::Session(hash, empty) => {
                if let (Node::Session(index), false) = (&self.program.nodes[self.node], empty) {
                    self.told.sessions.push((*index, hash.digest128()));
                }
                self.done(None);
            }
            Sink::Salt(hash) => {
                self.salt = Some(hash.digest());
                self.done(None);
            }
            Sink::Text(mut text) => {
                if let Node::Text { after, .. } = &self.program.nodes[self.node] {
                    text.push(after, self.program.keep());
                }
                self.done(Some(text));
            }
        }
    }

    fn shown(&self, digest: &Digest) -> Text {
        let measures = self.program.measures;
        let length = measures.media_blocks * measures.block_bytes;
        let mut text = Text::default();
        text.show(&digest.finish(), length, self.program.keep());
        text
    }

    fn key_end(&mut self) {
        self.state = State::Colon;
        self.node = SKIP;
        match self.stack.last_mut() {
            Some(Frame::Object { rule, slot, .. }) => {
                if let Node::Object { fields, .. } = &self.program.nodes[*rule] {
                    self.steps += fields.len() as u64;
                    *slot = fields.iter().position(|(name, _)| *name == self.key);
                    self.node = slot.map_or(SKIP, |index| fields[index].1);
                }
            }
            Some(Frame::Media { rule, found, key }) => {
                if let Node::Media(keys) = &self.program.nodes[*rule] {
                    self.steps += keys.len() as u64;
                    *key = keys.iter().position(|name| *name == self.key);
                    if let Some(index) = key {
                        found[*index] = None;
                    }
                }
            }
            _ => {}
        }
    }

    /// A number (its value, when it is a plain count), a truth value, or null.
    pub(super) fn scalar(&mut self, count: Option<i64>, truth: Option<bool>) {
        match self.program.nodes[self.node] {
            Node::Stream => self.stream = truth == Some(true),
            Node::Limit(index) => self.told.limits[index] = count,
            _ => {}
        }
        if let (PROMPT | ID, Some(id)) = (self.node, count)
            && let Some(Frame::Prompts { out, .. } | Frame::Ids { out }) = self.stack.last_mut()
        {
            // Four bytes of each token id: its low ones.
            let id = ((id & 0xFFFF_FFFF) as u32).to_le_bytes();
            out.push(&id, self.program.keep());
        }
        self.done(None);
    }

    /// A container ended.
    pub(super) fn close(&mut self, object: bool) -> Step<()> {
        if self.in_object() != object {
            return Err(Unsure);
        }
        match self.stack.pop().ok_or(Unsure)? {
            Frame::Skip { .. } => self.done(None),
            Frame::List { out, .. } | Frame::Prompts { out, .. } | Frame::Ids { out } => {
                self.done(Some(out));
            }
            Frame::Object { slots, .. } if self.stack.is_empty() => {
                self.given = Some(slots);
                self.state = State::End;
            }
            Frame::Object { rule, slots, .. } => {
                let program = self.program.clone();
                if let Node::Object { layout, .. } = &program.nodes[rule] {
                    let text = self.lay_out(layout, slots);
                    self.done(Some(text));
                }
            }
            Frame::Media { found, .. } => {
                let text = found
                    .iter()
                    .flatten()
                    .next()
                    .map(|digest| self.shown(digest));
                self.done(text);
            }
        }
        Ok(())
    }

    /// A value ended; what it gave goes to the container around it.
    fn done(&mut self, given: Option<Text>) {
        let keep = self.program.keep();
        self.state = State::After;
        self.steps += given.as_ref().map_or(0, |text| text.kept as u64);
        match self.stack.last_mut() {
            Some(Frame::Object {
                slots,
                slot: Some(slot),
                ..
            }) => slots[*slot] = given,
            Some(Frame::List { rule, out, first }) => {
                let first = std::mem::take(first);
                if let Some(text) = given {
                    let leads: &[Vec<u8>] = match &self.program.nodes[*rule] {
                        Node::List { leads, .. } if first => leads,
                        _ => &[],
                    };
                    if leads.iter().any(|lead| text.starts_with(lead)) {
                        self.lead = Some(text);
                    } else {
                        out.append(text, keep);
                    }
                }
            }
            Some(Frame::Prompts { rule, out, first }) => {
                let first = std::mem::take(first);
                if let Some(text) = given {
                    if let (false, Node::Prompts(separator)) = (first, &self.program.nodes[*rule]) {
                        out.push(separator, keep);
                    }
                    out.append(text, keep);
                }
            }
            _ => {}
        }
    }

    /// When the open raw value has just ended, at `at`, its bytes become its field's text.
    pub(super) fn raw_end(&mut self, chunk: &[u8], from: &mut usize, at: usize) -> Step<()> {
        let open = self.raw.as_ref().map(|(depth, _)| *depth);
        if open != Some(self.stack.len()) || !matches!(self.state, State::After) {
            return Ok(());
        }
        let Some((_, mut text)) = self.raw.take() else {
            return Err(Unsure);
        };
        self.steps += (at - *from) as u64;
        text.push(&chunk[*from..at], self.raw_keep());
        *from = at;
        if let Some(Frame::Object {
            rule,
            slots,
            slot: Some(slot),
        }) = self.stack.last_mut()
            && let Node::Object { fields, .. } = &self.program.nodes[*rule]
            && let Node::Raw(skipped) = &self.program.nodes[fields[*slot].1]
        {
            let skip = skipped
                .iter()
                .any(|value| text.total == value.len() && text.starts_with(value));
            slots[*slot] = (!skip).then_some(text);
        }
        Ok(())
    }

    /// Bytes of a raw value that are kept: enough to compare it, at least.
    pub(super) fn raw_keep(&self) -> usize {
        self.program.keep().max(16)
    }

    fn lay_out(&self, layout: &[Piece], mut slots: Vec<Option<Text>>) -> Text {
        let keep = self.program.keep();
        let mut out = Text::default();
        for piece in layout {
            match piece {
                Piece::Literal(bytes) => out.push(bytes, keep),
                Piece::Lead => {}
                Piece::Field {
                    before,
                    slot,
                    after,
                } => {
                    if let Some(text) = slots[*slot].take() {
                        out.push(before, keep);
                        out.append(text, keep);
                        out.push(after, keep);
                    }
                }
            }
        }
        out
    }
}
