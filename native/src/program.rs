//! A shape flattened for execution: rules refer to each other by number.

use crate::shape::{ChoiceRule, ObjectRule, PartRule, Piece, Rule, Shape};

/// A rule of the compiled shape, flattened so that frames can name it by index.
pub enum Node {
    Skip,
    Model,
    Stream,
    Limit(usize),
    Text {
        null: bool,
    },
    Raw(Vec<Vec<u8>>),
    List(usize),
    Object {
        fields: Vec<(Vec<u8>, usize)>,
        layout: Vec<Piece>,
    },
    Choice {
        string: Option<usize>,
        list: Option<usize>,
        object: Option<usize>,
        null: bool,
    },
    Part(PartRule),
    Prompts(Vec<u8>),
}

/// A shape ready to be executed, shared by all scanners of its format.
pub struct Program {
    pub nodes: Vec<Node>,
    pub root: usize,
    /// Slot of the top-level field that must be there.
    pub need: usize,
    pub limits: usize,
    pub block_bytes: usize,
    pub horizon: usize,
}

impl Program {
    /// `block_bytes` per hashed block, at most `horizon` blocks.
    pub fn new(shape: &Shape, block_bytes: usize, horizon: usize) -> Program {
        let mut program = Program {
            nodes: vec![Node::Skip],
            root: 0,
            need: shape.need,
            limits: shape.limits,
            block_bytes,
            horizon,
        };
        program.root = program.object(&shape.root);
        program
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
            Rule::Skip => return 0,
            Rule::Model => Node::Model,
            Rule::Stream => Node::Stream,
            Rule::Limit(index) => Node::Limit(*index),
            Rule::Text { null } => Node::Text { null: *null },
            Rule::Raw(skipped) => Node::Raw(skipped.clone()),
            Rule::List(item) => Node::List(self.add(item)),
            Rule::Object(object) => return self.object(object),
            Rule::Choice(ChoiceRule {
                string,
                list,
                object,
                null,
            }) => Node::Choice {
                string: string.as_ref().map(|rule| self.add(rule)),
                list: list.as_ref().map(|rule| self.add(rule)),
                object: object.as_ref().map(|rule| self.add(rule)),
                null: *null,
            },
            Rule::Part(part) => Node::Part(part.clone()),
            Rule::Prompts(separator) => Node::Prompts(separator.clone()),
        };
        self.push(node)
    }

    /// Prompt bytes that are hashed at most.
    pub fn keep(&self) -> usize {
        self.block_bytes * self.horizon
    }
}
