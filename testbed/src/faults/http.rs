//! Faults at every point of an HTTP request.
//!
//! Each request is read whole, passed on over a connection of its own, and its answer read whole: bodies are
//! held in memory, one for each request that runs. HTTP/1.1 without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Faults, tcp};
use crate::tasks::{Spawner, Tasks};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It arrives so much later.
    Latency(Duration),
    /// The connection is torn before the request is read.
    ResetBefore,
    /// The connection is torn when half of the request's body is read; nothing arrives.
    ResetInBody,
    /// The request arrives whole and is done; the connection is torn before the answer.
    ResetAfter,
    /// The request does not arrive, and there is no answer.
    Hang,
    /// The request arrives whole and is done; there is no answer.
    HangAfter,
    /// Half of the answer's body comes, then the connection is torn.
    CutAnswer,
    /// Half of a part of something comes as if it were the whole part: only its range tells.
    ShortAnswer,
    /// The request does not arrive; the answer is 500.
    ServerError,
    /// The request arrives whole and is done; the answer is 500.
    ServerErrorAfter,
    /// The request does not arrive; the answer is 503 `SlowDown` with `Retry-After: 1`.
    SlowDown,
    /// The request arrives twice, one after the other; the second answer comes.
    Twice,
}

impl Fault {
    /// All of them, as a store that is far away and in trouble shows them.
    pub fn all() -> Vec<Self> {
        vec![
            Self::Latency(Duration::from_secs(2)),
            Self::ResetBefore,
            Self::ResetInBody,
            Self::ResetAfter,
            Self::Hang,
            Self::HangAfter,
            Self::CutAnswer,
            Self::ShortAnswer,
            Self::ServerError,
            Self::ServerErrorAfter,
            Self::SlowDown,
            Self::Twice,
        ]
    }

    /// Those that take no time by themselves.
    pub fn quick() -> Vec<Self> {
        let slow =
            |fault: &Self| matches!(fault, Self::Latency(_) | Self::Hang | Self::HangAfter | Self::SlowDown);
        Self::all().into_iter().filter(|fault| !slow(fault)).collect()
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Faults<Fault>,
    only: Arc<Mutex<Option<Method>>>,
    _tasks: Tasks,
}

impl Proxy {
    /// Before a server that is or will be at this address.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, tasks) = (Faults::none(), Tasks::new());
        let only = Arc::default();
        let way = Way { server, faults: faults.clone(), only: Arc::clone(&only), spawner: tasks.spawner() };
        tasks.spawner().spawn(way.accept(listener));
        Self { address, faults, only, _tasks: tasks }
    }

    /// `http://` and where clients go.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What strikes.
    pub fn faults(&self) -> &Faults<Fault> {
        &self.faults
    }

