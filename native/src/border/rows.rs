//! What the transport tells, as tuples of built-in values.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::accesslog::Entry;
use crate::conversation::{Arrival, Said, text};
use crate::hub::Event;
use crate::usage::Usage;

/// Kinds of events, in the order of the constants in the stub.
pub mod kind {
    pub const ARRIVED: u8 = 0;
    pub const UNREAD: u8 = 1;
    pub const TOO_LARGE: u8 = 2;
    pub const UNKNOWN_POOL: u8 = 3;
    pub const STARTED: u8 = 4;
    pub const FIRST_TOKEN: u8 = 5;
    pub const OVER: u8 = 6;
    pub const LEFT: u8 = 7;
    pub const CLOSED: u8 = 8;
    pub const LOGGED: u8 = 9;
    pub const LOG_OPENED: u8 = 10;
    pub const LOG_CLOSED: u8 = 11;
    pub const WARNING: u8 = 12;
    pub const LOG_NODE: u8 = 13;
    pub const LINK_CLOSED: u8 = 14;
    pub const STORED: u8 = 15;
}

pub type Row<'py> = PyResult<Bound<'py, PyTuple>>;

/// Strings that come again and again: Python gets the same object each time, its hash known.
#[derive(Default)]
pub struct Words(HashMap<Box<str>, Py<PyString>>);

impl Words {
    const MOST: usize = 1024;
    const LONGEST: usize = 256;

    fn get<'py>(&mut self, py: Python<'py>, word: &str) -> Bound<'py, PyString> {
        if let Some(known) = self.0.get(word) {
            return known.bind(py).clone();
        }
        let new = PyString::new(py, word);
        if word.len() <= Words::LONGEST {
            if self.0.len() >= Words::MOST {
                self.0.clear();
            }
            self.0.insert(word.into(), new.clone().unbind());
        }
        new
    }
}

pub fn usage<'py>(py: Python<'py>, usage: &Usage) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(match usage {
        Usage::None => None,
        Usage::Counts {
            prompt,
            completion,
            cached,
        } => Some(
            (*prompt, *completion, *cached)
                .into_pyobject(py)?
                .into_any(),
        ),
        Usage::Tail(format, bytes) => Some(
            (*format, PyBytes::new(py, bytes))
                .into_pyobject(py)?
                .into_any(),
        ),
    })
}

fn arrived<'py>(
    py: Python<'py>,
    words: &mut Words,
    stream: u64,
    pool: &Bound<'py, PyString>,
    arrival: &Arrival,
) -> Row<'py> {
    let reading = arrival.reading.as_ref();
    let blocks = PyBytes::new(py, reading.map_or(&[], |reading| &reading.blocks));
    let subset = match &arrival.subset {
        Some(list) => Some(PyTuple::new(py, list)?),
        None => None,
    };
    let mut sessions = Vec::new();
    for (source, digest) in &arrival.sessions {
        sessions.push((words.get(py, source), digest).into_pyobject(py)?);
    }
    let sessions = if sessions.is_empty() {
        PyTuple::empty(py)
    } else {
        PyTuple::new(py, sessions)?
    };
    let items: [Bound<'py, PyAny>; 25] = [
        kind::ARRIVED.into_pyobject(py)?.into_any(),
        stream.into_pyobject(py)?.into_any(),
        pool.clone().into_any(),
        PyString::new(py, text(&arrival.id)).into_any(),
        words.get(py, &arrival.api).into_any(),
        words.get(py, text(&arrival.path)).into_any(),
        reading
            .and_then(|reading| reading.model.as_deref())
            .map(|model| words.get(py, model))
            .into_pyobject(py)?,
        reading
            .is_some_and(|reading| reading.stream)
            .into_pyobject(py)?
            .to_owned()
            .into_any(),
        blocks.into_any(),
        reading
            .map_or(0, |reading| reading.prompt_bytes)
            .into_pyobject(py)?
            .into_any(),
        reading
            .and_then(|reading| reading.limit)
            .into_pyobject(py)?,
        subset.into_pyobject(py)?,
        arrival.objective.as_ref().map(text).into_pyobject(py)?,
        arrival.fairness_id.as_ref().map(text).into_pyobject(py)?,
        arrival.slo_ttft_ms.as_ref().map(text).into_pyobject(py)?,
        arrival.slo_tpot_ms.as_ref().map(text).into_pyobject(py)?,
        sessions.into_any(),
        arrival.body_bytes.into_pyobject(py)?.into_any(),
        arrival.unseen.into_pyobject(py)?.to_owned().into_any(),
        arrival.media_tokens.into_pyobject(py)?.into_any(),
        PyBytes::new(py, reading.map_or(&[], |reading| &reading.tools_first)).into_any(),
        arrival.pools.as_ref().map(text).into_pyobject(py)?,
        arrival
            .client
            .as_deref()
            .map(|client| words.get(py, client))
            .into_pyobject(py)?,
        reading
            .and_then(|reading| reading.prior.as_deref())
            .into_pyobject(py)?,
        arrival.flow.as_ref().map(text).into_pyobject(py)?,
    ];
    PyTuple::new(py, items)
}

