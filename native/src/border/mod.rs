//! What Python sees: built-in types only, in batches.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use tokio::sync::watch;

use crate::accesslog::read_entries;
use crate::answers::Answers;
use crate::conversation::{Conversation, PREFIX_BYTES, Said};
use crate::hub::{Answer, Hub, lock};
use crate::server::{Limits, Services, Tls};
use crate::sessions::Sources;
use crate::threads::{Address, Threads};
use crate::usage::UsageReader;

mod given;
mod rows;

use rows::{Words, kind, logged, row, said_row, usage};

/// The transport: sockets and streams on threads of its own; Python takes events and gives answers.
#[pyclass]
pub struct Server {
    hub: Arc<Hub>,
    limits: Limits,
    tls: Tls,
    drain: watch::Sender<bool>,
    /// The same for ports that serve health alone.
    end: watch::Sender<bool>,
    threads: Mutex<Option<Threads>>,
    words: Mutex<Words>,
}

impl Server {
    fn serve(&self, address: &Address, health_only: bool) -> std::io::Result<u16> {
        let guard = lock(&self.threads);
        let threads = guard
            .as_ref()
            .ok_or_else(|| std::io::Error::other("the server has stopped"))?;
        let (services, tls) = if health_only {
            (Services::Health, Tls::default())
        } else {
            (Services::All, self.tls.clone())
        };
        let drain = if health_only { &self.end } else { &self.drain };
        threads.listen(address, services, self.limits, tls, drain)
    }
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (settings, *, threads, max_connections, max_streams, max_message_bytes, backlog, ping_s, idle_s))]
    #[expect(clippy::too_many_arguments, reason = "named ones, for Python")]
    fn new(
        settings: &Bound<'_, PyDict>,
        threads: usize,
        max_connections: usize,
        max_streams: u32,
        max_message_bytes: usize,
        backlog: usize,
        ping_s: f64,
        idle_s: f64,
    ) -> PyResult<Server> {
        let seconds = |given: f64| {
            Duration::try_from_secs_f64(given)
                .ok()
                .filter(|time| !time.is_zero())
                .ok_or_else(|| PyValueError::new_err(format!("{given} seconds")))
        };
        let hub = Arc::new(Hub::new(
            given::settings(settings)?,
            backlog,
            threads.max(1),
        )?);
        Ok(Server {
            threads: Mutex::new(Some(Threads::start(&hub)?)),
            hub,
            limits: Limits {
                connections: max_connections,
                streams: max_streams,
                message_bytes: max_message_bytes,
                ping: seconds(ping_s)?,
                idle: seconds(idle_s)?,
            },
            tls: Arc::new(RwLock::new(None)),
            drain: watch::Sender::new(false),
            end: watch::Sender::new(false),
            words: Mutex::default(),
        })
    }

    /// Starts serving; the port that was bound.
    #[pyo3(signature = (host, port, *, health_only = false))]
    fn listen(&self, host: &str, port: u16, health_only: bool) -> PyResult<u16> {
        let ip: IpAddr = host
            .parse()
            .map_err(|_| PyValueError::new_err(format!("{host} is no IP address")))?;
        self.serve(&Address::Tcp(SocketAddr::new(ip, port)), health_only)
            .map_err(|error| PyOSError::new_err(format!("{host}:{port}: {error}")))
    }

    /// Starts serving at a path where nothing is yet.
    fn listen_unix(&self, path: PathBuf) -> PyResult<()> {
        let shown = path.display().to_string();
        self.serve(&Address::Unix(path), false)
            .map(|_| ())
            .map_err(|error| PyOSError::new_err(format!("{shown}: {error}")))
    }

    /// Certificates of new connections from now on, PEM; raises ValueError for a pair that cannot be used.
    #[pyo3(signature = (chain, key, *, min_version = "1.2", client_ca = None))]
    fn set_tls(
        &self,
        py: Python<'_>,
        chain: &[u8],
        key: &[u8],
        min_version: &str,
        client_ca: Option<&[u8]>,
    ) -> PyResult<()> {
        let config = py
            .detach(|| crate::tls::config(chain, key, min_version, client_ca))
            .map_err(PyValueError::new_err)?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
        Ok(())
    }

    /// The pools that are served, and the one of streams that name none.
    fn set_pools(&self, served: Vec<String>, unnamed: Option<&str>) {
        let mut pools = self
            .hub
            .pools
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        pools.served = served.into_iter().map(Arc::from).collect();
        pools.unnamed = unnamed.map(Arc::from);
    }

    /// What may name the session of requests from now on: headers, cookies, fields of bodies.
    fn set_sessions(&self, headers: Vec<String>, cookies: Vec<String>, body: Vec<String>) {
        self.hub
            .settings
            .read_sessions(Sources::new(headers, cookies, body));
    }

    fn set_ready(&self, ready: bool) {
        self.hub.ready.send_replace(ready);
    }

    /// A file descriptor that is readable while events wait; it belongs to the server.
    fn fileno(&self) -> i32 {
        self.hub.ear().as_raw_fd()
    }

    /// Everything that happened since the last call, in order.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let events = self.hub.take();
        let mut words = lock(&self.words);
        let rows: Vec<_> = events
            .iter()
            .map(|event| row(py, &mut words, event))
            .collect::<PyResult<_>>()?;
        drop(words);
        let rows = PyList::new(py, rows)?;
        // Bodies and strings are freed without holding Python up.
        py.detach(|| drop(events));
        Ok(rows)
    }

    /// Answers streams: `(stream, endpoints, target model, decision, read)`, `(stream, message)`, or
    /// `(stream, message, None)` when the answer is still to come.
    fn answer(&self, py: Python<'_>, rows: &Bound<'_, PyList>) -> PyResult<()> {
        let all = given::answers(rows)?;
        py.detach(|| self.hub.answer(all));
        Ok(())
    }

    /// Accepts no new connections and asks peers to open no new streams; a port for health alone stays.
    fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Ends everything that is still open, within the given time.
    fn stop(&self, py: Python<'_>, within_s: f64) {
        self.drain.send_replace(true);
        self.end.send_replace(true);
        if let Some(threads) = lock(&self.threads).take() {
            py.detach(|| threads.stop(Duration::from_secs_f64(within_s.max(0.0))));
        }
    }

    /// Numbers for metrics.
    fn counters(&self) -> HashMap<&'static str, u64> {
        let counters = &self.hub.counters;
        HashMap::from([
            (
                "connections",
                counters.connections.load(Ordering::Relaxed) as u64,
            ),
            (
                "refused_connections",
                counters.refused_connections.load(Ordering::Relaxed),
            ),
            ("streams", counters.streams.load(Ordering::Relaxed) as u64),
            ("events", counters.events.load(Ordering::Relaxed)),
            ("batches", counters.batches.load(Ordering::Relaxed)),
            ("panics", counters.panics.load(Ordering::Relaxed)),
        ])
    }
}