    /// Only requests of this method are struck.
    pub fn only(&self, method: Method) {
        *self.only.lock() = Some(method);
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// From clients to a server.
#[derive(Clone, Debug)]
struct Way {
    server: SocketAddr,
    faults: Faults<Fault>,
    only: Arc<Mutex<Option<Method>>>,
    spawner: Spawner,
}

impl Way {
    async fn accept(self, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            let way = self.clone();
            self.spawner.spawn(async move { way.serve(client).await.unwrap() });
        }
    }

    async fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        // A second handle on the socket, to tear it while the first is lent out.
        let client = client.into_std()?;
        let (twin, client) = (TcpStream::from_std(client.try_clone()?)?, TcpStream::from_std(client)?);
        let torn = CancellationToken::new();
        let service = service_fn(|request| self.answer(request, &torn));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(client), service);
        tokio::select! {
            // Clients that go away are what the tests are about.
            ended = serving => drop(ended),
            () = torn.cancelled() => tcp::tear(&twin),
        }
        Ok(())
    }

    /// The answer, or never one: then the connection is torn, or nothing happens for as long as the test lasts.
    async fn answer(
        &self,
        request: Request<Incoming>,
        torn: &CancellationToken,
    ) -> Result<Answer, Infallible> {
        let tear = async || -> Answer {
            torn.cancel();
            std::future::pending().await
        };
        let is_meant = self.only.lock().as_ref().is_none_or(|only| only == request.method());
        let fault = if is_meant { self.faults.draw() } else { None };
        if fault == Some(Fault::ResetBefore) {
            return Ok(tear().await);
        }
        let (head, body) = request.into_parts();
        let body = match fault {
            Some(Fault::ResetInBody) => {
                read_half(body).await;
                return Ok(tear().await);
            }
            _ => match body.collect().await {
                Ok(whole) => whole.to_bytes(),
                Err(_) => return Ok(tear().await),
            },
        };
        match fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::ServerError) => {
                return Ok(trouble(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"));
            }
            Some(Fault::SlowDown) => return Ok(trouble(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            Some(Fault::Latency(time)) => sleep(time).await,
            Some(Fault::Twice) => drop(self.pass(Request::from_parts(head.clone(), body.clone())).await),
            _ => {}
        }
        let is_head = head.method == Method::HEAD;
        let Some(answer) = self.pass(Request::from_parts(head, body)).await else { return Ok(tear().await) };
        Ok(match fault {
            Some(Fault::ResetAfter) => tear().await,
            Some(Fault::HangAfter) => std::future::pending().await,
            Some(Fault::ServerErrorAfter) => trouble(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Some(Fault::CutAnswer) if !answer.body().is_empty() => cut(answer, torn.clone()),
            Some(Fault::ShortAnswer) if answer.status() == StatusCode::PARTIAL_CONTENT => shorten(answer),
            _ if is_head => answer.map(|_| Full::default().boxed()),
            _ => answer.map(|body| Full::new(body).boxed()),
        })
    }

    /// What the server says; nothing where it is not there or breaks off.
    async fn pass(&self, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let socket = TcpStream::connect(self.server).await.ok()?;
        drop(socket.set_nodelay(true));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.ok()?;
        let asking = async {
            let response = sender.send_request(request.map(Full::new)).await.ok()?;
            let (head, body) = response.into_parts();
            Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
        };
        let mut connection = std::pin::pin!(connection);
        let mut asking = std::pin::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            // It has said all by then, or broken off.
            _ = &mut connection => asking.await,
        }
    }
}

async fn read_half(mut body: Incoming) {
    let half = hyper::body::Body::size_hint(&body).lower() / 2;
    let mut read = 0;
    while read < half {
        let Some(Ok(frame)) = body.frame().await else { break };
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

fn trouble(status: StatusCode, code: &str) -> Answer {
    let text = format!("<Error><Code>{code}</Code><Message>a fault of the test</Message></Error>");
    let mut answer = Response::new(Full::from(text).boxed());
    *answer.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    answer
}

/// The length that was told stays; the connection is torn after half of it.
fn cut(answer: Response<Bytes>, torn: CancellationToken) -> Answer {
    let (mut head, body) = answer.into_parts();
    head.headers.insert("content-length", HeaderValue::from(body.len()));
    let half = Frame::data(body.slice(..body.len() / 2));
    let pieces = stream::unfold(Some(half), move |half| {
        let torn = torn.clone();
        async move {
            if let Some(half) = half {
                return Some((Ok(half), None));
            }
            // So that the half gets out first.
            sleep(Duration::from_millis(20)).await;
            torn.cancel();
            std::future::pending().await
        }
    });
    Response::from_parts(head, BodyExt::boxed(StreamBody::new(pieces)))
}

fn shorten(answer: Response<Bytes>) -> Answer {
    let (mut head, body) = answer.into_parts();
    let half = body.slice(..body.len() / 2);
    head.headers.remove("transfer-encoding");
    head.headers.insert("content-length", HeaderValue::from(half.len()));
    Response::from_parts(head, Full::new(half).boxed())
}
