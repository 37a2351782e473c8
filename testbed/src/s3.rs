//! A server that speaks S3, over a folder: its objects are files, and stay over a restart.
//!
//! It is `s3s-fs`, in the test's own process. It checks signatures, knows ranges, listings, parts and `If-None-Match`;
//! the latter is looked at before the object is written, so that two who create one at the same moment may both
//! be told that they did.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use crate::tasks::{Spawner, Tasks};

/// The key that opens it.
pub const ACCESS_KEY: &str = "testbed";
/// And its secret.
pub const SECRET_KEY: &str = "testbed-secret";
/// A bucket that it has.
pub const BUCKET: &str = "logs";

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    folder: PathBuf,
    tasks: Tasks,
}

impl Server {
    /// Starts on a free port, with what an earlier one left in the folder.
    pub async fn start(folder: &Path) -> Self {
        Self::start_on(folder, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts on a free port, and begins with each request so much later, as a distant one does.
    pub async fn start_slow(folder: &Path, latency: Duration) -> Self {
        Self::start_with(folder, SocketAddr::from(([127, 0, 0, 1], 0)), latency).await
    }

    /// Starts on this address.
    pub async fn start_on(folder: &Path, address: SocketAddr) -> Self {
        Self::start_with(folder, address, Duration::ZERO).await
    }

    async fn start_with(folder: &Path, address: SocketAddr, latency: Duration) -> Self {
        std::fs::create_dir_all(folder.join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        tasks.spawner().spawn(accept(listener, service.build(), latency, tasks.spawner()));
        Self { address, folder: folder.to_owned(), tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops in the middle of whatever it does. Starting it again on its address shows what it kept.
    pub async fn stop(self) {
        self.tasks.end().await;
    }

    /// How many uploads in parts were begun and neither put together nor given up.
    pub fn unfinished_uploads(&self) -> usize {
        self.count(".upload-")
    }

    /// How many parts of such uploads there are.
    pub fn parts_left(&self) -> usize {
        self.count(".upload_id-")
    }

    fn count(&self, prefix: &str) -> usize {
        let names = std::fs::read_dir(&self.folder).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
    }
}

async fn accept(listener: TcpListener, service: S3Service, latency: Duration, spawner: Spawner) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        // As the answers here are small and many.
        socket.set_nodelay(true).unwrap();
        let service = service.clone();
        spawner.spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            let service = service_fn(|request: Request<Incoming>| {
                let service = service.clone();
                async move {
                    if !latency.is_zero() {
                        tokio::time::sleep(latency).await;
                    }
                    hyper::service::Service::call(&service, request).await
                }
            });
            // Clients that go away in the middle are what the tests are about.
            drop(http.serve_connection(TokioIo::new(socket), service).await);
        });
    }
}
