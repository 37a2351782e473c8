//! Lines of what runs beside Airflow: the nodes and the services around it.

use heliograph_model::level::Level;

use super::rng::Rng;
use super::said::Said;
use super::trace;
use super::user_code::user;
use super::words::{ACTIONS, DOMAINS, RHYTHMS, THINGS};

/// The ssh daemon of a node.
pub(crate) fn sshd(rng: &mut Rng) -> Said {
    let (address, port, user) = (rng.host_address(), rng.range(1_024, 65_535), user(rng));
    match rng.below(10) {
        0..3 => Said::plain(
            Some(Level::Info),
            format!(
                "Accepted publickey for {user} from {address} port {port} ssh2: ED25519 SHA256:{}",
                rng.hex(32)
            ),
        ),
        3..5 => Said::plain(
            Some(Level::Warning),
            format!("Failed password for invalid user {user} from {address} port {port} ssh2"),
        ),
        5..7 => Said::plain(
            Some(Level::Info),
            format!("Received disconnect from {address} port {port}:11: disconnected by user"),
        ),
        7..9 => Said::plain(
            Some(Level::Info),
            format!(
                "pam_unix(sshd:session): session opened for user {user}(uid={}) by (uid=0)",
                rng.range(1_000, 3_000)
            ),
        ),
        _ => Said::plain(
            Some(Level::Error),
            format!("error: kex_exchange_identification: {address} connection reset by peer"),
        ),
    }
}

/// A node's kubelet.
pub(crate) fn kubelet(rng: &mut Rng) -> Said {
    let pod = format!("{}-{}-{}-{}", rng.word(DOMAINS), rng.word(THINGS), rng.hex(9), rng.hex(5));
    let uid = rng.uuid();
    match rng.below(10) {
        0..4 => Said::plain(
            Some(Level::Info),
            format!("\"SyncLoop (PLEG): event for pod\" pod=\"batch/{pod}\" event={{\"ID\":\"{uid}\",\"Type\":\"ContainerStarted\",\"Data\":\"{}{}\"}}", rng.hex(32), rng.hex(32)),
        ),
        4..7 => Said::plain(
            Some(Level::Info),
            format!("\"MountVolume.SetUp succeeded for volume \\\"{}\\\" (UniqueName: \\\"kubernetes.io/projected/{uid}-kube-api-access\\\") pod \\\"{pod}\\\"\"", rng.word(THINGS)),
        ),
        7..9 => Said::plain(
            Some(Level::Warning),
            format!("\"Probe failed\" probeType=\"Readiness\" pod=\"batch/{pod}\" podUID=\"{uid}\" probeResult=\"failure\" output=\"HTTP probe failed with statuscode: 503\""),
        ),
        _ => Said::plain(
            Some(Level::Error),
            format!("\"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"{}\\\" with CrashLoopBackOff: \\\"back-off 5m0s restarting failed container\\\"\" pod=\"batch/{pod}\"", rng.word(ACTIONS)),
        ),
    }
    .on_stderr()
}

/// The ingress: access log, now and then an error.
pub(crate) fn nginx(now: i64, rng: &mut Rng) -> Said {
    const AGENTS: &[&str] = &[
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
        "python-requests/2.32.3",
        "curl/8.5.0",
        "kube-probe/1.33",
    ];
    let time = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default();
    let address = rng.host_address();
    if rng.one_in(40) {
        return Said::plain(
            Some(Level::Error),
            format!(
                "{}#{}: *{} recv() failed (104: connection reset by peer) while reading response header from upstream, client: {address}",
                rng.range(20, 99),
                rng.range(20, 99),
                rng.below(90_000_000)
            ),
        )
        .on_stderr();
    }
    let status = [200, 200, 200, 201, 204, 302, 304, 401, 404, 499, 502].get(rng.skewed_index(11)).copied();
    let agent = AGENTS.get(rng.skewed_index(AGENTS.len())).copied().unwrap_or_default();
    let upstream = rng.host_address();
    Said::plain(
        None,
        format!(
            "{address} - - [{}] \"{} /{}/{}/{} HTTP/2.0\" {} {} \"-\" \"{agent}\" {} 0.{:03} [default-{}-8080] {upstream}:8080 {}",
            time.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            if rng.one_in(5) { "POST" } else { "GET" },
            rng.word(DOMAINS),
            rng.word(THINGS),
            rng.skewed(2_000_000),
            status.unwrap_or(200),
            rng.skewed(200_000),
            rng.range(200, 2_000),
            rng.below(1_000),
            rng.word(DOMAINS),
            rng.hex(32)
        ),
    )
}