pub fn said_row<'py>(
    py: Python<'py>,
    words: &mut Words,
    stream: u64,
    pool: &str,
    said: &Said,
) -> Row<'py> {
    let pool = &words.get(py, pool);
    match said {
        Said::Arrived(arrival) => arrived(py, words, stream, pool, arrival),
        Said::Unread {
            headers,
            body,
            subset,
            unseen,
            client,
            lean,
        } => {
            let all = PyDict::new(py);
            for (name, value) in headers {
                all.set_item(text(name), text(value))?;
            }
            let subset = match subset {
                Some(list) => Some(PyTuple::new(py, list)?),
                None => None,
            };
            (
                kind::UNREAD,
                stream,
                pool,
                all,
                PyBytes::new(py, body),
                subset,
                *unseen,
                client,
                *lean,
            )
                .into_pyobject(py)
        }
        Said::TooLarge { request_id } => {
            (kind::TOO_LARGE, stream, pool, text(request_id)).into_pyobject(py)
        }
        Said::Started {
            status,
            served,
            local,
            plain,
        } => {
            let served = served.as_deref().map(|served| words.get(py, served));
            (kind::STARTED, stream, pool, status, served, *local, *plain).into_pyobject(py)
        }
        Said::Stored { id, served } => {
            let served = served.as_deref().map(|served| words.get(py, served));
            (kind::STORED, stream, pool, id, served).into_pyobject(py)
        }
        Said::FirstToken => (kind::FIRST_TOKEN, stream, pool).into_pyobject(py),
        Said::Over {
            ending,
            status,
            usage: counts,
            served,
        } => (
            kind::OVER,
            stream,
            pool,
            words.get(py, ending.name()),
            status,
            usage(py, counts)?,
            served.as_deref().map(|served| words.get(py, served)),
        )
            .into_pyobject(py),
    }
}

pub fn logged<'py>(py: Python<'py>, words: &mut Words, entry: &Entry) -> Row<'py> {
    (
        kind::LOGGED,
        &entry.stream,
        words.get(py, entry.ending.name()),
        entry.status,
        usage(py, &entry.usage)?,
        entry.served.as_deref().map(|served| words.get(py, served)),
        entry
            .details
            .as_deref()
            .map(|details| words.get(py, details)),
        entry.attempts,
    )
        .into_pyobject(py)
}

pub fn row<'py>(py: Python<'py>, words: &mut Words, event: &Event) -> Row<'py> {
    match event {
        Event::Said { stream, pool, said } => said_row(py, words, *stream, pool, said),
        Event::UnknownPool {
            stream,
            pool,
            request_id,
        } => (
            kind::UNKNOWN_POOL,
            *stream,
            words.get(py, pool),
            text(request_id),
        )
            .into_pyobject(py),
        Event::Left { stream, pool, link } => {
            (kind::LEFT, *stream, words.get(py, pool), *link).into_pyobject(py)
        }
        Event::Closed { stream } => (kind::CLOSED, *stream).into_pyobject(py),
        Event::Logged(entry) => logged(py, words, entry),
        Event::LogOpened { link } => (kind::LOG_OPENED, *link).into_pyobject(py),
        Event::LogNode { link, node } => (kind::LOG_NODE, *link, node).into_pyobject(py),
        Event::LogClosed { link } => (kind::LOG_CLOSED, *link).into_pyobject(py),
        Event::LinkClosed { link } => (kind::LINK_CLOSED, *link).into_pyobject(py),
        Event::Warning(text) => (kind::WARNING, text).into_pyobject(py),
    }
}
