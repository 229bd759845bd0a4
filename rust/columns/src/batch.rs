//! Arrays over a batch that lies in somebody else's memory.

use std::{ptr::NonNull, slice, sync::Arc};

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, alloc::Allocation};
use arrow_data::ArrayData;
use rudf_segment::layout::{BatchView, Column, ColumnDescriptor, Form};

use crate::{ColumnError, SparkType};

/// A batch in memory that stays as it is until the last reference to its owner is dropped.
pub struct BatchMemory {
    base: NonNull<u8>,
    length: usize,
    owner: Arc<dyn Allocation>,
}

impl BatchMemory {
    /// Takes a batch over.
    ///
    /// # Safety
    /// `length` bytes from `base` may be read, and nothing writes to them, until `owner` and all its clones are dropped.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, length: usize, owner: Arc<dyn Allocation>) -> Self {
        Self { base, length, owner }
    }

    /// The first `types.len()` columns as arrays that share the owner, and the number of rows.
    ///
    /// # Errors
    /// A [`ColumnError`] where the batch is not what its header says.
    pub fn arrays(&self, types: &[SparkType], time_zone: &str) -> Result<(usize, Vec<ArrayData>), ColumnError> {
        // SAFETY: the promise of `new`.
        let bytes = unsafe { slice::from_raw_parts(self.base.as_ptr(), self.length) };
        let view = BatchView::parse(bytes)?;
        if view.columns().len() < types.len() {
            return Err(ColumnError::Columns { have: view.columns().len(), need: types.len() });
        }
        let columns = view.columns().iter().zip(types).enumerate();
        let arrays = columns
            .map(|(index, (column, spark_type))| {
                column.check_form(index, &spark_type.form())?;
                self.array(&view, index, column, spark_type, time_zone)
            })
            .collect::<Result<_, _>>()?;
        Ok((view.rows(), arrays))
    }

    /// The array of a column, or of a child of column `index`.
    fn array(
        &self,
        view: &BatchView<'_>,
        index: usize,
        Column { descriptor: column, children }: &Column,
        spark_type: &SparkType,
        time_zone: &str,
    ) -> Result<ArrayData, ColumnError> {
        let rows = column.rows as usize;
        let first_row = column.first_row as usize;
        let form = spark_type.form();
        let types = spark_type.children();
        // A struct's first row is that of its bitmap: its children have first rows of their own.
        let offset = if matches!(form, Form::Struct(_)) { 0 } else { first_row };
        let mut builder = ArrayData::builder(spark_type.arrow(time_zone)).len(rows).offset(offset);
        if column.null_count > 0 && form != Form::None {
            let bits = BooleanBuffer::new(self.buffer(view, column.validity, column.validity_length), first_row, rows);
            builder = builder.nulls(Some(NullBuffer::new(bits)));
        }
        match form {
            Form::None | Form::Struct(_) => {}
            Form::Bits | Form::Fixed(_) => {
                builder = builder.add_buffer(self.buffer(view, column.values, column.values_length));
            }
            Form::Variable | Form::List(_) => {
                let end = children.first().map_or(column.values_length, |child| child.descriptor.rows);
                let offsets = self.buffer(view, column.offsets, column.offsets_length);
                check_offsets(index, &offsets, column, end)?;
                builder = builder.add_buffer(offsets);
                if children.is_empty() {
                    builder = builder.add_buffer(self.buffer(view, column.values, column.values_length));
                }
            }
        }
        for (child, child_type) in children.iter().zip(&types) {
            builder = builder.add_child_data(self.array(view, index, child, child_type, time_zone)?);
        }
        // SAFETY: lengths, offsets and alignment were checked above and in `BatchView::parse`. Strings may hold bytes that
        // are no UTF-8 (Spark allows it): rudf never makes a `&str` of them, and pyarrow decodes, and so checks, each.
        Ok(unsafe { builder.build_unchecked() })
    }

    /// A buffer over the batch's own memory.
    fn buffer(&self, view: &BatchView<'_>, position: u64, length: u64) -> Buffer {
        let bytes = view.buffer(position, length);
        if bytes.is_empty() {
            return Buffer::from_vec(vec![0_i64; 1]).slice_with_length(0, 0);
        }
        // SAFETY: the bytes lie in the batch, which stays for as long as the owner does.
        unsafe { Buffer::from_custom_allocation(NonNull::from(bytes).cast(), bytes.len(), Arc::clone(&self.owner)) }
    }
}

/// Offsets must rise and stay before `end`: otherwise a reader would leave the batch.
fn check_offsets(column: usize, offsets: &Buffer, descriptor: &ColumnDescriptor, end: u64) -> Result<(), ColumnError> {
    let wrong = || ColumnError::Offsets { column, end };
    if descriptor.offset_width != 4 {
        return Err(wrong());
    }
    let (first_row, rows) = (descriptor.first_row as usize, descriptor.rows as usize);
    let offsets: &[i32] = offsets.typed_data();
    let offsets = offsets.get(first_row..=first_row + rows).ok_or_else(wrong)?;
    let rising = offsets.windows(2).fold(true, |rising, pair| rising & (pair[0] <= pair[1]));
    let inside =
        offsets.first().is_some_and(|first| *first >= 0) && offsets.last().is_some_and(|last| *last as u64 <= end);
    if rising && inside { Ok(()) } else { Err(wrong()) }
}
