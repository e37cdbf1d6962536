//! The transport's threads: each runs an event loop of its own, so that nothing is handed from one to another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::hub::{Hub, Lane};
use crate::server::{Limits, Services, Tls, Worker, accept, bind, bind_unix};

/// Where to listen. Port 0 means any free one.
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

pub struct Threads {
    workers: Vec<Worker>,
    /// Ends all threads, and whatever runs there, when it turns true or is dropped.
    ended: watch::Sender<bool>,
    /// Closed once all threads have gone.
    running: mpsc::Receiver<()>,
}

impl Threads {
    /// One thread for each lane.
    pub fn start(hub: &Arc<Hub>) -> std::io::Result<Threads> {
        let ended = watch::Sender::new(false);
        let (alive, running) = mpsc::channel();
        let mut workers = Vec::new();
        for lane in Lane::all(hub) {
            let runtime = Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()?;
            workers.push(Worker {
                lane: lane.clone(),
                handle: runtime.handle().clone(),
            });
            let (mut ended, alive) = (ended.subscribe(), alive.clone());
            thread::Builder::new()
                .name("headgate-wire".to_owned())
                .spawn(move || {
                    runtime.spawn(lane.attend());
                    let _ = runtime.block_on(ended.wait_for(|now| *now));
                    drop(runtime);
                    drop(alive);
                })?;
        }
        Ok(Threads {
            workers,
            ended,
            running,
        })
    }

    /// Serves an address until `drain` turns true; the bound port.
    pub fn listen(
        &self,
        address: &Address,
        services: Services,
        limits: Limits,
        tls: Tls,
        drain: &watch::Sender<bool>,
    ) -> std::io::Result<u16> {
        let first = &self.workers[0].handle;
        let _within = first.enter();
        let listener = match address {
            Address::Tcp(address) => bind(*address)?,
            Address::Unix(path) => bind_unix(path)?,
        };
        let port = listener.port()?;
        first.spawn(accept(
            listener,
            self.workers.clone(),
            services,
            limits,
            tls,
            drain.subscribe(),
        ));
        Ok(port)
    }

    /// Ends everything, and waits for it no longer than that.
    pub fn stop(self, within: Duration) {
        self.ended.send_replace(true);
        let _ = self.running.recv_timeout(within);
    }
}
