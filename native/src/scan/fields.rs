//! What the tokens mean: the rule that each value meets, and what it adds to the reading.

use super::{DEPTH, Frame, LONGEST_KEY, LONGEST_MODEL, Scanner, Sink, State, Step, Unsure};
use crate::program::Node;
use crate::shape::{PartRule, Piece};
use crate::text::{Media, Text};

impl Scanner {
    pub(super) fn string_start(&mut self) -> Step<()> {
        let keep = self.program.keep();
        let text = |keep| Sink::Text {
            text: Text::default(),
            keep,
        };
        self.sink = match self.stack.last() {
            Some(Frame::Part { rule, key, .. }) => {
                let rule = self.part(*rule)?;
                if *key == rule.text {
                    text(keep)
                } else if *key == rule.kind {
                    text(LONGEST_KEY)
                } else {
                    Sink::Media(Media::default(), rule.longest)
                }
            }
            Some(Frame::Member { rule, is_url, .. }) if *is_url => {
                Sink::Media(Media::default(), self.part(*rule)?.longest)
            }
            Some(Frame::Member { .. }) => Sink::Nowhere,
            Some(Frame::Prompts { ids, first, .. }) if *first || !*ids => text(keep),
            Some(Frame::Prompts { .. } | Frame::Ids { .. }) => return Err(Unsure),
            _ => match &self.program.nodes[self.node] {
                Node::Skip | Node::Stream | Node::Limit(_) | Node::Raw(_) => Sink::Nowhere,
                Node::Model => text(LONGEST_MODEL),
                Node::Text { .. } => text(keep),
                Node::Choice {
                    string: Some(rule), ..
                } => {
                    self.node = *rule;
                    text(keep)
                }
                _ => return Err(Unsure),
            },
        };
        self.state = State::String;
        Ok(())
    }

    pub(super) fn part(&self, rule: usize) -> Step<&PartRule> {
        match &self.program.nodes[rule] {
            Node::Part(rule) => Ok(rule),
            _ => Err(Unsure),
        }
    }

    pub(super) fn open(&mut self, object: bool) -> Step<()> {
        if self.stack.len() >= DEPTH {
            return Err(Unsure);
        }
        let skip = Frame::Skip { object };
        let frame = match self.stack.last() {
            Some(Frame::Part { rule, key, .. }) => {
                let known = self.part(*rule)?;
                // A text that is no string is skipped by the format; a kind that is none is not for us.
                if *key == known.kind {
                    return Err(Unsure);
                } else if object && *key != known.text {
                    Frame::Member {
                        rule: *rule,
                        url: None,
                        is_url: false,
                    }
                } else {
                    skip
                }
            }
            Some(Frame::Prompts { first, ids, .. }) if !object && (*first || !*ids) => Frame::Ids {
                out: Text::default(),
            },
            Some(Frame::Prompts { .. } | Frame::Ids { .. }) => return Err(Unsure),
            Some(Frame::Skip { .. } | Frame::Member { .. }) => skip,
            Some(Frame::Object { .. } | Frame::List { .. }) | None => {
                let mut node = self.node;
                if let Node::Choice {
                    list, object: map, ..
                } = &self.program.nodes[node]
                {
                    node = if object { *map } else { *list }.ok_or(Unsure)?;
                }
                self.node = node;
                match (&self.program.nodes[node], object) {
                    (Node::Skip | Node::Stream | Node::Limit(_) | Node::Raw(_), _) => skip,
                    (Node::Object { fields, .. }, true) => Frame::Object {
                        rule: node,
                        slots: vec![None; fields.len()],
                        slot: None,
                    },
                    (Node::List(_), false) => Frame::List {
                        rule: node,
                        out: Text::default(),
                    },
                    (Node::Part(_), true) => Frame::Part {
                        rule: node,
                        text: None,
                        kind: None,
                        members: Vec::new(),
                        key: Vec::new(),
                    },
                    (Node::Prompts(_), false) => Frame::Prompts {
                        rule: node,
                        out: Text::default(),
                        first: true,
                        ids: false,
                    },
                    _ => return Err(Unsure),
                }
            }
        };
        self.stack.push(frame);
        if object {
            self.state = State::Key { close: true };
        } else {
            self.state = State::Value { close: true };
            self.next_item()?;
        }
        Ok(())
    }

