//! HDF5's float types, by their bit layout.

use burn::tensor::DType;

/// Sizes and places in the order of HDF5's datatype message: size in bytes, place of the sign, place and size of the
/// exponent and of the mantissa, bias of the exponent.
const KNOWN: [([u32; 7], DType); 4] = [
    ([2, 15, 10, 5, 0, 10, 15], DType::F16),
    ([2, 15, 7, 8, 0, 7, 127], DType::BF16),
    ([4, 31, 23, 8, 0, 23, 127], DType::F32),
    ([8, 63, 52, 11, 0, 52, 1023], DType::F64),
];

/// The type that a datatype message of the class "floating-point" describes, or what it describes in words.
pub(super) fn float(message: &[u8]) -> Result<DType, String> {
    let byte = |k: usize| message.get(k).copied().map(u32::from);
    let number = |at: usize, bytes: usize| {
        (at..at + bytes)
            .rev()
            .try_fold(0, |number, k| Some(number << 8 | byte(k)?))
    };
    let layout = || {
        let layout = [
            number(4, 4)?,
            byte(2)?,
            byte(12)?,
            byte(13)?,
            byte(14)?,
            byte(15)?,
            number(16, 4)?,
        ];
        Some((layout, byte(1)?, number(8, 2)?, number(10, 2)?))
    };
    let Some((layout, flags, offset, precision)) = layout() else {
        return Err("a float type that is cut off".to_string());
    };
    let [size, _, _, exponent, _, mantissa, bias] = layout;
    // Bits 4 and 5: 2 is a mantissa whose first bit is 1 and not stored.
    let plain = (flags >> 4) & 3 == 2 && offset == 0 && Some(precision) == size.checked_mul(8);
    let known = KNOWN.iter().find(|(known, _)| *known == layout);
    match known {
        _ if flags & 0x40 != 0 => Err(format!("a VAX float of {size} bytes")),
        Some((_, dtype)) if plain => Ok(*dtype),
        _ => Err(format!(
            "a float of {size} bytes with {exponent} bits of exponent (bias {bias}) and {mantissa} of mantissa"
        )),
    }
}
