//! Files in a zip archive, read in part where that is enough.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive, ZipReadOptions};

/// Largest ratio of deflate's compression.
const MAX_INFLATION: u64 = 1032;

pub(super) struct Archive {
    zip: Mutex<ZipArchive<BufReader<File>>>,
    /// Bytes of the whole.
    size: u64,
}

impl Archive {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let zip = Mutex::new(ZipArchive::new(BufReader::new(file))?);
        Ok(Self { zip, size })
    }

    fn zip(&self) -> MutexGuard<'_, ZipArchive<BufReader<File>>> {
        self.zip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the archive.
    pub fn size_of_all(&self) -> u64 {
        self.size
    }

    pub fn names(&self) -> io::Result<Vec<String>> {
        let zip = self.zip();
        let names = zip.file_names().map(|name| Ok(name?.to_string()));
        names.collect()
    }

    /// The bytes of a file, unless the sizes in the archive are impossible.
    pub fn size(&self, name: &str) -> Option<usize> {
        let mut zip = self.zip();
        let index = zip.index_for_name(name)?;
        let file = zip.by_index_raw(index).ok()?;
        let most = match file.compression() {
            CompressionMethod::Stored => self.size,
            _ => self
                .size
                .min(file.compressed_size())
                .saturating_mul(MAX_INFLATION),
        };
        usize::try_from(file.size())
            .ok()
            .filter(|_| file.size() <= most)
    }

    /// So many bytes of a file from `start` on, or as many as there are. If that is all of it, and the archive
    /// has a checksum, it is checked.
    pub fn read(&self, name: &str, start: usize, count: usize) -> io::Result<Vec<u8>> {
        let mut zip = self.zip();
        let Some(index) = zip.index_for_name(name) else {
            let message = format!("there is no {name} in the archive");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        // PyTorch can leave checksums out, and writes zero then.
        let unchecked = zip.by_index_raw(index)?.crc32() == 0;
        let options = ZipReadOptions::new().ignore_crc32(unchecked);
        let mut file: ZipFile<'_, _> = zip.by_index_with_options(index, options)?;
        io::copy(&mut (&mut file).take(start as u64), &mut io::sink())?;
        let mut bytes = Vec::with_capacity(count.min(usize::try_from(self.size).unwrap_or(count)));
        let got = (&mut file).take(count as u64).read_to_end(&mut bytes)?;
        if got == count {
            file.read_exact(&mut [0])
                .or_else(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => Ok(()),
                    _ => Err(error),
                })?;
        }
        Ok(bytes)
    }

    /// All of a file that has at most so many bytes.
    pub fn read_all(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(name, 0, most)?;
        match self.size(name) {
            Some(size) if size <= most => Ok(bytes),
            _ => {
                let message = format!("{name} has more than {most} bytes");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }
}
