//! How one record batch lies in memory.
//!
//! A batch is one contiguous run of bytes that begins with a header of little-endian 64-bit words:
//!
//! | words | meaning |
//! | --- | --- |
//! | 0 | [`BATCH_MAGIC`] |
//! | 1 | rows |
//! | 2 | columns |
//! | 3 | reserved, 0 |
//! | 4 + 12·i … | [`ColumnDescriptor`] of column i |
//!
//! A column of a nested type has children, whose descriptors lie one behind the other at a position further on:
//!
//! | type | buffers of its own | children |
//! | --- | --- | --- |
//! | array | offsets into the child's rows | its elements |
//! | map | offsets into the child's rows | a struct of key and value, its entries |
//! | struct | none but validity | its fields, each with as many rows |
//! | variant | as a struct | value, metadata |
//! | calendar interval | as a struct | months, days, microseconds |
//! | void | none | none |
//!
//! What is said of "rows" holds for a child's own number of rows, and its offsets count from its own first row.
//!
//! Buffers follow in any order, each aligned to [`BUFFER_ALIGNMENT`]; their content is Arrow's columnar format
//! (<https://arrow.apache.org/docs/format/Columnar.html>): validity bitmap with 1 = valid, bit-packed booleans,
//! strings and binaries as offsets + bytes, decimals in 128 bits. In a batch, positions are relative to its first byte and 0 means
//! "absent"; in the results of an embedded worker they are absolute addresses and 0 means "absent" too.

use std::mem::size_of;

use serde_json::Value;

/// First word of every batch: the bytes `RUDFBAT1`.
pub const BATCH_MAGIC: u64 = u64::from_le_bytes(*b"RUDFBAT1");

/// Alignment in bytes of a batch and of each buffer in it.
pub const BUFFER_ALIGNMENT: usize = 64;

/// Words before the first column descriptor.
pub const HEADER_WORDS: usize = 4;

/// Words of one column descriptor.
pub const DESCRIPTOR_WORDS: usize = size_of::<ColumnDescriptor>() / size_of::<u64>();

/// Where the buffers of one column lie. Lengths are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ColumnDescriptor {
    /// Nulls among the batch's rows; 0 allows an absent validity bitmap.
    pub null_count: u64,
    /// Index of the batch's first row in the buffers (Arrow's array offset).
    pub first_row: u64,
    /// Bytes of one offset: 0 for a fixed-width type, else 4 or 8.
    pub offset_width: u64,
    /// Validity bitmap, one bit a row; 0 where no row is null.
    pub validity: u64,
    pub validity_length: u64,
    /// `first_row + rows + 1` offsets; 0 for a fixed-width type.
    pub offsets: u64,
    pub offsets_length: u64,
    /// Values, or the bytes that the offsets point into; 0 where there are none.
    pub values: u64,
    pub values_length: u64,
    /// The first child's descriptor, aligned to 8 bytes; the others follow it. 0 where there are none.
    pub children: u64,
    pub child_count: u64,
    /// Rows of the column: the batch's, or what a child has of its own.
    pub rows: u64,
}

/// A column whose descriptor, and those of its children, have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub descriptor: ColumnDescriptor,
    pub children: Vec<Column>,
}

/// How deep columns may be nested: more than any type that can be written down.
const MAX_DEPTH: usize = 128;

/// A batch whose header and descriptors have been checked against its length. Offsets *within* a string column are not
/// checked here: they belong to the reader of the column.
#[derive(Clone, Debug)]
pub struct BatchView<'a> {
    bytes: &'a [u8],
    rows: usize,
    columns: Vec<Column>,
}

