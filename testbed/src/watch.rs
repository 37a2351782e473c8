//! A proxy that reads along: no byte of one owner's canary may reach somebody who may not read that owner's data.
//!
//! It stands between every client of a test and the server, passes bytes as they are, and looks for canaries in all that
//! comes back. Who may read what is told by the test; whoever it does not know may read nothing. A leak fails the test
//! when the watch is dropped.
//!
//! HTTP/1.1 in the clear, what it is upgraded to, and what bodies come to that a server compresses.

mod coding;
mod framing;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::tasks::{Spawner, Tasks};
use coding::Coding;
use framing::Framing;
use requests::Asked;

/// What is read at once.
const PIECE_BYTES: usize = 16 << 10;
/// Who may read everything.
const ALL: &str = "*";

#[derive(Debug, Default)]
struct State {
    /// By owner.
    canaries: BTreeMap<String, String>,
    /// By credential: the owners whose data may be read with it.
    readers: BTreeMap<String, BTreeSet<String>>,
    leaks: BTreeSet<String>,
    /// Bytes of answers that were looked through.
    bytes: u64,
    /// Canaries that came to those who may read them.
    seen: u64,
}

/// What is planted, and who may read it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Canaries(Arc<Mutex<State>>);

impl Canaries {
    /// The canary of an owner: a word that is nowhere else, to be put into that owner's data.
    pub fn of(&self, owner: &str) -> String {
        let mut state = self.0.lock();
        let canary = state.canaries.entry(owner.to_owned());
        canary.or_insert_with(|| format!("canary{:016x}of{owner}", fastrand::u64(..))).clone()
    }

    /// From now on what comes with this credential may read this owner's data. A credential is a token, a cookie's value,
    /// the name of a user of Basic, or the value of a header; an owner `*` is every one.
    pub fn allow(&self, credential: &str, owner: &str) {
        self.0.lock().readers.entry(credential.to_owned()).or_default().insert(owner.to_owned());
    }

    /// What came to somebody who may not read it.
    pub fn leaks(&self) -> Vec<String> {
        self.0.lock().leaks.iter().cloned().collect()
    }

    /// Bytes of answers that were looked through, and canaries that came to those who may read them.
    pub fn watched(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.bytes, state.seen)
    }

    /// Looks through what comes back; `window` is the end of what came before, and becomes that of this.
    fn look(&self, asked: &Asked, window: &mut Vec<u8>, piece: &[u8]) {
        let mut state = self.0.lock();
        state.bytes += piece.len() as u64;
        window.extend_from_slice(piece);
        let (mut leaks, mut seen) = (Vec::new(), 0);
        for (owner, canary) in &state.canaries {
            if !window.windows(canary.len()).any(|part| part == canary.as_bytes()) {
                continue;
            }
            let may = |credential: &String| {
                let owners = state.readers.get(credential);
                owners.is_some_and(|owners| owners.contains(owner) || owners.contains(ALL))
            };
            match asked.credentials.iter().any(may) {
                true => seen += 1,
                false => leaks.push(format!("{} was answered with data of {owner}", asked.line)),
            }
        }
        state.leaks.extend(leaks);
        state.seen += seen;
        // A canary that is cut in two is found with the next piece; one that was found is not found again.
        let longest = state.canaries.values().map(String::len).max().unwrap_or_default();
        let keep = if seen > 0 { 0 } else { longest.saturating_sub(1) };
        window.drain(..window.len().saturating_sub(keep));
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Watch {
    address: SocketAddr,
    canaries: Canaries,
    _tasks: Tasks,
}

impl Watch {
    /// Before a server that is or will be at this address; on the runtime that calls this.
    pub fn start(server: SocketAddr) -> Self {
        Self::over(server, Canaries::default())
    }

    /// Likewise, with canaries that others know, too.
    pub fn over(server: SocketAddr, canaries: Canaries) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        tasks.spawner().spawn(accept(listener, server, canaries.clone(), tasks.spawner()));
        Self { address, canaries, _tasks: tasks }
    }

    /// Where clients go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is planted, and who may read it.
    pub fn canaries(&self) -> &Canaries {
        &self.canaries
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let leaks = self.canaries.leaks();
            assert!(leaks.is_empty(), "data came to those who may not read it: {leaks:#?}");
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, canaries: Canaries, spawner: Spawner) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let canaries = canaries.clone();
        spawner.spawn(async move {
            if let Ok(server) = TcpStream::connect(server).await {
                pass(client, server, canaries).await;
            }
        });
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, canaries: Canaries) {
    for socket in [&client, &server] {
        drop(socket.set_nodelay(true));
    }
    let asked = Mutex::new(Asked::default());
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = send(from_client, to_server, &asked);
    let back = receive(from_server, to_client, &asked, &canaries);
    // When the server has ended, so has the connection.
    tokio::select! {
        () = back => {}
        () = async { there.await; std::future::pending().await } => {}
    }
}

async fn send(mut client: ReadHalf<'_>, mut server: WriteHalf<'_>, asked: &Mutex<Asked>) {
    let (mut framing, mut buffer) = (Framing::default(), vec![0; PIECE_BYTES]);
    while let Ok(read @ 1..) = client.read(&mut buffer).await {
        let piece = buffer.get(..read).unwrap_or_default();
        let on_head = |head: &str| {
            let mut asked = asked.lock();
            *asked = asked.next(head);
            Framing::behind(head, Framing::default())
        };
        framing.take(piece, on_head, |_| {});
        if server.write_all(piece).await.is_err() {
            return;
        }
    }
    drop(server.shutdown().await);
}

async fn receive(
    mut server: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    asked: &Mutex<Asked>,
    canaries: &Canaries,
) {
    let (mut framing, mut buffer) = (Framing::default(), vec![0; PIECE_BYTES]);
    // Of which request, and the end of what was answered.
    let window = Mutex::new((0, Vec::new()));
    let coding = Mutex::new(Coding::Plain);
    while let Ok(read @ 1..) = server.read(&mut buffer).await {
        let piece = buffer.get(..read).unwrap_or_default();
        let look = |bytes: &[u8]| {
            let (asked, mut window) = (asked.lock().clone(), window.lock());
            if window.0 != asked.number {
                *window = (asked.number, Vec::new());
            }
            canaries.look(&asked, &mut window.1, bytes);
        };
        let on_head = |head: &str| {
            look(head.as_bytes());
            *coding.lock() = Coding::of(head).unwrap_or_else(|other| {
                let leak =
                    format!("{} was answered in {other}, and is not looked through", asked.lock().line);
                canaries.0.lock().leaks.insert(leak);
                Coding::Plain
            });
            let status = head.split(' ').nth(1).unwrap_or_default();
            match asked.lock().line.starts_with("HEAD ") || ["100", "204", "304"].contains(&status) {
                true => Framing::default(),
                false => Framing::behind(head, Framing::Opaque),
            }
        };
        framing.take(piece, on_head, |body| look(&coding.lock().plain(body)));
        if client.write_all(piece).await.is_err() {
            return;
        }
    }
    drop(client.shutdown().await);
}
