//! The declarative description of an API format, compiled from built-in Python values.
//!
//! The language is described in `headgate/wire/shape.py`, which executes the same values.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

#[derive(Debug, Clone)]
pub enum Piece {
    Literal(Vec<u8>),
    Field {
        before: Vec<u8>,
        slot: usize,
        after: Vec<u8>,
    },
    /// The leading turn.
    Lead,
}

#[derive(Debug, Clone, Default)]
pub struct ObjectRule {
    pub fields: Vec<(Vec<u8>, Rule)>,
    pub layout: Vec<Piece>,
}

#[derive(Debug, Clone, Default)]
pub struct ChoiceRule {
    pub string: Option<Box<Rule>>,
    pub list: Option<Box<Rule>>,
    pub object: Option<Box<Rule>>,
}

#[derive(Debug, Clone)]
pub enum Rule {
    Model,
    Stream,
    Salt,
    /// An id of what the request continues; the first one that is there counts.
    Prior(usize),
    /// What may name the session.
    Session(usize),
    Limit(usize),
    Text {
        before: Vec<u8>,
        after: Vec<u8>,
    },
    Raw(Vec<Vec<u8>>),
    Media(Vec<Vec<u8>>),
    List(Box<Rule>),
    Turns(Box<Rule>, Vec<Vec<u8>>),
    Object(ObjectRule),
    Choice(ChoiceRule),
    Prompts(Vec<u8>),
}

/// Kinds of values that satisfy a need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kinds {
    pub string: bool,
    pub list: bool,
}

/// A format's top level.
#[derive(Debug, Clone)]
pub struct Shape {
    pub root: ObjectRule,
    /// Slots one of which must have a value of these kinds; empty: no body is refused.
    pub need: Vec<(usize, Kinds)>,
    /// How many limit fields there are; the first usable one counts.
    pub limits: usize,
    /// Fields that may name the session.
    pub sessions: Vec<Arc<str>>,
    /// The prompt stays in the engine's KV cache.
    pub cached: bool,
    /// Slot of the field that some models have before the system text.
    pub tools: Option<usize>,
}

fn wrong(what: &str) -> PyErr {
    PyValueError::new_err(format!("format shape: {what}"))
}

fn slot_of(fields: &[(Vec<u8>, Rule)], name: &str) -> PyResult<usize> {
    fields
        .iter()
        .position(|(known, _)| *known == name.as_bytes())
        .ok_or_else(|| wrong(&format!("unknown field {name}")))
}

