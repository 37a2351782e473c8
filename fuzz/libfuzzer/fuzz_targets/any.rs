//! One target under libFuzzer: that which `HELIOGRAPH_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use heliograph_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("HELIOGRAPH_FUZZ_TARGET").expect("HELIOGRAPH_FUZZ_TARGET names the target");
    heliograph_fuzz::target(&name).expect("HELIOGRAPH_FUZZ_TARGET names no target")
});

fuzz_target!(|bytes: &[u8]| TARGET.1(bytes));
