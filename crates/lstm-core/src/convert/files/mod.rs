//! Files of weights, each format in a file and a cargo feature of its own. A file's format is recognised by its content.

#[cfg(feature = "pytorch")]
mod archive;
#[cfg(feature = "pytorch")]
mod frozen;
#[cfg(any(feature = "safetensors", feature = "pytorch"))]
mod index;
#[cfg(feature = "keras")]
mod keras;
#[cfg(feature = "pytorch")]
mod numpy;
#[cfg(feature = "onnx")]
pub(super) mod onnx;
#[cfg(feature = "pytorch")]
mod pickle;
#[cfg(feature = "pytorch")]
mod pytorch;
#[cfg(feature = "safetensors")]
mod safetensors;
#[cfg(feature = "pytorch")]
mod strided;

use super::{WeightError, Weights};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Safetensors,
    /// The index of several files of safetensors or of PyTorch.
    Index,
    /// What `torch.save` writes, in any of its formats.
    PyTorch(Container),
    TorchScript,
    /// A pickle that is not `torch.save`'s.
    Pickle,
    Npy,
    Npz,
    /// A `.keras` archive.
    KerasArchive,
    /// The index of several `.weights.h5` files.
    KerasIndex,
    Hdf5,
    Onnx,
    /// A zip archive of something else, or one that nothing here opens.
    Zip,
    /// Something else: what it is and what to do.
    Other(&'static str, &'static str),
}

/// The formats of `torch.save`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// Since 1.6.
    Zip,
    /// Pickles, and the storages after them.
    Legacy,
    /// Before 0.1.10.
    Tar,
}

impl Kind {
    /// What it is, the feature that reads it, and what to do if there is none.
    fn about(self) -> (&'static str, Option<&'static str>, &'static str) {
        let read = |what, feature| (what, Some(feature), "`Weights::read` reads it");
        match self {
            Self::Safetensors => read("a safetensors file", "safetensors"),
            Self::Index => read("an index of weight files", "safetensors"),
            Self::PyTorch(_) => read("a file of `torch.save`", "pytorch"),
            Self::TorchScript => read("a TorchScript archive", "pytorch"),
            Self::Pickle => read("a pickle", "pytorch"),
            Self::Npy => read("a NumPy array", "pytorch"),
            Self::Npz => read("an archive of NumPy arrays", "pytorch"),
            Self::KerasArchive => read("a Keras 3 archive", "keras"),
            Self::KerasIndex => read("an index of Keras' weight files", "keras"),
            Self::Hdf5 => read("an HDF5 file", "keras"),
            Self::Onnx => read("an ONNX model", "onnx"),
            Self::Zip => (
                "a zip archive",
                None,
                "it is neither PyTorch's, Keras' nor NumPy's, or cut off: unpack it, or get it again",
            ),
            Self::Other(what, advice) => (what, None, advice),
        }
    }

    /// What to say where something else is expected.
    fn refusal(self) -> String {
        let (what, _, advice) = self.about();
        format!("it is {what}: {advice}")
    }
}

const MADE_OF: &str = "take the PyTorch, Keras or ONNX model that it was made of";

const CORE_ML: Kind = Kind::Other("a Core ML model", MADE_OF);
const OPENVINO: Kind = Kind::Other("an OpenVINO model", MADE_OF);

const SAVED_MODEL: Kind = Kind::Other(
    "a TensorFlow SavedModel",
    "load it with `tf.keras` and save the model as .keras or .weights.h5",
);
const TENSORFLOW: Kind = Kind::Other(
    "a TensorFlow checkpoint",
    "load it in TensorFlow and save the Keras model as .keras or .weights.h5",
);
const TENSORFLOW_JS: Kind = Kind::Other(
    "a TensorFlow.js model",
    "convert its model.json with `tensorflowjs_converter --input_format tfjs_layers_model --output_format keras`",
);
const DISTRIBUTED: Kind = Kind::Other(
    "a checkpoint of `torch.distributed.checkpoint`",
    "make one file of its folder with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE`",
);
const ONNX_TEXT: Kind = Kind::Other(
    "an ONNX model as text",
    "parse it with Python's `onnx` and save it with `onnx.save`",
);

/// As much of a file's start as is needed to recognise it.
const START: u64 = 4096;

/// The file's kind, if it is recognised, or that of a file beside it which describes it.
pub(super) fn kind(path: &Path) -> io::Result<Option<Kind>> {
    let own = kind_of_content(path)?;
    let others = ["xml", "index"].map(|extension| path.with_extension(extension));
    let mut others = others
        .into_iter()
        .chain([path.with_file_name("model.json")]);
    let described = || {
        others.find_map(|other| {
            let kind = kind_of_content(&other).ok()??;
            [OPENVINO, TENSORFLOW, TENSORFLOW_JS]
                .contains(&kind)
                .then_some(kind)
        })
    };
    Ok(own.or_else(described))
}

