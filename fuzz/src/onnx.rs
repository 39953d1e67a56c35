//! ONNX models.
#![no_main]

use lstm_core::convert::Weights;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::read(bytes, |path| Weights::read_onnx(path)));
