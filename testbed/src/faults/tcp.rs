//! Faults on connections, whatever is spoken on them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Faults;
use crate::tasks::{Spawner, Tasks};

/// What is read at once, and how many pieces are on their way.
const PIECE_BYTES: usize = 16 << 10;
const PIECES_MAX: usize = 256;

/// What happens to a connection, from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is torn down as soon as it stands.
    Refused,
    /// Each piece of either direction comes so much later.
    Latency(Duration),
    /// At most so many bytes a second in either direction.
    Rate(u32),
    /// Torn down after so many bytes to the server.
    ResetAfterSent(usize),
    /// Torn down after so many bytes from the server.
    ResetAfterReceived(usize),
    /// Ended in order after so many bytes from the server, as if there were no more.
    CutAfter(usize),
    /// What the client sends arrives; nothing comes back, and nobody says so.
    HalfOpen,
    /// Nothing arrives, nothing comes back, and nobody says so.
    BlackHole,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Faults<Fault>,
    _tasks: Tasks,
}

impl Proxy {
    /// Before a server that is or will be at this address.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, tasks) = (Faults::none(), Tasks::new());
        tasks.spawner().spawn(accept(listener, server, faults.clone(), tasks.spawner()));
        Self { address, faults, _tasks: tasks }
    }

    /// Where clients go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What strikes.
    pub fn faults(&self) -> &Faults<Fault> {
        &self.faults
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, faults: Faults<Fault>, spawner: Spawner) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let fault = faults.draw();
        spawner.spawn(async move {
            if let Some(Fault::Refused) = fault {
                return tear(&client);
            }
            match TcpStream::connect(server).await {
                Ok(server) => connect(client, server, fault).await,
                Err(_) => tear(&client),
            }
        });
    }
}

/// When it is let go, the other side hears of a reset, not of an end.
pub(super) fn tear(socket: &TcpStream) {
    // One that is gone already needs no tearing.
    drop(socket.set_zero_linger());
}

async fn connect(mut client: TcpStream, mut server: TcpStream, fault: Option<Fault>) {
    for socket in [&client, &server] {
        drop(socket.set_nodelay(true));
    }
    let (there, back) = (Way::there(fault), Way::back(fault));
    let ended = {
        // Borrowed halves: owned ones would end a direction in order when they are dropped.
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(there.pass(from_client, to_server), back.pass(from_server, to_client))
    };
    if let Err(Torn) = ended {
        tear(&client);
        tear(&server);
    }
}

/// The connection is to be torn down.
struct Torn;

/// What one direction does to bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    latency: Duration,
    rate: Option<u32>,
    reset_after: Option<usize>,
    end_after: Option<usize>,
    swallow: bool,
}

impl Way {
    fn both(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::Latency(latency)) => Self { latency, ..Self::default() },
            Some(Fault::Rate(rate)) => Self { rate: Some(rate.max(1)), ..Self::default() },
            Some(Fault::BlackHole) => Self { swallow: true, ..Self::default() },
            _ => Self::default(),
        }
    }

    fn there(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::ResetAfterSent(bytes)) => Self { reset_after: Some(bytes), ..Self::default() },
            other => Self::both(other),
        }
    }

    fn back(fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::ResetAfterReceived(bytes)) => Self { reset_after: Some(bytes), ..Self::default() },
            Some(Fault::CutAfter(bytes)) => Self { end_after: Some(bytes), ..Self::default() },
            Some(Fault::HalfOpen) => Self { swallow: true, ..Self::default() },
            other => Self::both(other),
        }
    }

    /// Passes bytes until either side ends, or this does.
    async fn pass(self, source: ReadHalf<'_>, target: WriteHalf<'_>) -> Result<(), Torn> {
        let (pieces, passing) = mpsc::channel(PIECES_MAX);
        let reading = async {
            self.read(source, pieces).await;
            Ok(())
        };
        tokio::try_join!(reading, self.write(passing, target)).map(|_| ())
    }

    async fn read(self, mut source: ReadHalf<'_>, pieces: mpsc::Sender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = source.read(&mut buffer).await {
            let piece = buffer.get(..read).unwrap_or_default().to_vec();
            if !self.swallow && pieces.send((Instant::now() + self.latency, piece)).await.is_err() {
                return;
            }
        }
        if self.swallow {
            // As long as the test lasts.
            std::future::pending::<()>().await;
        }
    }

    async fn write(
        self,
        mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
        mut target: WriteHalf<'_>,
    ) -> Result<(), Torn> {
        let (mut room, mut due) = (self.reset_after.or(self.end_after).unwrap_or(usize::MAX), Instant::now());
        while let Some((at, mut piece)) = pieces.recv().await {
            piece.truncate(room);
            room -= piece.len();
            sleep_until(at).await;
            if let Some(rate) = self.rate {
                due = due.max(at) + Duration::from_secs_f64(piece.len() as f64 / f64::from(rate));
                sleep_until(due).await;
            }
            if target.write_all(&piece).await.is_err() {
                return Ok(());
            }
            if room == 0 && self.reset_after.is_some() {
                return Err(Torn);
            }
            if room == 0 {
                break;
            }
        }
        drop(target.shutdown().await);
        Ok(())
    }
}
