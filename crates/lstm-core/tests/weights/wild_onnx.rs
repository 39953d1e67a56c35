//! ONNX models as they are found.

use super::device;
use lstm_core::Lstm;
use lstm_core::convert::Weights;

#[test]
fn silero() {
    for file in [
        "real/silero_vad_onnx/silero_vad.onnx",
        "real/silero_vad_onnx/silero_vad_16k_sequence.onnx",
        "files/lstm.onnx",
    ] {
        let weights = Weights::read(format!("/work/shared/{file}")).unwrap();
        println!("{}", weights.recurrent_layers());
        for layer in weights.recurrent_layers().iter() {
            layer.load::<Lstm>(&weights, &device()).unwrap();
        }
    }
}
