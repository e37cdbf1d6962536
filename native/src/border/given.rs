//! What Python gives: settings once, answers in batches.

use std::sync::{Arc, RwLock};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::answers::Answers;
use crate::conversation::{Names, Settings};
use crate::format::{Format, Reads};
use crate::hub::Answer;
use crate::multipart::{self, Fields};
use crate::program::{Measures, Program};
use crate::sessions::Sources;
use crate::shape::Shape;

fn text_list(value: &Bound<'_, PyDict>, name: &str) -> PyResult<Vec<String>> {
    item(value, name)?
        .try_iter()?
        .map(|one| one?.extract())
        .collect()
}

fn item<'py>(value: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    value
        .get_item(name)?
        .ok_or_else(|| PyValueError::new_err(format!("{name} is missing")))
}

fn names(value: &Bound<'_, PyDict>, longest_details: usize) -> PyResult<Names> {
    let text = |name: &str| -> PyResult<String> { item(value, name)?.extract() };
    let mut stripped = text_list(value, "stripped")?;
    stripped.sort_unstable();
    Ok(Names {
        pool: text("pool")?,
        lean: text("lean")?,
        fallbacks: text("fallbacks")?,
        destination: text("destination")?,
        subset: text("subset")?,
        served: text("served")?,
        lb_namespace: text("lb_namespace")?,
        subset_namespace: text("subset_namespace")?,
        request_id: text("request_id")?,
        own_namespace: text("own_namespace")?,
        client: text("client")?,
        usage_namespace: text("usage_namespace")?,
        attempts_namespace: text("attempts_namespace")?,
        decision: text("decision")?,
        endpoint: text("endpoint")?,
        models_suffix: text("models_suffix")?,
        pools: text("pools")?,
        flow: text("flow")?,
        pool_attributes: text_list(value, "pool_attributes")?,
        objective: text_list(value, "objective")?,
        fairness_id: text_list(value, "fairness_id")?,
        slo_ttft_ms: text_list(value, "slo_ttft_ms")?,
        slo_tpot_ms: text_list(value, "slo_tpot_ms")?,
        stripped,
        longest_details,
    })
}

/// Reads the settings that both the server and a single conversation take.
pub fn settings(value: &Bound<'_, PyDict>) -> PyResult<Settings> {
    let number = |name: &str| -> PyResult<usize> { item(value, name)?.extract() };
    let measures = Measures {
        block_bytes: number("block_bytes")?,
        horizon: number("horizon_blocks")?,
        media_blocks: number("media_blocks")?,
        longest_model: number("longest_model")?,
    };
    let of_parts = multipart::Measures {
        longest_boundary: number("longest_boundary")?,
        most_parts: number("most_parts")?,
        longest_headers: number("longest_part_headers")?,
        longest_model: measures.longest_model,
        true_words: item(value, "true_words")?.extract()?,
    };
    let of_answers = item(value, "answers")?;
    let mut formats = Vec::new();
    for entry in item(value, "formats")?.try_iter()? {
        let (api, suffixes, shape, body): (String, Vec<String>, Bound<'_, PyDict>, String) =
            entry?.extract()?;
        let answers = of_answers.get_item(formats.len())?.cast_into::<PyDict>()?;
        let shape = Shape::read(&shape)?;
        let reads = match body.as_str() {
            "json" => Reads::Json(Arc::new(Program::new(&shape, measures))),
            "multipart" => Reads::Multipart(Arc::new(Fields::new(&shape, of_parts.clone()))),
            other => {
                return Err(PyValueError::new_err(format!(
                    "unknown kind of body {other}"
                )));
            }
        };
        formats.push(Format {
            api: Arc::from(api),
            suffixes,
            reads,
            answers: Arc::new(Answers::read(&answers, formats.len())?),
        });
    }
    Ok(Settings {
        names: names(
            item(value, "names")?.cast::<PyDict>()?,
            number("longest_details")?,
        )?,
        formats,
        nonce: item(value, "nonce")?.extract()?,
        secret: item(value, "secret")?.extract()?,
        body_limit: number("body_limit")?,
        odd_body_limit: number("odd_body_limit")?,
        media_tokens: number("media_tokens")?,
        most_media: number("most_media")?,
        longest_id: number("longest_id")?,
        longest_path: number("longest_path")?,
        longest_endpoint: number("longest_endpoint")?,
        most_subset: number("most_subset")?,
        subset_filter: item(value, "subset_filter")?.extract()?,
        evicted_status: item(value, "evicted_status")?.extract()?,
        sessions: {
            let (headers, cookies, body) = item(value, "sessions")?.extract()?;
            RwLock::new(Arc::new(Sources::new(headers, cookies, body)))
        },
    })
}

pub fn answers(rows: &Bound<'_, PyList>) -> PyResult<Vec<(u64, Answer)>> {
    rows.iter()
        .map(|row| {
            let row = row.cast_into::<PyTuple>()?;
            let stream: u64 = row.get_item(0)?.extract()?;
            let second = row.get_item(1)?;
            let answer = match second.cast::<PyBytes>() {
                _ if second.is_none() => Answer::Fail,
                Ok(message) if row.len() > 2 => {
                    Answer::Wait(Bytes::copy_from_slice(message.as_bytes()), None)
                }
                Ok(message) => Answer::Last(Bytes::copy_from_slice(message.as_bytes())),
                Err(_) => Answer::Route {
                    endpoints: second.extract()?,
                    target: row.get_item(2)?.extract()?,
                    decision: row.get_item(3)?.extract()?,
                    read: row.get_item(4)?.extract()?,
                    headers: match row.len() {
                        0..=5 => Vec::new(),
                        _ => row.get_item(5)?.extract()?,
                    },
                    stays: row.len() > 6 && row.get_item(6)?.extract()?,
                    next: None,
                },
            };
            Ok((stream, answer))
        })
        .collect()
}
