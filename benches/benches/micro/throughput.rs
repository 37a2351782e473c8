//! Wall time, shown as two throughputs: criterion's `Elements` stand for bytes of messages, its `Bytes` for bytes of
//! NDJSON. It knows no other pair.

use std::time::{Duration, Instant};

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// Wall time and both throughputs.
pub(crate) struct BothBytes;

impl Measurement for BothBytes {
    type Intermediate = Instant;
    type Value = Duration;

    fn start(&self) -> Instant {
        WallTime.start()
    }

    fn end(&self, begun: Instant) -> Duration {
        WallTime.end(begun)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        WallTime.add(a, b)
    }

    fn zero(&self) -> Duration {
        WallTime.zero()
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Formatter
    }
}

struct Formatter;

impl ValueFormatter for Formatter {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    #[expect(clippy::cast_precision_loss, reason = "figures to be read have few digits")]
    fn scale_throughputs(&self, typical: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let (bytes, unit) = match throughput {
            Throughput::Elements(bytes) => (*bytes, "MB/s of messages"),
            Throughput::Bytes(bytes) => (*bytes, "MB/s of NDJSON"),
            other => return WallTime.formatter().scale_throughputs(typical, other, values),
        };
        // From nanoseconds a sample to millions of bytes a second.
        values.iter_mut().for_each(|nanos| *nanos = bytes as f64 * 1_000.0 / *nanos);
        unit
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