    /// The closing quote came; `end` is the position behind it.
    pub(super) fn string_end(&mut self, end: usize) -> Step<()> {
        match std::mem::replace(&mut self.sink, Sink::Nowhere) {
            Sink::Key => self.key_end(),
            Sink::Nowhere => {
                self.forget();
                self.done(None)
            }
            Sink::Media(media, _) => {
                match self.stack.last_mut() {
                    Some(Frame::Part { members, key, .. }) => {
                        set_member(members, key, Some(media));
                    }
                    Some(Frame::Member { url, .. }) => *url = Some(media),
                    _ => return Err(Unsure),
                }
                self.done(None)
            }
            Sink::Text { text, .. } => {
                if let Some(Frame::Part {
                    rule,
                    text: slot,
                    kind,
                    key,
                    ..
                }) = self.stack.last_mut()
                {
                    let Node::Part(rule) = &self.program.nodes[*rule] else {
                        return Err(Unsure);
                    };
                    if *key == rule.kind {
                        if text.total > text.kept {
                            return Err(Unsure);
                        }
                        *kind = Some(text.into_bytes());
                    } else {
                        *slot = Some(text);
                    }
                    return self.done(None);
                }
                if matches!(self.program.nodes[self.node], Node::Model)
                    && !matches!(self.stack.last(), Some(Frame::Prompts { .. }))
                {
                    if text.total > text.kept {
                        return Err(Unsure);
                    }
                    self.model = Some(text.into_bytes());
                    self.spans.push((self.start, end));
                    return self.done(None);
                }
                self.done(Some(text))
            }
        }
    }

