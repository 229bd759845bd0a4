//! Lays arrays out as a batch in memory, with one copy of each buffer.

use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use rudf_segment::layout::{BATCH_MAGIC, BUFFER_ALIGNMENT, ColumnDescriptor, header_bytes};

use crate::ColumnError;

/// Arrays on their way into a batch: where each buffer will lie is settled, nothing is copied yet.
pub struct BatchImage<'a> {
    rows: usize,
    descriptors: Vec<ColumnDescriptor>,
    parts: Vec<(usize, Part<'a>)>,
    length: usize,
}

/// What a buffer is copied from.
enum Part<'a> {
    Bytes(&'a [u8]),
    Bits(Buffer),
    /// Offsets that do not begin with 0: the bytes before the first are left out.
    Offsets(&'a [i32]),
    LargeOffsets(&'a [i64]),
}

impl Part<'_> {
    /// The bytes as they stand.
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Bits(bits) => bits,
            // SAFETY: integers without padding, read as the bytes that they are.
            Self::Offsets(offsets) => unsafe {
                std::slice::from_raw_parts(offsets.as_ptr().cast(), size_of_val(*offsets))
            },
            // SAFETY: as above.
            Self::LargeOffsets(offsets) => unsafe {
                std::slice::from_raw_parts(offsets.as_ptr().cast(), size_of_val(*offsets))
            },
        }
    }
}

impl<'a> BatchImage<'a> {
    /// Plans a batch of `rows` rows; every array has that many.
    ///
    /// # Errors
    /// [`ColumnError::Type`] for arrays of a type that batches do not hold, [`ColumnError::Rows`] where one has another
    /// number of rows.
    pub fn plan(arrays: &'a [ArrayData], rows: usize) -> Result<Self, ColumnError> {
        let length = header_bytes(arrays.len());
        let mut image = Self { rows, descriptors: Vec::with_capacity(arrays.len()), parts: Vec::new(), length };
        for (index, array) in arrays.iter().enumerate() {
            if array.len() != rows {
                return Err(ColumnError::Rows { column: index, have: array.len(), need: rows });
            }
            let descriptor = image.column(array)?;
            image.descriptors.push(descriptor);
        }
        Ok(image)
    }

    /// Bytes that the batch takes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    fn place(&mut self, part: Part<'a>) -> (u64, u64) {
        let position = self.length.next_multiple_of(BUFFER_ALIGNMENT);
        let length = part.bytes().len();
        self.length = position + length;
        self.parts.push((position, part));
        (position as u64, length as u64)
    }

    fn column(&mut self, array: &'a ArrayData) -> Result<ColumnDescriptor, ColumnError> {
        let mut column = ColumnDescriptor::default();
        if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
            column.null_count = nulls.null_count() as u64;
            (column.validity, column.validity_length) = self.place(Part::Bits(nulls.inner().sliced()));
        }
        let unsupported = || ColumnError::Type(array.data_type().to_string());
        let (first, rows) = (array.offset(), array.len());
        let buffer = |index: usize| array.buffers().get(index).map_or(&[][..], |buffer| buffer.as_slice());
        let values = match array.data_type() {
            DataType::Boolean if rows > 0 => {
                Part::Bits(BooleanBuffer::new(array.buffers()[0].clone(), first, rows).sliced())
            }
            DataType::Boolean => Part::Bytes(&[]),
            DataType::Utf8 | DataType::Binary => {
                let offsets: &[i32] = if rows == 0 { &[0] } else { &array.buffer(0)[..=rows] };
                column.offset_width = 4;
                (column.offsets, column.offsets_length) = self.place(Part::Offsets(offsets));
                Part::Bytes(between(buffer(1), offsets[0] as usize, offsets[rows] as usize).ok_or_else(unsupported)?)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                let offsets: &[i64] = if rows == 0 { &[0] } else { &array.buffer(0)[..=rows] };
                column.offset_width = 8;
                (column.offsets, column.offsets_length) = self.place(Part::LargeOffsets(offsets));
                Part::Bytes(between(buffer(1), offsets[0] as usize, offsets[rows] as usize).ok_or_else(unsupported)?)
            }
            other => {
                let width = other.primitive_width().ok_or_else(unsupported)?;
                Part::Bytes(between(buffer(0), first * width, (first + rows) * width).ok_or_else(unsupported)?)
            }
        };
        (column.values, column.values_length) = self.place(values);
        Ok(column)
    }

    /// Copies the batch to `base`.
    ///
    /// # Safety
    /// [`Self::length`] bytes from `base` may be written, and nothing reads or writes them meanwhile.
    pub unsafe fn write(&self, base: *mut u8) {
        let copy = |position: usize, bytes: &[u8]| {
            // SAFETY: `place` counted these bytes into the length that the caller promises.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(position), bytes.len()) };
        };
        let header = [BATCH_MAGIC, self.rows as u64, self.descriptors.len() as u64, 0];
        for (index, word) in header.into_iter().chain(self.descriptors.iter().flat_map(words)).enumerate() {
            copy(8 * index, &word.to_le_bytes());
        }
        for (position, part) in &self.parts {
            match part {
                Part::Offsets(offsets) if offsets[0] != 0 => {
                    for (index, offset) in offsets.iter().enumerate() {
                        copy(*position + 4 * index, &(offset - offsets[0]).to_le_bytes());
                    }
                }
                Part::LargeOffsets(offsets) if offsets[0] != 0 => {
                    for (index, offset) in offsets.iter().enumerate() {
                        copy(*position + 8 * index, &(offset - offsets[0]).to_le_bytes());
                    }
                }
                as_it_stands => copy(*position, as_it_stands.bytes()),
            }
        }
    }
}

fn between(bytes: &[u8], from: usize, to: usize) -> Option<&[u8]> {
    bytes.get(from..to)
}

fn words(c: &ColumnDescriptor) -> [u64; 10] {
    [
        c.null_count,
        c.first_row,
        c.offset_width,
        c.validity,
        c.validity_length,
        c.offsets,
        c.offsets_length,
        c.values,
        c.values_length,
        c.reserved,
    ]
}
