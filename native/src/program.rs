//! A shape flattened for execution: rules refer to each other by number.

use std::sync::Arc;

use crate::shape::{ChoiceRule, Kinds, ObjectRule, Piece, Rule, Shape};

/// A rule of the compiled shape, flattened so that frames can name it by index.
pub enum Node {
    Skip,
    Model,
    Stream,
    Salt,
    Prior(usize),
    Session(usize),
    Limit(usize),
    Text {
        before: Vec<u8>,
        after: Vec<u8>,
    },
    Raw(Vec<Vec<u8>>),
    Media(Vec<Vec<u8>>),
    /// `leads`: how the first item begins that is kept apart.
    List {
        item: usize,
        leads: Vec<Vec<u8>>,
    },
    Object {
        fields: Vec<(Vec<u8>, usize)>,
        layout: Vec<Piece>,
    },
    Choice {
        string: Option<usize>,
        list: Option<usize>,
        object: Option<usize>,
    },
    Prompts(Vec<u8>),
    /// An item of a list of prompts.
    Prompt,
    /// An item of a list of token ids.
    Id,
}

pub const SKIP: usize = 0;
pub const PROMPT: usize = 1;
pub const ID: usize = 2;

/// What the hashes of a prompt are made of.
#[derive(Debug, Clone, Copy)]
pub struct Measures {
    /// Bytes per hashed block.
    pub block_bytes: usize,
    /// Blocks hashed at most.
    pub horizon: usize,
    /// Blocks that an image, a sound or a file fills.
    pub media_blocks: usize,
    /// Bytes of a model's name; a longer one is left to Python.
    pub longest_model: usize,
}

/// A shape ready to be executed, shared by all scanners of its format.
pub struct Program {
    pub nodes: Vec<Node>,
    pub root: usize,
    pub need: Vec<(usize, Kinds)>,
    pub limits: usize,
    /// Fields that may name the session.
    pub sessions: Vec<Arc<str>>,
    pub cached: bool,
    pub tools: Option<usize>,
    /// Slot of the field whose first turn may be the lead.
    pub turns: Option<usize>,
    pub measures: Measures,
}

fn has_turns(rule: &Rule) -> bool {
    match rule {
        Rule::Turns(..) => true,
        Rule::Choice(choice) => choice.list.as_deref().is_some_and(has_turns),
        _ => false,
    }
}

impl Program {
    pub fn new(shape: &Shape, measures: Measures) -> Program {
        let mut program = Program {
            nodes: vec![Node::Skip, Node::Prompt, Node::Id],
            root: SKIP,
            need: shape.need.clone(),
            limits: shape.limits,
            sessions: shape.sessions.clone(),
            cached: shape.cached,
            tools: shape.tools,
            turns: shape
                .root
                .fields
                .iter()
                .position(|(_, rule)| has_turns(rule)),
            measures,
        };
        program.root = program.object(&shape.root);
        program
    }

    /// A body that cannot be read is refused.
    pub fn strict(&self) -> bool {
        !self.need.is_empty()
    }

    fn object(&mut self, rule: &ObjectRule) -> usize {
        let fields = rule
            .fields
            .iter()
            .map(|(name, rule)| (name.clone(), self.add(rule)))
            .collect();
        self.push(Node::Object {
            fields,
            layout: rule.layout.clone(),
        })
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn add(&mut self, rule: &Rule) -> usize {
        let node = match rule {
            Rule::Model => Node::Model,
            Rule::Stream => Node::Stream,
            Rule::Salt => Node::Salt,
            Rule::Prior(index) => Node::Prior(*index),
            Rule::Session(index) => Node::Session(*index),
            Rule::Limit(index) => Node::Limit(*index),
            Rule::Text { before, after } => Node::Text {
                before: before.clone(),
                after: after.clone(),
            },
            Rule::Raw(skipped) => Node::Raw(skipped.clone()),
            Rule::Media(keys) => Node::Media(keys.clone()),
            Rule::List(item) => Node::List {
                item: self.add(item),
                leads: Vec::new(),
            },
            Rule::Turns(item, leads) => Node::List {
                item: self.add(item),
                leads: leads.clone(),
            },
            Rule::Object(object) => return self.object(object),
            Rule::Choice(ChoiceRule {
                string,
                list,
                object,
            }) => Node::Choice {
                string: string.as_ref().map(|rule| self.add(rule)),
                list: list.as_ref().map(|rule| self.add(rule)),
                object: object.as_ref().map(|rule| self.add(rule)),
            },
            Rule::Prompts(separator) => Node::Prompts(separator.clone()),
        };
        self.push(node)
    }

    /// Prompt bytes that are hashed at most.
    pub fn keep(&self) -> usize {
        if self.cached {
            self.measures.block_bytes * self.measures.horizon
        } else {
            0
        }
    }
}
