//! Result arrays as the worker interface hands them out: descriptors with absolute addresses.

use std::ffi::c_void;

use arrow_data::ArrayData;
use arrow_schema::DataType;
use rudf_segment::{layout::ColumnDescriptor, worker::OutputBatch};

/// What an output batch owns.
struct Owner {
    descriptors: Vec<ColumnDescriptor>,
    /// Keeps the buffers that the descriptors point into.
    _arrays: Vec<ArrayData>,
}

/// Hands `arrays` over as one output batch, without copying a value.
pub(crate) fn export(arrays: Vec<ArrayData>) -> OutputBatch {
    let rows = arrays.first().map_or(0, ArrayData::len);
    let descriptors: Vec<_> = arrays.iter().map(describe).collect();
    let owner = Box::new(Owner { descriptors, _arrays: arrays });
    OutputBatch {
        rows: rows as u64,
        column_count: owner.descriptors.len() as u64,
        columns: owner.descriptors.as_ptr(),
        owner: Box::into_raw(owner).cast(),
        release: Some(release),
    }
}

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: `export` made it, and the host calls this once.
    drop(unsafe { Box::from_raw(owner.cast::<Owner>()) });
}

/// One column. The validity bitmap may begin at another bit than the values do (an array of a slice): then the values'
/// address is moved so that the one `first_row` is right for both. Only booleans, bits themselves, need `Owner` to hold
/// arrays whose two bitmaps begin alike, which `rudf_eval` sees to.
fn describe(array: &ArrayData) -> ColumnDescriptor {
    let offset = array.offset();
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let first_row = nulls.map_or(offset, |nulls| nulls.offset());
    let shift =
        |bytes_per_row: usize| (offset as u64).wrapping_sub(first_row as u64).wrapping_mul(bytes_per_row as u64);
    let address = |index: usize| array.buffers().get(index).map_or(0, |buffer| buffer.as_ptr() as u64);
    let length = |index: usize| array.buffers().get(index).map_or(0, |buffer| buffer.len() as u64);
    let mut column = ColumnDescriptor {
        null_count: nulls.map_or(0, |nulls| nulls.null_count() as u64),
        first_row: first_row as u64,
        validity: nulls.map_or(0, |nulls| nulls.buffer().as_ptr() as u64),
        validity_length: nulls.map_or(0, |nulls| nulls.buffer().len() as u64),
        ..ColumnDescriptor::default()
    };
    let offset_width = match array.data_type() {
        DataType::Utf8 | DataType::Binary => 4,
        DataType::LargeUtf8 | DataType::LargeBinary => 8,
        _ => 0,
    };
    if offset_width == 0 {
        let width = array.data_type().primitive_width().unwrap_or(0);
        column.values = address(0).wrapping_add(shift(width));
        column.values_length = length(0);
    } else {
        column.offset_width = offset_width as u64;
        column.offsets = address(0).wrapping_add(shift(offset_width));
        column.offsets_length = length(0);
        column.values = address(1);
        column.values_length = length(1);
    }
    column
}