/// Why bytes were refused as a batch.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    #[error("batch at an address that is not {BUFFER_ALIGNMENT}-byte aligned")]
    Misaligned,
    #[error("batch has {have} bytes and its header needs {need}")]
    Truncated { have: usize, need: usize },
    #[error("batch does not begin with the magic number")]
    Magic,
    #[error("column {column}: {buffer} buffer lies at {position}+{length} in a batch of {have} bytes")]
    OutOfBounds { column: usize, buffer: &'static str, position: u64, length: u64, have: usize },
    #[error("column {column}: {buffer} buffer has {length} bytes and {rows} rows need {need}")]
    TooShort { column: usize, buffer: &'static str, length: u64, rows: u64, need: u64 },
    #[error("column {column}: offset width {width} is not 0, 4 or 8")]
    OffsetWidth { column: usize, width: u64 },
    #[error("batch has {have} columns and should have {need}")]
    Columns { have: usize, need: usize },
    #[error("column {column}: its children, or theirs, do not lie behind it in the batch or are nested too deeply")]
    Children { column: usize },
    #[error("column {column} has {have} rows in a batch of {need}")]
    Rows { column: usize, have: u64, need: u64 },
    #[error("column {column}: it, or a part of it, has {have} children where its type has {need}")]
    ChildCount { column: usize, have: usize, need: usize },
    #[error("column {column}: {nulls} nulls without a validity bitmap, or more nulls than rows")]
    Nulls { column: usize, nulls: u64 },
}

impl<'a> BatchView<'a> {
    /// Checks the header and every descriptor.
    ///
    /// # Errors
    /// A [`LayoutError`] that names the column and the buffer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        if !(bytes.as_ptr() as usize).is_multiple_of(BUFFER_ALIGNMENT) {
            return Err(LayoutError::Misaligned);
        }
        let (rows, columns) = read_header(bytes, bytes.len())?;
        Ok(Self { bytes, rows, columns })
    }

    /// Rows of the batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, without those that are others' children; positions are relative to [`Self::bytes`].
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// All bytes of the batch.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes at `position`, where a descriptor of this view says there are `length`; empty where it is absent.
    #[must_use]
    pub fn buffer(&self, position: u64, length: u64) -> &'a [u8] {
        if position == 0 { &[] } else { &self.bytes[position as usize..(position + length) as usize] }
    }
}

/// Bytes of the header of a batch with that many descriptors, those of children included.
#[must_use]
pub const fn header_bytes(columns: usize) -> usize {
    (HEADER_WORDS + columns * DESCRIPTOR_WORDS) * size_of::<u64>()
}

/// Rows and descriptors of a batch of `have` bytes that begins with `header`.
fn read_header(header: &[u8], have: usize) -> Result<(usize, Vec<Column>), LayoutError> {
    let truncated = |need| LayoutError::Truncated { have, need };
    let word = |index: usize| -> Option<u64> {
        let start = index.checked_mul(8)?;
        Some(u64::from_le_bytes(*header.get(start..)?.first_chunk::<8>()?))
    };
    let (Some(magic), Some(rows), Some(count)) = (word(0), word(1), word(2)) else {
        return Err(truncated(HEADER_WORDS * 8));
    };
    if magic != BATCH_MAGIC {
        return Err(LayoutError::Magic);
    }
    let need = usize::try_from(count)
        .ok()
        .and_then(|n| n.checked_mul(DESCRIPTOR_WORDS * 8)?.checked_add(HEADER_WORDS * 8))
        .unwrap_or(usize::MAX);
    if need > header.len() {
        return Err(truncated(need));
    }
    let rows_usize = usize::try_from(rows).map_err(|_| truncated(usize::MAX))?;
    let mut reader = DescriptorReader { header, have, left: header.len() / (DESCRIPTOR_WORDS * 8) };
    let columns = (0..count as usize)
        .map(|column| {
            let read = reader.column(column, header_bytes(column), 0)?;
            let own = read.descriptor.rows;
            if own == rows { Ok(read) } else { Err(LayoutError::Rows { column, have: own, need: rows }) }
        })
        .collect::<Result<_, _>>()?;
    Ok((rows_usize, columns))
}

