//! What the answers of an API hold, compiled from built-in Python values.
//!
//! The language is described in `headgate/wire/counts.py`; `headgate/wire/usage.py` executes the same values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// One way to count, by places in [`Answers::paths`].
#[derive(Debug, Clone, Default)]
pub struct Way {
    pub prompt: Option<usize>,
    pub completion: Option<usize>,
    pub cached: Option<usize>,
    /// Prompt tokens that `prompt` leaves out.
    pub beside: Vec<usize>,
}

/// What a format's answers hold.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// The format's, for the reader in Python.
    pub number: usize,
    /// Keys of an event under which an object has the model's name.
    pub within: Vec<Vec<u8>>,
    /// Keys, quotes included, of the objects that count tokens.
    pub keys: Vec<Vec<u8>>,
    /// Where counts stand in such an object: a name, or that of an object and one in it.
    pub paths: Vec<Vec<Vec<u8>>>,
    pub ways: Vec<Way>,
    /// They have an id under which the server keeps them.
    pub stored: bool,
    /// Names that say that an event of a stream carries no token: see [`crate::first_token`].
    pub tokenless: Vec<Vec<u8>>,
}

impl Answers {
    /// Compiles a format's answers; raises `ValueError` or `TypeError` for what is not understood.
    pub fn read(value: &Bound<'_, PyDict>, number: usize) -> PyResult<Answers> {
        let names = |name: &str| -> PyResult<Vec<String>> { item(value, name)?.extract() };
        let bytes = |name: &str| -> PyResult<Vec<Vec<u8>>> {
            Ok(names(name)?.into_iter().map(String::into_bytes).collect())
        };
        let mut all = Answers {
            number,
            within: bytes("within")?,
            tokenless: bytes("tokenless")?,
            keys: names("usage")?
                .iter()
                .map(|name| format!("\"{name}\"").into_bytes())
                .collect(),
            stored: item(value, "stored")?.extract()?,
            ..Answers::default()
        };
        for way in item(value, "counts")?.try_iter()? {
            let way = way?.cast_into::<PyDict>()?;
            let path = |name: &str| -> PyResult<Vec<String>> { item(&way, name)?.extract() };
            let beside = path("beside")?;
            let way = Way {
                prompt: all.place(path("prompt")?)?,
                completion: all.place(path("completion")?)?,
                cached: all.place(path("cached")?)?,
                beside: beside
                    .into_iter()
                    .filter_map(|name| all.place(vec![name]).transpose())
                    .collect::<PyResult<_>>()?,
            };
            all.ways.push(way);
        }
        Ok(all)
    }

    /// The place of a path; None for the empty one.
    fn place(&mut self, path: Vec<String>) -> PyResult<Option<usize>> {
        let path: Vec<Vec<u8>> = path.into_iter().map(String::into_bytes).collect();
        match path.len() {
            0 => return Ok(None),
            1 | 2 => {}
            _ => return Err(PyValueError::new_err("a count lies too deep")),
        }
        let known = self.paths.iter().position(|each| *each == path);
        Ok(Some(known.unwrap_or_else(|| {
            self.paths.push(path);
            self.paths.len() - 1
        })))
    }
}

fn item<'py>(value: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    value
        .get_item(name)?
        .ok_or_else(|| PyValueError::new_err(format!("answers: {name} is missing")))
}
