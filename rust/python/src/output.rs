//! Result arrays as the worker interface hands them out: descriptors with absolute addresses.

use std::{ffi::c_void, time::Duration};

use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use rudf_segment::{layout::ColumnDescriptor, worker::OutputBatch};

/// What an output batch owns.
struct Owner {
    descriptors: Vec<ColumnDescriptor>,
    /// The descriptors of children, which those of their parents point to.
    _children: Vec<Vec<ColumnDescriptor>>,
    /// Keeps the buffers that the descriptors point into.
    _arrays: Vec<ArrayData>,
}

/// Hands `arrays`, which took the functions as long as `spent`, over as one output batch, without copying a value.
pub(crate) fn export(arrays: Vec<ArrayData>, spent: Duration) -> OutputBatch {
    let rows = arrays.first().map_or(0, ArrayData::len);
    let arrays: Vec<_> = arrays.into_iter().map(plain).collect();
    // What cannot be told counts as nothing.
    let bytes: usize = arrays.iter().filter_map(|array| array.get_slice_memory_size().ok()).sum();
    let mut children = Vec::new();
    let descriptors: Vec<_> = arrays.iter().map(|array| describe(array, &mut children)).collect();
    let owner = Box::new(Owner { descriptors, _children: children, _arrays: arrays });
    OutputBatch {
        rows: rows as u64,
        column_count: owner.descriptors.len() as u64,
        bytes: bytes as u64,
        nanos: u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX),
        columns: owner.descriptors.as_ptr(),
        owner: Box::into_raw(owner).cast(),
        release: Some(release),
    }
}

/// Gives slices of structs, whose first row is that of their children too, children with first rows of their own, and
/// booleans inside of nested arrays a bitmap of nulls that begins where that of the values does.
pub(crate) fn plain(array: ArrayData) -> ArrayData {
    if array.child_data().is_empty() { array } else { window(&array, 0, array.len()) }
}

/// `length` rows from `from` on. Written out because arrow's own slices of structs within structs slice twice.
fn window(array: &ArrayData, from: usize, length: usize) -> ArrayData {
    let is_struct = matches!(array.data_type(), DataType::Struct(_));
    let first_row = array.offset() + from;
    let children = array.child_data().iter();
    let children =
        children.map(|child| if is_struct { window(child, first_row, length) } else { window(child, 0, child.len()) });
    let mut nulls = array.nulls().map(|nulls| nulls.slice(from, length));
    if let Some(apart) = nulls.take_if(|nulls| *array.data_type() == DataType::Boolean && nulls.offset() != first_row) {
        let bits: BooleanBuffer = std::iter::repeat_n(true, first_row).chain(apart.iter()).collect();
        nulls = Some(NullBuffer::new(bits.slice(first_row, length)));
    }
    let builder = ArrayData::builder(array.data_type().clone())
        .len(length)
        .offset(if is_struct { 0 } else { first_row })
        .nulls(nulls)
        .buffers(array.buffers().to_vec())
        .child_data(children.collect());
    // SAFETY: rows of an array that is well-formed.
    unsafe { builder.build_unchecked() }
}

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: `export` made it, and the host calls this once.
    drop(unsafe { Box::from_raw(owner.cast::<Owner>()) });
}

/// One column. The validity bitmap may begin at another bit than the values do (an array of a slice): then the values'
/// address is moved so that the one `first_row` is right for both. Only booleans, bits themselves, need `Owner` to hold
/// arrays whose two bitmaps begin alike, which `rudf_eval` sees to.
/// The descriptors of its children are put into `kept`, where they stay in their place.
fn describe(array: &ArrayData, kept: &mut Vec<Vec<ColumnDescriptor>>) -> ColumnDescriptor {
    let offset = array.offset();
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let first_row = nulls.map_or(offset, |nulls| nulls.offset());
    let children: Vec<_> = array.child_data().iter().map(|child| describe(child, kept)).collect();
    let shift =
        |bytes_per_row: usize| (offset as u64).wrapping_sub(first_row as u64).wrapping_mul(bytes_per_row as u64);
    let address = |index: usize| array.buffers().get(index).map_or(0, |buffer| buffer.as_ptr() as u64);
    let length = |index: usize| array.buffers().get(index).map_or(0, |buffer| buffer.len() as u64);
    let mut column = ColumnDescriptor {
        null_count: nulls.map_or(0, |nulls| nulls.null_count() as u64),
        first_row: first_row as u64,
        validity: nulls.map_or(0, |nulls| nulls.buffer().as_ptr() as u64),
        validity_length: nulls.map_or(0, |nulls| nulls.buffer().len() as u64),
        children: if children.is_empty() { 0 } else { children.as_ptr() as u64 },
        child_count: children.len() as u64,
        rows: array.len() as u64,
        ..ColumnDescriptor::default()
    };
    kept.push(children);
    let offset_width = offset_width(array.data_type());
    if offset_width == 0 {
        let width = array.data_type().primitive_width().unwrap_or(0);
        column.values = address(0).wrapping_add(shift(width));
        column.values_length = length(0).wrapping_sub(shift(width));
    } else {
        column.offset_width = offset_width as u64;
        column.offsets = address(0).wrapping_add(shift(offset_width));
        column.offsets_length = length(0).wrapping_sub(shift(offset_width));
        column.values = address(1);
        column.values_length = length(1);
    }
    column
}

/// Bytes of one offset; 0 for a type that has none.
pub(crate) fn offset_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => 4,
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => 8,
        _ => 0,
    }
}