/// One stream's protocol, without a transport: what the server runs for each stream.
#[pyclass(name = "Conversation")]
pub struct Dialogue {
    talk: Conversation,
    number: u64,
    words: Words,
}

impl Dialogue {
    fn row<'py>(
        &mut self,
        py: Python<'py>,
        said: Option<Said>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        said.map(|said| said_row(py, &mut self.words, self.number, "", &said))
            .transpose()
    }
}

#[pymethods]
impl Dialogue {
    #[new]
    #[pyo3(signature = (settings, number, *, lean = false, fallbacks = false))]
    fn new(
        settings: &Bound<'_, PyDict>,
        number: u64,
        lean: bool,
        fallbacks: bool,
    ) -> PyResult<Dialogue> {
        let settings = Arc::new(given::settings(settings)?);
        Ok(Dialogue {
            talk: Conversation::new(settings, number, lean, fallbacks),
            number,
            words: Words::default(),
        })
    }

    /// Takes a serialised message; what was said. Raises ValueError when the peer broke the protocol.
    fn receive<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyList>> {
        let mut all = self
            .talk
            .receive(Bytes::copy_from_slice(data))
            .map_err(|error| PyValueError::new_err(error.0))?;
        while self.talk.scanning() {
            all.extend(self.talk.scan_on());
        }
        let rows = PyList::empty(py);
        for said in &all {
            rows.append(said_row(py, &mut self.words, self.number, "", said)?)?;
        }
        Ok(rows)
    }

