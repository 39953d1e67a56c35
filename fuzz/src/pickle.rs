//! Pickles: as a file (`torch.save` of old, arrays of NumPy), and as that of an archive of `torch.save` with storages of
//! 64 bytes.
#![no_main]

use lstm_core::convert::Weights;
use std::io::{Cursor, Write};
use zip::write::{SimpleFileOptions, ZipWriter};

/// An archive as `torch.save` writes it, around a pickle.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut entry = |name: &str, bytes: &[u8]| {
        archive.start_file(format!("archive/{name}"), stored).expect("a new entry");
        archive.write_all(bytes).expect("memory");
    };
    entry("data.pkl", pickle);
    entry("byteorder", b"little");
    for storage in 0..8 {
        entry(&format!("data/{storage}"), &[0x3c; 64]);
    }
    entry("version", b"3\n");
    archive.finish().expect("memory").into_inner()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::read(bytes, |path| Weights::read_pytorch(path));
    fuzz::read(&archive(bytes), |path| Weights::read_pytorch(path));
});
