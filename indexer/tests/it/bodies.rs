//! FAULTS.md R14: bodies that expand, nest or never end are refused at a bound, and change nothing.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use heliograph_model::codec;
use heliograph_store::catalog::Role;

use crate::bench::{Server, all_of};

const MIB: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    codec::compress(bytes, 3).unwrap()
}

/// A zstd frame of `{}` that asks for a window of 2 to the power of so many bytes (RFC 8878, 3.1.1).
fn windowed(log: u8) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3][..], &[2 << 3 | 1, 0, 0], b"{}"].concat()
}

#[tokio::test]
async fn bombs_are_refused_and_the_next_request_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let post = |path: &str, form: &str, encoding: &str, body: reqwest::Body| {
        let request = server.post(path).bearer_auth(&writer).header("content-type", form);
        request.header("content-encoding", encoding).body(body)
    };
    let check = async |what: &str, encoding: &str, body: Vec<u8>, status: u16| {
        for (path, form) in [
            ("/v1/logs", "application/json"),
            ("/v1/logs", "application/x-protobuf"),
            ("/_bulk", "application/x-ndjson"),
        ] {
            let answer = post(path, form, encoding, body.clone().into()).send().await.unwrap();
            let found = answer.status().as_u16();
            let text = String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned();
            assert_eq!(found, status, "{what} to {path} as {form}: {text}");
        }
    };
    let zeros = vec![0; 200 * MIB];
    let (by_gzip, by_zstd) = (gzip(&zeros), zstd(&zeros));
    assert!(zeros.len() / by_gzip.len() > 1_000 && zeros.len() / by_zstd.len() > 1_000);
    check("gzip 1:1000", "gzip", by_gzip.clone(), 413).await;
    check("many members of gzip", "gzip", gzip(&vec![0; MIB]).repeat(100), 413).await;
    check("zstd 1:1000", "zstd", by_zstd.clone(), 413).await;
    check("many frames of zstd", "zstd", zstd(&vec![0; MIB]).repeat(100), 413).await;
    // The window alone is what is refused.
    let small = post("/v1/logs", "application/json", "zstd", windowed(27).into()).send().await.unwrap();
    assert_eq!(small.status(), 200, "no records, but a message");
    check("a window of 2 GiB", "zstd", windowed(31), 400).await;
    check("a window of 256 MiB", "zstd", windowed(28), 400).await;
    drop(zeros);

    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(&vec![0; 8 * MIB]).unwrap();
    check("deflate", "deflate", deflate.finish().unwrap(), 415).await;
    check("nested, said in one header", "gzip, gzip", gzip(&by_gzip), 415).await;
    check("nested, other order", "zstd,gzip", gzip(&by_zstd), 415).await;
    // Expanded once it is no message, and it is never expanded again.
    check("nested, not said", "gzip", gzip(&by_gzip), 400).await;
    let answer = post("/v1/logs", "application/json", "gzip", gzip(&by_gzip).into());
    let answer = answer.header("content-encoding", "gzip").send().await.unwrap();
    assert_eq!(answer.status(), 415, "nested, said in two headers");

    let brackets = vec![b'['; 100 * MIB];
    check("100 MB of [ by gzip", "gzip", gzip(&brackets), 413).await;
    check("100 MB of [ by zstd", "zstd", zstd(&brackets), 413).await;
    check("half a million of [", "zstd", zstd(&vec![b'['; MIB / 2]), 400).await;
    let nested = format!("{{\"resourceLogs\":{}", "[".repeat(100_000));
    check("nested in a message", "identity", nested.into_bytes(), 400).await;

    assert!(server.scan(&all_of("t")).await.1.is_empty());
    let good = post(
        "/_bulk",
        "application/x-ndjson",
        "gzip",
        gzip(b"{\"create\":{}}\n{\"message\":\"x\"}\n").into(),
    );
    assert_eq!(good.send().await.unwrap().status(), 200);
    assert_eq!(server.scan(&all_of("t")).await.1.len(), 1);
    server.stop().await;
}

/// A gigabyte without a line end, in chunks, of which nobody says how many there are.
#[tokio::test]
async fn one_huge_line_is_cut_off_at_the_bound() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /_bulk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {writer}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sending = async {
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(MIB));
        for sent in 0..1_024 {
            if writing.write_all(chunk.as_bytes()).await.is_err() {
                return sent;
            }
        }
        1_024
    };
    let receiving = async {
        let mut got = Vec::new();
        // The connection may be reset over what was not read, after the answer.
        drop(reading.read_to_end(&mut got).await);
        String::from_utf8_lossy(&got).into_owned()
    };
    let (sent, got) = tokio::join!(sending, receiving);
    assert!(got.starts_with("HTTP/1.1 413"), "{got}");
    assert!(sent < 200, "{sent} MiB were taken off the wire");
    server.stop().await;
}