    /// The OVER event, when that ended a routed request.
    fn answer<'py>(&mut self, row: Bound<'py, PyTuple>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = row.py();
        let rows = PyList::new(py, [row])?;
        let mut over = None;
        for (_, answer) in given::answers(&rows)? {
            match answer {
                Answer::Route {
                    endpoints,
                    target,
                    decision,
                    read,
                    headers,
                    stays,
                    next: _,
                } => self
                    .talk
                    .route(&endpoints, target, &decision, read, &headers, stays),
                Answer::Last(message) => over = self.talk.answer(&message),
                Answer::Wait(message, _) => self.talk.wait(&message),
                Answer::Fail => {}
            }
        }
        self.row(py, over)
    }

    fn refuse_stream(&mut self, message: &[u8]) {
        self.talk.answer_first(message);
    }

    fn closed<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let over = self.talk.closed();
        self.row(py, over)
    }

    /// Serialised messages to send; they are handed out once.
    fn outbox<'py>(&mut self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.talk
            .outbox
            .drain(..)
            .map(|framed| PyBytes::new(py, &framed[PREFIX_BYTES..]))
            .collect()
    }

    #[getter]
    fn leaving(&self) -> bool {
        self.talk.leaving
    }

    #[getter]
    fn pool_names(&self) -> Vec<String> {
        self.talk.pool_names.clone()
    }

    #[getter]
    fn awaits_log(&self) -> bool {
        self.talk.awaits_log()
    }
}

type ReadingRow<'py> = (
    Option<String>,
    bool,
    Option<i64>,
    usize,
    usize,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Vec<(usize, usize)>,
    u64,
);

/// Reads a body in chunks by the format of this number: model, stream, token limit, prompt bytes, media, blocks,
/// blocks with the tools first, spans of the model's value, and how many steps it took.
/// None: the format's own reader must judge it.
#[pyfunction]
#[pyo3(signature = (settings, number, chunks, content_type = ""))]
fn scan<'py>(
    py: Python<'py>,
    settings: &Bound<'py, PyDict>,
    number: usize,
    chunks: Vec<Vec<u8>>,
    content_type: &str,
) -> PyResult<Option<ReadingRow<'py>>> {
    let settings = given::settings(settings)?;
    let format = settings
        .formats
        .get(number)
        .ok_or_else(|| PyValueError::new_err("no such format"))?;
    let Some(mut reader) = format.reader(content_type) else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = chunks.into_iter().map(Bytes::from).collect();
    for chunk in &chunks {
        reader.feed(chunk);
    }
    let steps = reader.steps();
    Ok(reader.finish(&chunks).map(|reading| {
        (
            reading.model,
            reading.stream,
            reading.limit,
            reading.prompt_bytes,
            reading.media,
            PyBytes::new(py, &reading.blocks),
            PyBytes::new(py, &reading.tools_first),
            reading.spans,
            steps,
        )
    }))
}

/// `body` with `name` as the value of every top-level `model` key that holds a string.
#[pyfunction]
fn replace_model<'py>(py: Python<'py>, body: &[u8], name: &str) -> Bound<'py, PyBytes> {
    match crate::rewrite::replace_model(body, name) {
        Some(new) => PyBytes::new(py, &new),
        None => PyBytes::new(py, body),
    }
}