/// How the values of a column lie in its buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// No buffers at all: nothing but nulls.
    None,
    /// One bit a row.
    Bits,
    /// That many bytes a row.
    Fixed(usize),
    /// Offsets into bytes.
    Variable,
    /// Offsets into the rows of the one child.
    List(Box<Form>),
    /// Children of as many rows.
    Struct(Vec<Form>),
}

impl Form {
    /// The form of a Spark type, given as in Spark's `DataType.json`; none where batches hold no such columns.
    #[must_use]
    pub fn of(spark_type: &Value) -> Option<Self> {
        let Some(parts) = spark_type.as_object() else { return Self::of_name(spark_type.as_str()?) };
        let form = |part: &str| Self::of(parts.get(part)?);
        match parts.get("type")?.as_str()? {
            "array" => Some(Self::List(Box::new(form("elementType")?))),
            "map" => Some(Self::List(Box::new(Self::Struct(vec![form("keyType")?, form("valueType")?])))),
            "struct" => {
                let fields = parts.get("fields")?.as_array()?;
                fields.iter().map(|field| Self::of(field.get("type")?)).collect::<Option<_>>().map(Self::Struct)
            }
            _ => None,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let (word, rest) = name.split_at(name.find([' ', '(']).unwrap_or(name.len()));
        Some(match word {
            "void" => Self::None,
            "boolean" => Self::Bits,
            "byte" => Self::Fixed(1),
            "short" => Self::Fixed(2),
            "integer" | "float" | "date" => Self::Fixed(4),
            "long" | "double" | "timestamp" | "timestamp_ntz" | "time" => Self::Fixed(8),
            // `interval day to second`, `interval hour`; the others have months.
            "interval" if DAY_TIME_FIELDS.iter().any(|field| rest.ends_with(field)) => Self::Fixed(8),
            "decimal" => Self::Fixed(16),
            // `string collate UNICODE`, `varchar(3)`.
            "string" | "char" | "varchar" | "binary" => Self::Variable,
            _ => return None,
        })
    }

    fn children(&self) -> &[Self] {
        match self {
            Self::List(child) => std::slice::from_ref(child),
            Self::Struct(children) => children,
            _ => &[],
        }
    }

    /// Descriptors of a column of this form, those of its children included.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        1 + self.children().iter().map(Self::descriptors).sum::<usize>()
    }
}

/// Ends of the names of intervals without months.
pub const DAY_TIME_FIELDS: [&str; 4] = [" day", " hour", " minute", " second"];

/// Rows and columns of results that another process wrote, and may still be writing to.
///
/// `header` is a copy of the first bytes of the results, which have `have` bytes in all: [`header_bytes`] of all
/// [`Form::descriptors`]. What is checked here cannot change any more. Buffers lie inside the results and are long enough
/// for the rows. Offsets of strings and arrays are *not* checked: they can change at any time, so their reader checks each.
///
/// # Errors
/// A [`LayoutError`] that names the column and the buffer.
pub fn read_results(header: &[u8], have: usize, forms: &[Form]) -> Result<(usize, Vec<Column>), LayoutError> {
    let (rows, columns) = read_header(header, have)?;
    if columns.len() != forms.len() {
        return Err(LayoutError::Columns { have: columns.len(), need: forms.len() });
    }
    for (index, (column, form)) in columns.iter().zip(forms).enumerate() {
        column.check_form(index, form)?;
    }
    Ok((rows, columns))
}

impl Column {
    /// Checks that the buffers and children of column `index`, or of one of its children, are what its form needs.
    ///
    /// # Errors
    /// A [`LayoutError`] that says what is missing.
    pub fn check_form(&self, index: usize, form: &Form) -> Result<(), LayoutError> {
        self.descriptor.check_form(index, self.descriptor.rows, form)?;
        let (have, need) = (self.children.len(), form.children().len());
        if have != need {
            return Err(LayoutError::ChildCount { column: index, have, need });
        }
        for (child, child_form) in self.children.iter().zip(form.children()) {
            child.check_form(index, child_form)?;
            let (have, need) = (child.descriptor.rows, self.descriptor.rows);
            if matches!(form, Form::Struct(_)) && have != need {
                return Err(LayoutError::Rows { column: index, have, need });
            }
        }
        Ok(())
    }
}

