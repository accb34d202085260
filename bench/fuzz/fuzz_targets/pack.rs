#![no_main]

#[path = "../../../tests/it/fuzz/surfaces.rs"]
#[allow(dead_code)]
mod surfaces;

libfuzzer_sys::fuzz_target!(|data: &[u8]| surfaces::pack(data));