fn answers_of(settings: &Bound<'_, PyDict>, number: usize) -> PyResult<Arc<Answers>> {
    let settings = given::settings(settings)?;
    let format = settings.formats.get(number);
    format
        .map(|format| format.answers.clone())
        .ok_or_else(|| PyValueError::new_err("no such format"))
}

/// An answer's chunks with `name` restored by the format of this number, each as it would be sent on, the rest last;
/// None: not readable.
#[pyfunction]
fn restore_model<'py>(
    py: Python<'py>,
    settings: &Bound<'py, PyDict>,
    number: usize,
    content_type: &str,
    content_encoding: &str,
    name: &str,
    chunks: Vec<Vec<u8>>,
) -> PyResult<Option<Vec<Bound<'py, PyBytes>>>> {
    let answers = answers_of(settings, number)?;
    let restorer = crate::rewrite::Restorer::of(content_type, content_encoding, name, answers);
    let Some(mut restorer) = restorer else {
        return Ok(None);
    };
    let mut out: Vec<_> = chunks
        .iter()
        .map(|chunk| PyBytes::new(py, &restorer.feed(chunk)))
        .collect();
    out.push(PyBytes::new(py, &restorer.finish()));
    Ok(Some(out))
}

/// Usage in the chunks of an answer of the format of this number: counts, the tail to be read in Python, or None.
#[pyfunction]
fn read_usage<'py>(
    py: Python<'py>,
    settings: &Bound<'py, PyDict>,
    number: usize,
    chunks: Vec<Vec<u8>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut reader = UsageReader::new(answers_of(settings, number)?);
    for chunk in chunks {
        reader.feed(&Bytes::from(chunk));
    }
    usage(py, &reader.usage())
}

/// The routed requests in a serialised access-log message, as the server would tell them.
#[pyfunction]
fn read_log<'py>(
    py: Python<'py>,
    settings: &Bound<'py, PyDict>,
    data: &[u8],
) -> PyResult<Bound<'py, PyList>> {
    let settings = given::settings(settings)?;
    let told = read_entries(data, &settings.names)
        .map_err(|_| PyValueError::new_err("not a StreamAccessLogsMessage"))?;
    let mut words = Words::default();
    let rows = PyList::empty(py);
    for entry in &told.entries {
        rows.append(logged(py, &mut words, entry)?)?;
    }
    Ok(rows)
}

#[pymodule]
pub fn headgate_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("SOURCES", env!("HEADGATE_SOURCES"))?;
    module.add_class::<Server>()?;
    module.add_class::<Dialogue>()?;
    module.add_class::<crate::prefix::PrefixIndex>()?;
    module.add_function(wrap_pyfunction!(scan, module)?)?;
    module.add_function(wrap_pyfunction!(replace_model, module)?)?;
    module.add_function(wrap_pyfunction!(restore_model, module)?)?;
    module.add_function(wrap_pyfunction!(read_usage, module)?)?;
    module.add_function(wrap_pyfunction!(read_log, module)?)?;
    for (name, value) in [
        ("ARRIVED", kind::ARRIVED),
        ("UNREAD", kind::UNREAD),
        ("TOO_LARGE", kind::TOO_LARGE),
        ("UNKNOWN_POOL", kind::UNKNOWN_POOL),
        ("STARTED", kind::STARTED),
        ("FIRST_TOKEN", kind::FIRST_TOKEN),
        ("STORED", kind::STORED),
        ("OVER", kind::OVER),
        ("LEFT", kind::LEFT),
        ("CLOSED", kind::CLOSED),
        ("LOGGED", kind::LOGGED),
        ("LOG_OPENED", kind::LOG_OPENED),
        ("LOG_CLOSED", kind::LOG_CLOSED),
        ("WARNING", kind::WARNING),
        ("LOG_NODE", kind::LOG_NODE),
        ("LINK_CLOSED", kind::LINK_CLOSED),
    ] {
        module.add(name, value)?;
    }
    Ok(())
}