    pub(super) fn key_end(&mut self) -> Step<()> {
        self.state = State::Colon;
        self.node = 0;
        match self.stack.last_mut() {
            Some(Frame::Object { rule, slot, .. }) => {
                let Node::Object { fields, .. } = &self.program.nodes[*rule] else {
                    return Err(Unsure);
                };
                *slot = fields.iter().position(|(name, _)| *name == self.key);
                self.node = slot.map_or(0, |index| fields[index].1);
            }
            Some(Frame::Part { key, .. }) => key.clone_from(&self.key),
            Some(Frame::Member { rule, is_url, .. }) => {
                let Node::Part(part) = &self.program.nodes[*rule] else {
                    return Err(Unsure);
                };
                *is_url = self.key == part.url;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn null(&mut self) -> Step<()> {
        let allowed = match self.stack.last() {
            Some(Frame::Object { .. } | Frame::List { .. }) => {
                match &self.program.nodes[self.node] {
                    Node::Skip
                    | Node::Stream
                    | Node::Limit(_)
                    | Node::Raw(_)
                    | Node::Text { null: true }
                    | Node::Choice { null: true, .. } => true,
                    _ => return Err(Unsure),
                }
            }
            _ => false,
        };
        if allowed {
            if let Node::Stream = self.program.nodes[self.node] {
                self.stream = false;
            }
            if let Node::Limit(index) = self.program.nodes[self.node] {
                self.limits[index] = None;
            }
            return self.done(None);
        }
        self.scalar(None, None)
    }

    /// A number (its value, when it is a plain count) or a truth value.
    pub(super) fn scalar(&mut self, count: Option<i64>, truth: Option<bool>) -> Step<()> {
        match self.stack.last_mut() {
            Some(Frame::Skip { .. }) => {}
            Some(Frame::Part {
                rule,
                key,
                members,
                text,
                ..
            }) => {
                let Node::Part(rule) = &self.program.nodes[*rule] else {
                    return Err(Unsure);
                };
                if *key == rule.kind {
                    return Err(Unsure);
                }
                if *key == rule.text {
                    *text = None;
                }
                set_member(members, key, None);
            }
            Some(Frame::Member { url, is_url, .. }) => {
                if *is_url {
                    *url = None;
                }
            }
            Some(Frame::Ids { out }) => push_id(out, count, self.program.keep())?,
            Some(Frame::Prompts {
                out, first, ids, ..
            }) => {
                if !*first && !*ids {
                    return Err(Unsure);
                }
                (*first, *ids) = (false, true);
                push_id(out, count, self.program.keep())?;
            }
            Some(Frame::Object { .. } | Frame::List { .. }) => {
                match &self.program.nodes[self.node] {
                    Node::Skip | Node::Raw(_) => {}
                    Node::Stream => self.stream = truth == Some(true),
                    Node::Limit(index) => self.limits[*index] = count,
                    _ => return Err(Unsure),
                }
            }
            None => return Err(Unsure),
        }
        self.done(None)
    }

    /// A container ended.
    pub(super) fn close(&mut self, object: bool) -> Step<()> {
        if self.in_object() != object {
            return Err(Unsure);
        }
        let keep = self.program.keep();
        match self.stack.pop().ok_or(Unsure)? {
            Frame::Skip { .. } => {
                self.forget();
                self.done(None)
            }
            Frame::List { out, .. } | Frame::Prompts { out, .. } | Frame::Ids { out } => {
                self.done(Some(out))
            }
            Frame::Object { rule, slots, .. } => {
                let program = self.program.clone();
                let Node::Object { layout, .. } = &program.nodes[rule] else {
                    return Err(Unsure);
                };
                if self.stack.is_empty() && slots[program.need].is_none() {
                    return Err(Unsure);
                }
                self.done(Some(lay_out(layout, slots, keep)))
            }
            Frame::Member { url, .. } => {
                if let Some(Frame::Part { members, key, .. }) = self.stack.last_mut() {
                    set_member(members, key, url);
                }
                self.done(None)
            }
            Frame::Part {
                rule,
                text,
                kind,
                members,
                ..
            } => {
                if text.is_some() {
                    return self.done(text);
                }
                let kind = kind.ok_or(Unsure)?;
                let media = members
                    .into_iter()
                    .find(|(key, _)| *key == kind)
                    .and_then(|(_, media)| media)
                    .ok_or(Unsure)?;
                let mark = &self.part(rule)?.mark;
                let mut out = Text::default();
                for piece in [mark.as_slice(), &kind, mark, &media.finish()] {
                    out.push(piece, keep);
                }
                self.done(Some(out))
            }
        }
    }

    /// A value that nobody reads stands one was read before: the last one counts.
    pub(super) fn forget(&mut self) {
        match self.stack.last_mut() {
            Some(Frame::Object {
                rule,
                slot: Some(slot),
                ..
            }) => {
                let Node::Object { fields, .. } = &self.program.nodes[*rule] else {
                    return;
                };
                match self.program.nodes[fields[*slot].1] {
                    Node::Stream => self.stream = false,
                    Node::Limit(index) => self.limits[index] = None,
                    _ => {}
                }
            }
            Some(Frame::Part {
                rule,
                key,
                text,
                members,
                ..
            }) => {
                if let Node::Part(rule) = &self.program.nodes[*rule]
                    && *key == rule.text
                {
                    *text = None;
                }
                set_member(members, key, None);
            }
            Some(Frame::Member { url, is_url, .. }) if *is_url => *url = None,
            _ => {}
        }
    }

    /// A value ended; what it gave goes to the container around it.
    pub(super) fn done(&mut self, given: Option<Text>) -> Step<()> {
        let keep = self.program.keep();
        self.state = State::After;
        match self.stack.last_mut() {
            None => {
                self.prompt = given;
                self.state = State::End;
            }
            Some(Frame::Object { slots, slot, .. }) => {
                if let Some(index) = slot {
                    slots[*index] = given;
                }
            }
            Some(Frame::List { out, .. }) => {
                if let Some(text) = given {
                    out.append(text, keep);
                }
            }
            Some(Frame::Prompts {
                rule,
                out,
                first,
                ids,
            }) => {
                if let Some(text) = given {
                    let Node::Prompts(separator) = &self.program.nodes[*rule] else {
                        return Err(Unsure);
                    };
                    if !*first {
                        out.push(separator, keep);
                    }
                    (*first, *ids) = (false, false);
                    out.append(text, keep);
                }
            }
            Some(
                Frame::Skip { .. } | Frame::Part { .. } | Frame::Member { .. } | Frame::Ids { .. },
            ) => {}
        }
        Ok(())
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
        text.push(&chunk[*from..at], self.program.keep());
        *from = at;
        if let Some(Frame::Object {
            rule,
            slots,
            slot: Some(slot),
        }) = self.stack.last_mut()
        {
            let Node::Object { fields, .. } = &self.program.nodes[*rule] else {
                return Err(Unsure);
            };
            let Node::Raw(skipped) = &self.program.nodes[fields[*slot].1] else {
                return Err(Unsure);
            };
            let skip = skipped
                .iter()
                .any(|value| text.kept == value.len() && text.pieces().eq([value.as_slice()]));
            slots[*slot] = (!skip).then_some(text);
        }
        Ok(())
    }
}

fn push_id(out: &mut Text, count: Option<i64>, keep: usize) -> Step<()> {
    let id = count.ok_or(Unsure)?;
    // Four bytes of each token id: its low ones, in the byte order of the machine.
    out.push(&((id & 0xFFFF_FFFF) as u32).to_ne_bytes(), keep);
    Ok(())
}

fn set_member(members: &mut Vec<(Vec<u8>, Option<Media>)>, key: &[u8], media: Option<Media>) {
    match members.iter_mut().find(|(known, _)| known == key) {
        Some((_, slot)) => *slot = media,
        None => members.push((key.to_vec(), media)),
    }
}

fn lay_out(layout: &[Piece], mut slots: Vec<Option<Text>>, keep: usize) -> Text {
    let mut out = Text::default();
    for piece in layout {
        match piece {
            Piece::Literal(bytes) => out.push(bytes, keep),
            Piece::Field { slot, suffix } => {
                if let Some(text) = slots[*slot].take() {
                    out.append(text, keep);
                    out.push(suffix, keep);
                }
            }
        }
    }
    out
}