fn kind_of_content(path: &Path) -> io::Result<Option<Kind>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut start = vec![];
    file.by_ref().take(START).read_to_end(&mut start)?;
    let at = |at: usize, magic: &[u8]| start.get(at..at + magic.len()) == Some(magic);
    let header = start.first_chunk().map(|size| u64::from_le_bytes(*size));
    // A header's length may begin like a pickle.
    let safetensors = at(8, b"{") && header.is_some_and(|header| header <= size - 8);
    let other = |what, advice| Some(Kind::Other(what, advice));
    Ok(match start[..] {
        _ if safetensors => Some(Kind::Safetensors),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(zip_kind(path)),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Kind::Npy),
        _ if at(257, b"ustar") => Some(tar_kind(&start)),
        _ if is_legacy(&start) => Some(Kind::PyTorch(Container::Legacy)),
        [0x80, 2..=5, ..] => match has(&start, b"torch.distributed.checkpoint.metadata") {
            true => Some(DISTRIBUTED),
            false => Some(Kind::Pickle),
        },
        _ if is_text_pickle(&start) => Some(Kind::Pickle),
        // A user block of any power of two may be before it.
        _ if [0, 512, 1024, 2048]
            .iter()
            .any(|begin| at(*begin, b"\x89HDF\r\n\x1a\n")) =>
        {
            Some(Kind::Hdf5)
        }
        // The version of the format, then a message where ONNX has a producer's name: a graph, or a description of inputs
        // by their names.
        [0x08, version, ref rest @ ..]
            if let Some(first) = field(rest, 0x12).and_then(|message| field(message, 0x0a)) =>
        {
            match version == 1 && first.first() != Some(&0x0a) {
                true => Some(SAVED_MODEL),
                false => Some(CORE_ML),
            }
        }
        _ if is_graph(&start) => other("a graph of TensorFlow", MADE_OF),
        // The version of the format, then fields of a model.
        [
            0x08,
            1..=0x1f,
            0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42,
            ..,
        ] => Some(Kind::Onnx),
        [0x1f, 0x8b, ..] => other("compressed with gzip", "unpack it with gunzip"),
        [b'B', b'Z', b'h', ..] => other("compressed with bzip2", "unpack it with bunzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => other("compressed with xz", "unpack it with unxz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => other("compressed with zstd", "unpack it with unzstd"),
        _ if at(0, b"NRUB") => other("a burnpack", "load its model with burn-store"),
        _ if at(0, b"version https://git-lfs") => other(
            "a pointer of Git LFS",
            "get the file itself with `git lfs pull`",
        ),
        _ if at(4, b"TFL3") => other("a TensorFlow Lite model", MADE_OF),
        _ if at(4, b"ORTM") => other("a model in ONNX Runtime's own format", MADE_OF),
        _ if at(4, b"ET12") => other("an ExecuTorch program", MADE_OF),
        _ if at(4, b"PTMF") => other("a PyTorch Mobile model", MADE_OF),
        _ if at(0, b"GGUF") => other("a GGUF model", MADE_OF),
        // The magic number of a table of keys.
        _ if ends_with(&mut file, 0xdb47_7524_8b80_fb57)? => Some(TENSORFLOW),
        _ => text_kind(path, &start)?,
    })
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|part| part == word)
}

/// Whether a file's last eight bytes are a number.
fn ends_with(file: &mut File, magic: u64) -> io::Result<bool> {
    let mut end = [0; 8];
    let read = file.seek(SeekFrom::End(-8));
    Ok(read.is_ok() && file.read(&mut end)? == 8 && u64::from_le_bytes(end) == magic)
}

/// What the first field of a message of protobuf begins with, if it is of this tag and has a length.
fn field(message: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, rest) = message.split_first()?;
    let length = rest.iter().position(|byte| *byte < 0x80)?;
    rest.get(length + 1..).filter(|_| *first == tag)
}

/// Whether this is a message of nodes that begin with a name and an operator.
fn is_graph(start: &[u8]) -> bool {
    match field(start, 0x0a) {
        Some([0x0a, length, rest @ ..]) => rest.get(usize::from(*length)) == Some(&0x12),
        _ => false,
    }
}