/// The metadata database.
pub(crate) fn postgres(rng: &mut Rng) -> Said {
    let pid = rng.range(80, 32_000);
    match rng.below(10) {
        0..4 => Said::plain(
            Some(Level::Info),
            format!(
                "[{pid}] LOG:  duration: {}.{:03} ms  statement: SELECT {}_id, updated_at FROM {}_{} WHERE state = '{}' LIMIT {}",
                rng.range(200, 9_000),
                rng.below(1_000),
                rng.word(THINGS),
                rng.word(DOMAINS),
                rng.word(THINGS),
                rng.word(RHYTHMS),
                rng.skewed(5_000)
            ),
        ),
        4..7 => Said::plain(
            Some(Level::Info),
            format!("[{pid}] LOG:  checkpoint complete: wrote {} buffers ({}.{}%); write={}.{:03} s, sync=0.{:03} s", rng.skewed(16_000), rng.below(99), rng.below(10), rng.skewed(270), rng.below(1_000), rng.below(1_000)),
        ),
        7..9 => Said::plain(
            Some(Level::Info),
            format!("[{pid}] LOG:  connection authorized: user={} database=airflow application_name={}", user(rng), rng.word(DOMAINS)),
        ),
        _ => Said::plain(
            Some(Level::Error),
            format!("[{pid}] ERROR:  duplicate key value violates unique constraint \"{}_{}_key\" DETAIL: Key (id)=({}) already exists.", rng.word(THINGS), rng.word(DOMAINS), rng.uuid()),
        ),
    }
    .on_stderr()
}

/// A data node of HDFS.
pub(crate) fn hdfs(rng: &mut Rng) -> Said {
    let block = format!("blk_{}_{}", 1_073_741_825 + rng.below(40_000_000), 1_001 + rng.below(900_000));
    let (from, to) = (rng.host_address(), rng.host_address());
    let message = match rng.below(4) {
        0 => format!(
            "Receiving BP-{}-{from}:{block} src: /{from}:{} dest: /{to}:9866",
            rng.below(2_000_000_000),
            rng.range(32_000, 61_000)
        ),
        1 => format!("PacketResponder: {block}, type=HAS_DOWNSTREAM_IN_PIPELINE terminating"),
        2 => format!(
            "src: /{from}:{}, dest: /{to}:9866, bytes: {}, op: HDFS_WRITE, cliID: DFSClient_NONMAPREDUCE_{}_1, offset: 0, blockid: {block}, duration(ns): {}",
            rng.range(32_000, 61_000),
            rng.skewed(134_217_728),
            rng.below(2_000_000_000),
            rng.below(900_000_000)
        ),
        _ => format!(
            "Scheduled {block} file /data/hdfs/current/finalized/subdir{}/subdir{}/{block} for deletion",
            rng.below(32),
            rng.below(32)
        ),
    };
    Said::plain(Some(Level::Info), message)
}

/// The Hive metastore, a Java program: sometimes with a stack trace.
pub(crate) fn metastore(rng: &mut Rng) -> Said {
    if rng.one_in(12) {
        return Said::plain(Some(Level::Error), trace::java(rng));
    }
    Said::plain(
        Some(Level::Info),
        format!(
            "[pool-{}-thread-{}] metastore.HiveMetaStore: {}: source:{} get_table : tbl=hive.{}.{}_{}",
            rng.below(9),
            rng.below(200),
            rng.skewed(200),
            rng.host_address(),
            rng.word(DOMAINS),
            rng.word(ACTIONS),
            rng.word(THINGS)
        ),
    )
}