/// Reads the descriptors of a batch and checks each.
struct DescriptorReader<'a> {
    /// The bytes that descriptors lie in.
    header: &'a [u8],
    /// Bytes of the batch, which buffers lie in.
    have: usize,
    /// How many more there can be: children that several columns share would be read again and again.
    left: usize,
}

impl DescriptorReader<'_> {
    /// The descriptor at `position`, with its children. `column` is the batch's column that it belongs to.
    fn column(&mut self, column: usize, position: usize, depth: usize) -> Result<Column, LayoutError> {
        let misplaced = || LayoutError::Children { column };
        self.left = self.left.checked_sub(1).ok_or_else(misplaced)?;
        let descriptor = self.read(position).ok_or_else(misplaced)?;
        descriptor.check(column, descriptor.rows, self.have)?;
        if descriptor.child_count == 0 {
            return Ok(Column { descriptor, children: Vec::new() });
        }
        let first = usize::try_from(descriptor.children).map_err(|_| misplaced())?;
        let count = usize::try_from(descriptor.child_count).map_err(|_| misplaced())?;
        // Descriptors lead only forward, so none can lead back to itself.
        if depth == MAX_DEPTH || first <= position || !first.is_multiple_of(8) || count > self.left {
            return Err(misplaced());
        }
        let place = |child: usize| child.checked_mul(DESCRIPTOR_WORDS * 8)?.checked_add(first);
        let children = (0..count)
            .map(|child| self.column(column, place(child).ok_or_else(misplaced)?, depth + 1))
            .collect::<Result<_, _>>()?;
        Ok(Column { descriptor, children })
    }

    fn read(&self, position: usize) -> Option<ColumnDescriptor> {
        let bytes = self.header.get(position..)?.first_chunk::<{ DESCRIPTOR_WORDS * 8 }>()?;
        let (words, _) = bytes.as_chunks::<8>();
        let at = |field: usize| u64::from_le_bytes(words[field]);
        Some(ColumnDescriptor {
            null_count: at(0),
            first_row: at(1),
            offset_width: at(2),
            validity: at(3),
            validity_length: at(4),
            offsets: at(5),
            offsets_length: at(6),
            values: at(7),
            values_length: at(8),
            children: at(9),
            child_count: at(10),
            rows: at(11),
        })
    }
}

impl ColumnDescriptor {
    /// The words of a descriptor, in their order.
    #[must_use]
    pub fn words(&self) -> [u64; DESCRIPTOR_WORDS] {
        [
            self.null_count,
            self.first_row,
            self.offset_width,
            self.validity,
            self.validity_length,
            self.offsets,
            self.offsets_length,
            self.values,
            self.values_length,
            self.children,
            self.child_count,
            self.rows,
        ]
    }

    fn check_form(&self, column: usize, rows: u64, form: &Form) -> Result<(), LayoutError> {
        // `check` has bounded the sum.
        let end = self.first_row + rows;
        let (width, need) = match form {
            Form::Bits => (0, Some(end.div_ceil(8))),
            Form::Fixed(bytes) => (0, end.checked_mul(*bytes as u64)),
            Form::Variable | Form::List(_) => (self.offset_width.max(4), Some(0)),
            Form::None | Form::Struct(_) => (0, Some(0)),
        };
        if self.offset_width != width {
            return Err(LayoutError::OffsetWidth { column, width: self.offset_width });
        }
        let need = need.unwrap_or(u64::MAX);
        if self.values_length < need {
            return Err(LayoutError::TooShort { column, buffer: "values", length: self.values_length, rows, need });
        }
        Ok(())
    }

