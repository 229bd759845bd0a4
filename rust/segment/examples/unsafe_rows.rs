//! What a reader of Spark's `UnsafeRow` in Rust costs: rows of a long, a double and a string, which lie back to back in a
//! page outside of the heap, are made columns of. Only measured (`tools/bench-layout`), and used nowhere: the writer in Java
//! that the rows' generated code calls needs no such page.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints what it has measured")]

use std::{hint::black_box, time::Instant};

const TOTAL: usize = 1 << 21;

/// `UnsafeRow`: a bitmap of nulls, a word a field (that of a string is offset and length), then the strings' bytes, each
/// padded to words.
fn page(rows: usize) -> (Vec<u64>, Vec<u32>) {
    let (mut words, mut sizes) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let name = format!("name-{}", row % 100_003);
        let mut bytes = name.clone().into_bytes();
        bytes.resize(name.len().next_multiple_of(8), 0);
        words.extend([0, row as u64, (row as f64 / 7.0).to_bits(), (32_u64 << 32) | name.len() as u64]);
        words.extend(bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())));
        sizes.push(32 + bytes.len() as u32);
    }
    (words, sizes)
}

#[derive(Default)]
struct Columns {
    longs: Vec<u64>,
    doubles: Vec<u64>,
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    /// A bit a row, for each column.
    validity: [Vec<u8>; 3],
}

fn read(page: &[u8], sizes: &[u32], columns: &mut Columns) {
    columns.longs.clear();
    columns.doubles.clear();
    columns.offsets.clear();
    columns.bytes.clear();
    columns.offsets.push(0);
    for validity in &mut columns.validity {
        validity.clear();
        validity.resize(sizes.len().div_ceil(8), 0xff);
    }
    let mut rest = page;
    for (index, size) in sizes.iter().enumerate() {
        let (row, after) = rest.split_at(*size as usize);
        rest = after;
        let word = |at: usize| row[8 * at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let nulls = word(0);
        if nulls != 0 {
            for (column, validity) in columns.validity.iter_mut().enumerate() {
                validity[index / 8] &= !(((nulls >> column & 1) as u8) << (index % 8));
            }
        }
        columns.longs.push(word(1));
        columns.doubles.push(word(2));
        let (offset, length) = ((word(3) >> 32) as usize, (word(3) & 0xffff_ffff) as usize);
        columns.bytes.extend_from_slice(&row[offset..offset + length]);
        columns.offsets.push(columns.bytes.len() as i32);
    }
}

fn main() {
    for rows in [32, 512, 8192] {
        let (words, sizes) = page(rows);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut columns = Columns::default();
        let mut rounds: Vec<f64> = (0..9)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..TOTAL / rows {
                    read(black_box(&bytes), black_box(&sizes), &mut columns);
                    black_box(&columns);
                }
                start.elapsed().as_nanos() as f64 / (TOTAL / rows * rows) as f64
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        println!("{rows} reader {:.2}", rounds[4]);
    }
}
