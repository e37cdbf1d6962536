//! The declarative description of an API format, compiled from built-in Python values.
//!
//! A shape is a dictionary: `model`, `stream`, `limits` (names of top-level fields), `need` (the field without
//! which a body is no prompt), `fields` (name to rule) and `layout`. A rule is a tuple whose first entry names it:
//!
//! * `("text",)`: a string's text; null gives nothing
//! * `("string",)`: a string's text; nothing else will do
//! * `("raw", (skipped, …))`: the value's own bytes, nothing when they equal one of `skipped`
//! * `("list", item)`: every item's bytes, one after another
//! * `("object", fields, layout)`: the fields' bytes in the order of the layout
//! * `("choice", {"string" | "list" | "object" | "null": rule})`: by the kind of value
//! * `("part", text, kind, url, longest, mark)`: an entry of a multimodal content list
//! * `("prompts", separator)`: a list of texts, of token ids, or of lists of token ids
//!
//! A layout is a sequence of literal bytes and of `(field, suffix)`, the suffix standing only behind a field that
//! gave something.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

#[derive(Debug, Clone)]
pub enum Piece {
    Literal(Vec<u8>),
    Field { slot: usize, suffix: Vec<u8> },
}

#[derive(Debug, Clone, Default)]
pub struct ObjectRule {
    pub fields: Vec<(Vec<u8>, Rule)>,
    pub layout: Vec<Piece>,
}

#[derive(Debug, Clone)]
pub struct PartRule {
    pub text: Vec<u8>,
    pub kind: Vec<u8>,
    pub url: Vec<u8>,
    /// Bytes of a media URL taken literally.
    pub longest: usize,
    pub mark: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub struct ChoiceRule {
    pub string: Option<Box<Rule>>,
    pub list: Option<Box<Rule>>,
    pub object: Option<Box<Rule>>,
    pub null: bool,
}

#[derive(Debug, Clone)]
pub enum Rule {
    Skip,
    Model,
    Stream,
    Limit(usize),
    Text { null: bool },
    Raw(Vec<Vec<u8>>),
    List(Box<Rule>),
    Object(ObjectRule),
    Choice(ChoiceRule),
    Part(PartRule),
    Prompts(Vec<u8>),
}

/// A format's top level.
#[derive(Debug, Clone)]
pub struct Shape {
    pub root: ObjectRule,
    /// Slot of the field that must be there.
    pub need: usize,
    /// How many limit fields there are; the first usable one counts.
    pub limits: usize,
}

fn wrong(what: &str) -> PyErr {
    PyValueError::new_err(format!("format shape: {what}"))
}

fn layout(items: &Bound<'_, PyAny>, fields: &[(Vec<u8>, Rule)]) -> PyResult<Vec<Piece>> {
    items
        .try_iter()?
        .map(|item| {
            let item = item?;
            if let Ok(literal) = item.extract::<Vec<u8>>() {
                return Ok(Piece::Literal(literal));
            }
            let (name, suffix): (String, Vec<u8>) = item.extract()?;
            let slot = fields
                .iter()
                .position(|(known, _)| *known == name.as_bytes());
            Ok(Piece::Field {
                slot: slot.ok_or_else(|| wrong(&format!("layout names unknown field {name}")))?,
                suffix,
            })
        })
        .collect()
}

fn fields(items: &Bound<'_, PyAny>) -> PyResult<Vec<(Vec<u8>, Rule)>> {
    items
        .cast::<PyDict>()?
        .iter()
        .map(|(name, rule)| Ok((name.extract::<String>()?.into_bytes(), Rule::read(&rule)?)))
        .collect()
}

impl Rule {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Rule> {
        let parts = value.cast::<PyTuple>()?;
        let name: String = parts.get_item(0)?.extract()?;
        Ok(match name.as_str() {
            "text" => Rule::Text { null: true },
            "string" => Rule::Text { null: false },
            "raw" => Rule::Raw(parts.get_item(1)?.extract()?),
            "list" => Rule::List(Box::new(Rule::read(&parts.get_item(1)?)?)),
            "object" => {
                let fields = fields(&parts.get_item(1)?)?;
                let layout = layout(&parts.get_item(2)?, &fields)?;
                Rule::Object(ObjectRule { fields, layout })
            }
            "choice" => {
                let mut choice = ChoiceRule::default();
                for (kind, rule) in parts.get_item(1)?.cast::<PyDict>()?.iter() {
                    match kind.extract::<String>()?.as_str() {
                        "string" => choice.string = Some(Box::new(Rule::read(&rule)?)),
                        "list" => choice.list = Some(Box::new(Rule::read(&rule)?)),
                        "object" => choice.object = Some(Box::new(Rule::read(&rule)?)),
                        "null" => choice.null = true,
                        other => return Err(wrong(&format!("unknown kind {other}"))),
                    }
                }
                Rule::Choice(choice)
            }
            "part" => {
                let (_, text, kind, url, longest, mark): (
                    String,
                    String,
                    String,
                    String,
                    usize,
                    Vec<u8>,
                ) = value.extract()?;
                Rule::Part(PartRule {
                    text: text.into_bytes(),
                    kind: kind.into_bytes(),
                    url: url.into_bytes(),
                    longest,
                    mark,
                })
            }
            "prompts" => Rule::Prompts(parts.get_item(1)?.extract()?),
            other => return Err(wrong(&format!("unknown rule {other}"))),
        })
    }
}

impl Shape {
    /// Compiles a shape; raises `ValueError`, `KeyError` or `TypeError` for one that is not understood.
    pub fn read(value: &Bound<'_, PyDict>) -> PyResult<Shape> {
        let get = |name: &str| {
            value
                .get_item(name)?
                .ok_or_else(|| wrong(&format!("{name} is missing")))
        };
        let mut all = fields(&get("fields")?)?;
        let layout = layout(&get("layout")?, &all)?;
        let need: String = get("need")?.extract()?;
        let slot = all.iter().position(|(name, _)| *name == need.as_bytes());
        let limits: Vec<String> = get("limits")?.extract()?;
        all.push((get("model")?.extract::<String>()?.into_bytes(), Rule::Model));
        all.push((
            get("stream")?.extract::<String>()?.into_bytes(),
            Rule::Stream,
        ));
        let count = limits.len();
        for (index, name) in limits.into_iter().enumerate() {
            all.push((name.into_bytes(), Rule::Limit(index)));
        }
        Ok(Shape {
            root: ObjectRule {
                fields: all,
                layout,
            },
            need: slot.ok_or_else(|| wrong("`need` names no field"))?,
            limits: count,
        })
    }
}
