//! Lays arrays out as a batch in memory, with one copy of each buffer.

use std::ops::Range;

use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use rudf_segment::layout::{BATCH_MAGIC, BUFFER_ALIGNMENT, ColumnDescriptor, header_bytes};

use crate::ColumnError;

/// Arrays on their way into a batch: where each buffer will lie is settled, nothing is copied yet.
pub struct BatchImage<'a> {
    rows: usize,
    columns: usize,
    /// The columns', and behind them their children's.
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
        let length = header_bytes(arrays.iter().map(descriptors).sum());
        let none = vec![ColumnDescriptor::default(); arrays.len()];
        let mut image = Self { rows, columns: arrays.len(), descriptors: none, parts: Vec::new(), length };
        for (index, array) in arrays.iter().enumerate() {
            if array.len() != rows {
                return Err(ColumnError::Rows { column: index, have: array.len(), need: rows });
            }
            image.column(index, array, 0, rows)?;
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

    /// Plans `rows` rows of an array, from `from` on, as the column whose descriptor has the number `index`.
    fn column(&mut self, index: usize, array: &'a ArrayData, from: usize, rows: usize) -> Result<(), ColumnError> {
        let mut column = ColumnDescriptor { rows: rows as u64, ..ColumnDescriptor::default() };
        let nulls = array.nulls().map(|nulls| nulls.slice(from, rows));
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            column.null_count = nulls.null_count() as u64;
            (column.validity, column.validity_length) = self.place(Part::Bits(nulls.inner().sliced()));
        }
        let unsupported = || ColumnError::Type(array.data_type().to_string());
        let first = array.offset() + from;
        let buffer = |index: usize| array.buffers().get(index).map_or(&[][..], |buffer| buffer.as_slice());
        // The part of the bytes, or of the one child, that the rows refer to.
        let mut range = 0..0;
        match array.data_type() {
            DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => {
                let offsets: &[i32] = if rows == 0 { &[0] } else { &array.buffer(0)[from..=from + rows] };
                column.offset_width = 4;
                (column.offsets, column.offsets_length) = self.place(Part::Offsets(offsets));
                range = offsets[0] as usize..offsets[rows] as usize;
            }
            DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => {
                let offsets: &[i64] = if rows == 0 { &[0] } else { &array.buffer(0)[from..=from + rows] };
                column.offset_width = 8;
                (column.offsets, column.offsets_length) = self.place(Part::LargeOffsets(offsets));
                range = offsets[0] as usize..offsets[rows] as usize;
            }
            _ => {}
        }
        match array.data_type() {
            DataType::Null => {}
            DataType::Boolean if rows > 0 => {
                let bits = BooleanBuffer::new(array.buffers()[0].clone(), first, rows).sliced();
                (column.values, column.values_length) = self.place(Part::Bits(bits));
            }
            DataType::Boolean => {}
            DataType::Struct(_) => self.children(&mut column, array, first..first + rows)?,
            DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => {
                self.children(&mut column, array, range)?
            }
            other => {
                let (from, range) = match other.primitive_width() {
                    Some(width) => (0, first * width..(first + rows) * width),
                    None if column.offset_width > 0 => (1, range),
                    None => return Err(unsupported()),
                };
                let bytes = buffer(from).get(range).ok_or_else(unsupported)?;
                (column.values, column.values_length) = self.place(Part::Bytes(bytes));
            }
        }
        self.descriptors[index] = column;
        Ok(())
    }

    /// Plans the same rows of all children of an array.
    fn children(
        &mut self,
        column: &mut ColumnDescriptor,
        array: &'a ArrayData,
        rows: Range<usize>,
    ) -> Result<(), ColumnError> {
        let children = array.child_data();
        let first = self.descriptors.len();
        self.descriptors.resize(first + children.len(), ColumnDescriptor::default());
        if !children.is_empty() {
            (column.children, column.child_count) = (header_bytes(first) as u64, children.len() as u64);
        }
        for (index, child) in children.iter().enumerate() {
            if rows.end > child.len() {
                return Err(ColumnError::Rows { column: index, have: child.len(), need: rows.end });
            }
            self.column(first + index, child, rows.start, rows.len())?;
        }
        Ok(())
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
        let header = [BATCH_MAGIC, self.rows as u64, self.columns as u64, 0];
        for (index, word) in
            header.into_iter().chain(self.descriptors.iter().flat_map(ColumnDescriptor::words)).enumerate()
        {
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

/// Descriptors of an array, those of its children included.
fn descriptors(array: &ArrayData) -> usize {
    1 + array.child_data().iter().map(descriptors).sum::<usize>()
}