/// What a tar archive is, by the names in it, whose headers are at multiples of 512.
fn tar_kind(start: &[u8]) -> Kind {
    let name = |header: &[u8]| {
        let name = header.split(|byte| *byte == 0).next().unwrap_or_default();
        [b"sys_info", &b"pickle"[..]].contains(&name.strip_prefix(b"./").unwrap_or(name))
    };
    match start.chunks(512).any(name) {
        true => Kind::PyTorch(Container::Tar),
        false => Kind::Other(
            "a tar archive",
            "unpack it with `tar -xf` and give the file of weights in it",
        ),
    }
}

/// Whether this may be a pickle of protocol 0 or 1, which have no magic number: a mark and what may follow it, an empty
/// collection that is memoised, or a class by its module.
fn is_text_pickle(start: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
    match start {
        [b'(', next, ..] => b"dlctiIKSUVX](}".contains(next),
        [b'}' | b']', b'q' | b'.', ..] => true,
        [b'c', rest @ ..] => {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            line.len() < rest.len().min(200) && !line.is_empty() && line.iter().all(word)
        }
        _ => false,
    }
}

/// The magic number that a file of PyTorch before 1.6 begins with, in the encodings of all pickle protocols.
fn is_legacy(start: &[u8]) -> bool {
    const BINARY: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    const TEXT: &[u8] = b"119547037146038801333356";
    let start = &start[..start.len().min(64)];
    let mut binary = start.windows(BINARY.len());
    binary.any(|bytes| bytes == BINARY) || start.windows(TEXT.len()).any(|bytes| bytes == TEXT)
}

/// Largest index that is read.
const MAX_INDEX: u64 = 64 << 20;

/// What a text file is.
fn text_kind(path: &Path, start: &[u8]) -> io::Result<Option<Kind>> {
    let start = start.trim_ascii_start();
    if !start.starts_with(b"{") {
        return Ok(match start {
            [b'<' | b'i', ..] if has(start, b"ir_version:") => Some(ONNX_TEXT),
            _ if start.starts_with(b"model_checkpoint_path:") => Some(TENSORFLOW),
            [b'<', ..] if has(start, b"<net ") => Some(OPENVINO),
            [b'<', ..] => {
                let what = "a page of the web, or XML";
                Some(Kind::Other(what, "download the file itself"))
            }
            _ => None,
        });
    }
    let mut text = vec![];
    File::open(path)?.take(MAX_INDEX).read_to_end(&mut text)?;
    let has = |word: &[u8]| has(&text, word);
    Ok(match has(b"\"weight_map\"") {
        true if has(b".weights.h5\"") => Some(Kind::KerasIndex),
        true => Some(Kind::Index),
        _ if has(b"\"weightsManifest\"") => Some(TENSORFLOW_JS),
        _ if has(b"\"irVersion\"") || has(b"\"ir_version\"") => Some(ONNX_TEXT),
        _ if has(b"\"itemInfoEntries\"") => Some(CORE_ML),
        _ if has(b"\"class_name\"") && has(b"\"config\"") => Some(Kind::Other(
            "the configuration of a Keras model",
            "give the file of its weights",
        )),
        _ => Some(Kind::Other(
            "JSON",
            "it is no index of weight files: give the file of the weights",
        )),
    })
}

/// What a zip archive is, by the names in it.
#[cfg(any(feature = "pytorch", feature = "keras"))]
fn zip_kind(path: &Path) -> Kind {
    let names = || -> zip::result::ZipResult<(u64, Vec<String>)> {
        let archive = zip::ZipArchive::new(io::BufReader::new(File::open(path)?))?;
        let names = archive.file_names().collect::<Result<Vec<_>, _>>()?;
        let names = names.into_iter().map(|name| name.to_string()).collect();
        Ok((archive.offset(), names))
    };
    let (before, names) = names().unwrap_or_default();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let root = |end| {
        names
            .iter()
            .filter_map(|name| name.strip_suffix(end))
            .next()
    };
    let script = |root: &str| {
        let code = format!("{root}code/");
        has(&format!("{root}constants.pkl")) || names.iter().any(|name| name.starts_with(&code))
    };
    match root("data.pkl").or_else(|| root("model.json")) {
        // An archive for each tensor, one after another.
        Some(_) if before > 0 => DISTRIBUTED,
        Some(root) if script(root) => Kind::TorchScript,
        _ if root("data.pkl").is_some() => Kind::PyTorch(Container::Zip),
        _ if root("model.weights.h5").is_some() => Kind::KerasArchive,
        _ if has("config.json") && has("metadata.json") => Kind::KerasArchive,
        _ if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) => Kind::Npz,
        _ if root(".data/extern_modules").is_some() => Kind::Other(
            "an archive of `torch.package`",
            "load it there and save the model's `state_dict()`",
        ),
        _ if root("archive_format")
            .or_else(|| root("serialized_state_dict.pt"))
            .is_some() =>
        {
            Kind::Other(
                "a program of `torch.export`",
                "save the module's `state_dict()`",
            )
        }
        _ => Kind::Zip,
    }
}

