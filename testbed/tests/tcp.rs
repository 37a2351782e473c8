//! Each fault of the TCP proxy, seen from both ends.
#![expect(clippy::unwrap_used, reason = "what a test calls may end it")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heliograph_testbed::faults::tcp::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Says what it hears; counts the bytes.
async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&heard);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                counted.fetch_add(read, Ordering::SeqCst);
                if socket.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        }
    });
    (address, heard)
}

/// How talking ended, and how many bytes came back.
async fn talk(proxy: &Proxy, bytes: usize) -> (Option<ErrorKind>, usize) {
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    let talking = async {
        let mut back = Vec::new();
        if let Err(error) = socket.write_all(&vec![7; bytes]).await {
            return (Some(error.kind()), 0);
        }
        drop(socket.shutdown().await);
        let ended = socket.read_to_end(&mut back).await;
        (ended.err().map(|e| e.kind()), back.len())
    };
    timeout(Duration::from_secs(2), talking).await.unwrap_or((Some(ErrorKind::TimedOut), 0))
}

#[tokio::test]
async fn each_fault_is_what_it_says() {
    const BYTES: usize = 50_000;
    let late = Duration::from_millis(200);
    let reset = Some(ErrorKind::ConnectionReset);
    let table = [
        (None, None, BYTES, BYTES),
        (Some(Fault::Refused), reset, 0, 0),
        (Some(Fault::Latency(late)), None, BYTES, BYTES),
        (Some(Fault::Rate(100_000)), None, BYTES, BYTES),
        (Some(Fault::ResetAfterSent(10_000)), reset, 10_000, 0),
        (Some(Fault::ResetAfterReceived(10_000)), reset, BYTES, 10_000),
        (Some(Fault::CutAfter(10_000)), None, BYTES, 10_000),
        (Some(Fault::HalfOpen), Some(ErrorKind::TimedOut), BYTES, 0),
        (Some(Fault::BlackHole), Some(ErrorKind::TimedOut), 0, 0),
    ];
    for (fault, ended, heard_max, back_max) in table {
        let (server, heard) = echo().await;
        let proxy = Proxy::start(server).await;
        proxy.faults().next(fault.into_iter().collect::<Vec<_>>());
        let since = Instant::now();
        let (found, back) = talk(&proxy, BYTES).await;
        assert_eq!(found, ended, "{fault:?}");
        match fault {
            // What was on its way is lost with the connection.
            Some(Fault::ResetAfterSent(_) | Fault::ResetAfterReceived(_)) => {
                assert!(back <= back_max && heard.load(Ordering::SeqCst) <= heard_max, "{fault:?}");
            }
            _ => assert_eq!((heard.load(Ordering::SeqCst), back), (heard_max, back_max), "{fault:?}"),
        }
        match fault {
            Some(Fault::Latency(_)) => assert!(since.elapsed() >= late * 2, "both ways"),
            Some(Fault::Rate(_)) => assert!(since.elapsed() >= Duration::from_millis(500)),
            _ => {}
        }
    }
}
