//! What reads bytes that come from outside, each as a plain function of bytes.
//!
//! A target must come back, whatever it is given: no panic, no endless work, no memory beyond its bounds. Where there is
//! something to compare it holds what it reads against a second way to it. `tests/corpus.rs` runs all targets over
//! `corpus/` and over changed copies of it; `scripts/fuzz TARGET` runs one under libFuzzer.

mod at_rest;
mod text;
mod wire;

/// A target's name, which is also that of its folder in `corpus/`, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("airflow_line", text::airflow_line),
    ("authorization", wire::authorization),
    ("bulk", wire::bulk),
    ("checkpoint", at_rest::checkpoint),
    ("codec", wire::codec),
    ("continuation", text::continuation),
    ("cookie", wire::cookie),
    ("cursor", wire::cursor),
    ("decompress", wire::decompress),
    ("feed_frame", wire::feed_frame),
    ("filter_json", text::filter_json),
    ("frame_cri", text::frame_cri),
    ("frame_plain", text::frame_plain),
    ("log_id", text::log_id),
    ("otlp_json", wire::otlp_json),
    ("otlp_protobuf", wire::otlp_protobuf),
    ("parameters", wire::parameters),
    ("path", text::path),
    ("query", text::query),
    ("segment", at_rest::segment),
    ("spool_entry", at_rest::spool_entry),
    ("tail_message", wire::tail_message),
    ("time", text::time),
    ("write_ahead", at_rest::write_ahead),
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|(known, _)| *known == name)
}