#[cfg(not(any(feature = "pytorch", feature = "keras")))]
fn zip_kind(_: &Path) -> Kind {
    Kind::Other(
        "a zip archive",
        "the features `pytorch` and `keras` of lstm-core read PyTorch's, NumPy's and Keras'",
    )
}

impl Weights {
    /// Reads a file of any format whose feature is on; the format is recognised by content, not by name.
    ///
    /// | file | feature |
    /// | --- | --- |
    /// | safetensors | `safetensors` |
    /// | the index of several files of safetensors or of PyTorch | that of the files |
    /// | `torch.save` of any version, TorchScript, pickles of NumPy arrays, `.npy`, `.npz` | `pytorch` |
    /// | Keras' `.keras`, zipped or as a folder, `.h5` and `.hdf5` of Keras 1 to 3, `.weights.json` | `keras` |
    /// | ONNX models, with files beside them | `onnx` |
    ///
    /// Nothing in a pickle is run.
    ///
    /// # Errors
    ///
    /// If the file can't be read, is corrupt, or is of another kind; the error says which and what to do.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, WeightError> {
        let path = path.as_ref();
        #[cfg(feature = "keras")]
        if path.join("model.weights.h5").is_file() {
            return Self::read_keras(path);
        }
        check_file(path)?;
        let unknown = "nothing in it is known: is it a file of weights, and whole?";
        let kind = kind(path).map_err(|error| io_error(path, error))?;
        match kind.ok_or_else(|| format_error(path, FORMAT, unknown))? {
            #[cfg(feature = "safetensors")]
            Kind::Safetensors => Self::read_safetensors(path),
            #[cfg(any(feature = "safetensors", feature = "pytorch"))]
            Kind::Index => Self::read_shards(path),
            #[cfg(feature = "pytorch")]
            Kind::PyTorch(_) | Kind::TorchScript | Kind::Pickle => Self::read_pytorch(path),
            #[cfg(feature = "pytorch")]
            Kind::Npy | Kind::Npz => Self::read_numpy(path),
            #[cfg(feature = "keras")]
            Kind::Hdf5 | Kind::KerasArchive | Kind::KerasIndex => Self::read_keras(path),
            #[cfg(feature = "onnx")]
            Kind::Onnx => Self::read_onnx(path),
            kind => {
                let (what, feature, advice) = kind.about();
                let advice = match feature {
                    Some(feature) => format!("the feature `{feature}` of lstm-core reads it"),
                    None => advice.to_string(),
                };
                Err(format_error(
                    path,
                    FORMAT,
                    format!("it is {what}: {advice}"),
                ))
            }
        }
    }
}

/// What [`Weights::read`] reads a file as.
const FORMAT: &str = "weight";

/// Fails unless `path` is a regular file, of one of these kinds or of none that is known.
#[cfg(any(
    feature = "safetensors",
    feature = "pytorch",
    feature = "keras",
    feature = "onnx"
))]
fn check_kind(
    path: &Path,
    format: &'static str,
    fits: impl Fn(Kind) -> bool,
) -> Result<(), WeightError> {
    check_file(path)?;
    let kind = kind(path).map_err(|error| io_error(path, error))?;
    match kind.filter(|kind| !fits(*kind)) {
        Some(kind) => Err(format_error(path, format, kind.refusal())),
        None => Ok(()),
    }
}

fn format_error(path: &Path, format: &'static str, message: impl ToString) -> WeightError {
    WeightError::Format {
        path: path.to_path_buf(),
        format,
        message: message.to_string(),
    }
}

/// Fails unless `path` is a file whose end can be reached: a device or a pipe may have none.
fn check_file(path: &Path) -> Result<(), WeightError> {
    let error = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(metadata) if metadata.is_dir() => io::Error::other(folder(path)),
        Ok(_) => io::Error::other("not a regular file"),
        Err(error) => error,
    };
    Err(io_error(path, error))
}

/// What a folder is, by the files in it, and what to do.
fn folder(path: &Path) -> String {
    let mut names = [".metadata", "saved_model.pb", "Manifest.json", "checkpoint"].into_iter();
    let kind = names.find_map(|name| kind_of_content(&path.join(name)).ok()?);
    kind.filter(|kind| matches!(kind, Kind::Other(..))).map_or(
        "a folder: give a file in it, such as model.safetensors".to_string(),
        Kind::refusal,
    )
}

fn io_error(path: &Path, source: io::Error) -> WeightError {
    WeightError::Io {
        path: path.to_path_buf(),
        source,
    }
}