    fn check(&self, column: usize, rows: u64, have: usize) -> Result<(), LayoutError> {
        let buffers = [
            ("validity", self.validity, self.validity_length),
            ("offsets", self.offsets, self.offsets_length),
            ("values", self.values, self.values_length),
        ];
        for (buffer, position, length) in buffers {
            let absent = position == 0 && length == 0;
            let inside = position != 0
                && position.checked_add(length).is_some_and(|end| end <= have as u64)
                && position.is_multiple_of(BUFFER_ALIGNMENT as u64);
            if !absent && !inside {
                return Err(LayoutError::OutOfBounds { column, buffer, position, length, have });
            }
        }
        let too_short = |buffer, length, need: Option<u64>| {
            let need = need.unwrap_or(u64::MAX);
            if length < need { Err(LayoutError::TooShort { column, buffer, length, rows, need }) } else { Ok(()) }
        };
        // No buffer is that long, whatever the type: a larger end could wrap in a reader's arithmetic.
        let end = self.first_row.checked_add(rows).filter(|end| *end <= (have as u64).saturating_mul(8));
        if end.is_none() {
            return too_short("values", self.values_length, None);
        }
        if self.null_count > rows || (self.null_count > 0 && self.validity == 0) {
            return Err(LayoutError::Nulls { column, nulls: self.null_count });
        }
        if self.validity != 0 {
            too_short("validity", self.validity_length, end.map(|end| end.div_ceil(8)))?;
        }
        match self.offset_width {
            0 => Ok(()),
            width @ (4 | 8) => {
                let need = end.and_then(|end| end.checked_add(1)?.checked_mul(width));
                too_short("offsets", self.offsets_length, need)
            }
            width => Err(LayoutError::OffsetWidth { column, width }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Aligned([u8; 1024]);

    fn batch(rows: u64, columns: &[ColumnDescriptor]) -> Box<Aligned> {
        let mut batch = Box::new(Aligned([0; 1024]));
        let mut words = vec![BATCH_MAGIC, rows, columns.len() as u64, 0];
        for c in columns {
            words.extend(c.words());
        }
        for (slot, word) in batch.0.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        batch
    }

    fn doubles() -> ColumnDescriptor {
        ColumnDescriptor { values: 512, values_length: 80, rows: 10, ..Default::default() }
    }

    fn plain(descriptor: ColumnDescriptor) -> Column {
        Column { descriptor, children: Vec::new() }
    }

    #[test]
    fn a_well_formed_batch_is_read_in_place() {
        let batch = batch(10, &[doubles()]);
        let view = BatchView::parse(&batch.0).unwrap();
        assert_eq!(view.rows(), 10);
        assert_eq!(view.columns(), [plain(doubles())]);
        assert_eq!(view.buffer(512, 80).as_ptr(), batch.0[512..].as_ptr());
    }

    #[test]
    fn lying_descriptors_are_refused() {
        let cases = [
            ColumnDescriptor { values_length: 1 << 40, ..doubles() },
            ColumnDescriptor { values: u64::MAX - 63, values_length: 128, ..doubles() },
            ColumnDescriptor { values: 1000, values_length: 80, ..doubles() },
            ColumnDescriptor { null_count: 11, validity: 640, validity_length: 2, ..doubles() },
            ColumnDescriptor { null_count: 1, ..doubles() },
            ColumnDescriptor { null_count: 1, validity: 640, validity_length: 1, ..doubles() },
            ColumnDescriptor { offset_width: 3, ..doubles() },
            ColumnDescriptor { first_row: u64::MAX - 7, ..doubles() },
            ColumnDescriptor { first_row: u64::MAX / 8, ..doubles() },
            ColumnDescriptor { offset_width: 4, offsets: 640, offsets_length: 40, ..doubles() },
            ColumnDescriptor { offset_width: 8, first_row: u64::MAX, offsets: 640, offsets_length: 88, ..doubles() },
            ColumnDescriptor { rows: 11, ..doubles() },
            ColumnDescriptor { children: 0, child_count: 1, ..doubles() },
            ColumnDescriptor { children: 32, child_count: 1, ..doubles() },
            ColumnDescriptor { children: 512, child_count: u64::MAX, ..doubles() },
            ColumnDescriptor { children: u64::MAX, child_count: 2, ..doubles() },
            ColumnDescriptor { children: 260, child_count: 1, ..doubles() },
            ColumnDescriptor { children: 1000, child_count: 1, ..doubles() },
        ];
        for case in cases {
            assert!(BatchView::parse(&batch(10, &[case]).0).is_err(), "{case:?}");
        }
    }

    #[test]
    fn results_must_fit_the_types_that_were_declared() {
        let bytes = batch(10, &[doubles()]);
        let read = |form| read_results(&bytes.0[..header_bytes(1)], bytes.0.len(), &[form]);
        assert_eq!(read(Form::Fixed(8)).unwrap(), (10, vec![plain(doubles())]));
        assert_eq!(read(Form::Bits).unwrap().0, 10);
        assert!(matches!(read(Form::Fixed(16)), Err(LayoutError::TooShort { buffer: "values", need: 160, .. })));
        assert_eq!(read(Form::Variable).unwrap_err(), LayoutError::OffsetWidth { column: 0, width: 0 });
        let none = read_results(&bytes.0[..header_bytes(1)], bytes.0.len(), &[]);
        assert_eq!(none.unwrap_err(), LayoutError::Columns { have: 1, need: 0 });
        let strings =
            ColumnDescriptor { offset_width: 4, offsets: 640, offsets_length: 44, rows: 10, ..Default::default() };
        let bytes = batch(10, &[strings]);
        let read = |form| read_results(&bytes.0[..header_bytes(1)], bytes.0.len(), &[form]);
        assert!(read(Form::Variable).is_ok());
        assert_eq!(read(Form::Fixed(8)).unwrap_err(), LayoutError::OffsetWidth { column: 0, width: 4 });
    }

    #[test]
    fn children_are_read_and_checked_like_columns() {
        let place = |bytes: &mut Aligned, position: usize, column: ColumnDescriptor| {
            for (slot, word) in bytes.0[position..].chunks_exact_mut(8).zip(column.words()) {
                slot.copy_from_slice(&word.to_le_bytes());
            }
        };
        let list =
            ColumnDescriptor { offset_width: 4, offsets: 640, offsets_length: 44, rows: 10, ..Default::default() };
        let list = ColumnDescriptor { children: 256, child_count: 1, ..list };
        let mut nested = batch(10, &[list]);
        place(&mut nested, 256, ColumnDescriptor { rows: 3, values_length: 24, ..doubles() });
        let view = BatchView::parse(&nested.0).unwrap();
        assert_eq!(view.columns()[0].children[0].descriptor.rows, 3);
        place(&mut nested, 256, ColumnDescriptor { rows: 3, values: 1 << 20, ..doubles() });
        assert!(matches!(BatchView::parse(&nested.0), Err(LayoutError::OutOfBounds { .. })));
        // Children that share theirs would be 2^n.
        let mut shared = batch(10, &[ColumnDescriptor { children: 128, child_count: 2, ..list }]);
        for position in (128..900).step_by(96) {
            let next = position as u64 + 96;
            place(&mut shared, position, ColumnDescriptor { children: next, child_count: 2, ..list });
        }
        assert_eq!(BatchView::parse(&shared.0).unwrap_err(), LayoutError::Children { column: 0 });
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let good = batch(10, &[doubles()]);
        assert_eq!(BatchView::parse(&good.0[..16]).unwrap_err(), LayoutError::Truncated { have: 16, need: 32 });
        assert!(matches!(BatchView::parse(&good.0[..64]), Err(LayoutError::Truncated { .. })));
        assert_eq!(BatchView::parse(&good.0[8..]).unwrap_err(), LayoutError::Misaligned);
        assert_eq!(BatchView::parse(&Aligned([0; 1024]).0).unwrap_err(), LayoutError::Magic);
        let mut many = batch(10, &[]);
        many.0[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(BatchView::parse(&many.0), Err(LayoutError::Truncated { .. })));
    }
}