fn layout(items: &Bound<'_, PyAny>, fields: &[(Vec<u8>, Rule)]) -> PyResult<Vec<Piece>> {
    items
        .try_iter()?
        .map(|item| {
            let item = item?;
            if let Ok(literal) = item.cast::<PyBytes>() {
                return Ok(Piece::Literal(literal.as_bytes().to_vec()));
            }
            if item.len()? == 1 {
                return Ok(Piece::Lead);
            }
            let (before, name, after): (Vec<u8>, String, Vec<u8>) = item.extract()?;
            Ok(Piece::Field {
                before,
                slot: slot_of(fields, &name)?,
                after,
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

/// Adds the rule of a value at `FIELD` or `FIELD.NAME`; both may be read where the first is a string.
fn put(all: &mut Vec<(Vec<u8>, Rule)>, place: &str, rule: Rule) -> PyResult<()> {
    let (field, name) = match place.split_once('.') {
        Some((field, name)) => (field, Some(name)),
        None => (place, None),
    };
    let rule = match name {
        Some(name) => Rule::Object(ObjectRule {
            fields: vec![(name.as_bytes().to_vec(), rule)],
            layout: Vec::new(),
        }),
        None => rule,
    };
    let known = all
        .iter_mut()
        .find(|(known, _)| known == field.as_bytes())
        .map(|(_, known)| known);
    match (known, rule) {
        (None, rule) => all.push((field.as_bytes().to_vec(), rule)),
        (Some(Rule::Object(object)), Rule::Object(new)) => object.fields.extend(new.fields),
        (Some(known @ (Rule::Prior(_) | Rule::Session(_))), new @ Rule::Object(_)) => {
            *known = Rule::Choice(ChoiceRule {
                string: Some(Box::new(known.clone())),
                list: None,
                object: Some(Box::new(new)),
            });
        }
        _ => {
            return Err(wrong(&format!(
                "{place} is in a field that is read otherwise"
            )));
        }
    }
    Ok(())
}

impl Rule {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Rule> {
        let parts = value.cast::<PyTuple>()?;
        let name: String = parts.get_item(0)?.extract()?;
        let boxed = |index: usize| -> PyResult<Box<Rule>> {
            Ok(Box::new(Rule::read(&parts.get_item(index)?)?))
        };
        Ok(match name.as_str() {
            "text" => Rule::Text {
                before: parts.get_item(1)?.extract()?,
                after: parts.get_item(2)?.extract()?,
            },
            "raw" => Rule::Raw(parts.get_item(1)?.extract()?),
            "media" => {
                let keys: Vec<String> = parts.get_item(1)?.extract()?;
                Rule::Media(keys.into_iter().map(String::into_bytes).collect())
            }
            "list" => Rule::List(boxed(1)?),
            "turns" => Rule::Turns(boxed(1)?, parts.get_item(2)?.extract()?),
            "object" => {
                let fields = fields(&parts.get_item(1)?)?;
                let layout = layout(&parts.get_item(2)?, &fields)?;
                Rule::Object(ObjectRule { fields, layout })
            }
            "choice" => {
                let mut choice = ChoiceRule::default();
                for (kind, rule) in parts.get_item(1)?.cast::<PyDict>()?.iter() {
                    let rule = Some(Box::new(Rule::read(&rule)?));
                    match kind.extract::<String>()?.as_str() {
                        "string" => choice.string = rule,
                        "list" => choice.list = rule,
                        "object" => choice.object = rule,
                        other => return Err(wrong(&format!("unknown kind {other}"))),
                    }
                }
                Rule::Choice(choice)
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
        let name =
            |key: &str| -> PyResult<Vec<u8>> { Ok(get(key)?.extract::<String>()?.into_bytes()) };
        let mut all = fields(&get("fields")?)?;
        let layout = layout(&get("layout")?, &all)?;
        let mut need = Vec::new();
        for (field, kinds) in get("need")?.cast::<PyDict>()?.iter() {
            let kinds: Vec<String> = kinds.extract()?;
            let kinds = Kinds {
                string: kinds.iter().any(|kind| kind == "string"),
                list: kinds.iter().any(|kind| kind == "list"),
            };
            need.push((slot_of(&all, &field.extract::<String>()?)?, kinds));
        }
        let tools = match get("tools")?.extract::<Option<String>>()? {
            Some(field) => Some(slot_of(&all, &field)?),
            None => None,
        };
        let limits: Vec<String> = get("limits")?.extract()?;
        all.push((name("model")?, Rule::Model));
        all.push((name("stream")?, Rule::Stream));
        if let Some(salt) = get("salt")?.extract::<Option<String>>()? {
            all.push((salt.into_bytes(), Rule::Salt));
        }
        let priors: Vec<String> = get("prior")?.extract()?;
        for (index, place) in priors.iter().enumerate() {
            put(&mut all, place, Rule::Prior(index))?;
        }
        let sessions: Vec<String> = get("sessions")?.extract()?;
        for (index, place) in sessions.iter().enumerate() {
            put(&mut all, place, Rule::Session(index))?;
        }
        let count = limits.len();
        for (index, place) in limits.iter().enumerate() {
            put(&mut all, place, Rule::Limit(index))?;
        }
        Ok(Shape {
            root: ObjectRule {
                fields: all,
                layout,
            },
            need,
            limits: count,
            sessions: sessions.into_iter().map(Arc::from).collect(),
            cached: get("cached")?.extract()?,
            tools,
        })
    }
}
