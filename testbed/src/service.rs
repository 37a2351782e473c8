//! A small HTTP service that answers as it is told: an authorization webhook, or anything else that is called. It notes
//! what it is asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub uri: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, with headers and a body.
    Is(u16, Vec<(&'static str, String)>, String),
    /// The same after a while.
    Late(Duration, Box<Reply>),
    /// 200, and a body without end.
    Endless,
    /// 200 and the head of a body, of which nothing more comes.
    Stalls,
    /// The connection is closed.
    HangsUp,
}

impl Reply {
    /// A status alone.
    pub fn status(status: u16) -> Self {
        Self::Is(status, Vec::new(), String::new())
    }

    /// 200 with JSON.
    pub fn json(body: impl ToString) -> Self {
        Self::Is(200, vec![("content-type", "application/json".to_owned())], body.to_string())
    }
}

type Decide = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The service, while it is held.
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    decide: Arc<Mutex<Arc<Decide>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Service {
    /// Listens on a free port of this address.
    pub async fn on(host: &str, decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(&format!("{host}:0"), decide).await
    }

    /// Listens here.
    pub async fn at(address: &str, decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let decide: Arc<Mutex<Arc<Decide>>> = Arc::new(Mutex::new(Arc::new(decide)));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let mut tasks = JoinSet::new();
        let (deciding, noting) = (Arc::clone(&decide), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (deciding, noting) = (Arc::clone(&deciding), Arc::clone(&noting));
                connections.spawn(async move {
                    let answer = service_fn(|request| answer(request, &deciding, &noting));
                    // A client that goes is none of our business.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
        Self { address, decide, asked, _tasks: tasks }
    }

    /// Where it is called.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers so from now on.
    pub fn answer(&self, decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.decide.lock() = Arc::new(decide);
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock())
    }
}

async fn answer(
    request: Request<Incoming>,
    decide: &Mutex<Arc<Decide>>,
    asked: &Mutex<Vec<Asked>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let request = Asked { method: head.method.to_string(), uri, headers: head.headers, body };
    let decide = Arc::clone(&decide.lock());
    let mut reply = decide(&request);
    asked.lock().push(request);
    loop {
        reply = match reply {
            Reply::Late(wait, then) => {
                tokio::time::sleep(wait).await;
                *then
            }
            Reply::Is(status, headers, body) => {
                let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                return Ok(response.body(Full::new(Bytes::from(body)).boxed()).unwrap());
            }
            Reply::Endless => {
                let chunk = Bytes::from(vec![b'x'; 16 << 10]);
                let chunks = futures::stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
                return Ok(Response::new(BodyExt::boxed(StreamBody::new(chunks))));
            }
            Reply::Stalls => {
                let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"{")))]);
                let chunks = first.chain(futures::stream::pending());
                return Ok(Response::new(BodyExt::boxed(StreamBody::new(chunks))));
            }
            Reply::HangsUp => return Err(std::io::Error::other("hangs up")),
        };
    }
}
