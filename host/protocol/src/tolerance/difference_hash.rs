//! A perceptual hash of images: 64 bits that say where a reduced image becomes brighter.
//!
//! The kind is a *difference hash*: a plane is reduced to 9 columns and 8 rows of averages, and each
//! bit says whether a cell is brighter than its left neighbour. It survives noise, scaling of the
//! brightness and small differences of a decoder, and notices that things have moved.

use super::ToleranceError;
use super::elements::number;
use crate::tensor::DType;

/// Cells of a row of the reduced plane: one more than there are bits in it.
const COLUMNS: usize = 9;
/// Rows of the reduced plane.
const ROWS: usize = 8;

/// The largest Hamming distance of the hashes of two planes that have the same place. The two have
/// the same dimensions, and as much data as these say.
pub(super) fn distance(
    dtype: DType,
    dims: &[u32],
    a: &[u8],
    b: &[u8],
) -> Result<u32, ToleranceError> {
    let &[.., height, width] = dims else {
        return Err(ToleranceError::NoPlanes {
            dims: dims.to_vec(),
        });
    };
    let too_small = || ToleranceError::PlaneTooSmall { height, width };
    let (rows, columns) = (height as usize, width as usize);
    if rows < ROWS || columns < COLUMNS {
        return Err(too_small());
    }
    // Neither is zero, and a plane that cannot be counted can only belong to a tensor without data.
    let Some(plane) = rows
        .checked_mul(columns)
        .and_then(|count| count.checked_mul(dtype.size()))
    else {
        return Ok(0);
    };
    let planes = a.chunks_exact(plane).zip(b.chunks_exact(plane));
    let distances = planes.map(|(a, b)| {
        let different = hash(dtype, a, rows, columns) ^ hash(dtype, b, rows, columns);
        different.count_ones()
    });
    Ok(distances.max().unwrap_or(0))
}

/// The hash of one plane, row by row, the first bit highest.
fn hash(dtype: DType, plane: &[u8], height: usize, width: usize) -> u64 {
    let cells = cells(dtype, plane, height, width);
    let pairs = cells
        .iter()
        .flat_map(|row| row.iter().zip(row.iter().skip(1)));
    pairs.fold(0, |bits, (left, right)| bits << 1 | u64::from(right > left))
}

/// The averages of the cells. Cell i of n covers [i x length / n, (i + 1) x length / n), rounded
/// down: at least one element, as the plane has no fewer than there are cells.
fn cells(dtype: DType, plane: &[u8], height: usize, width: usize) -> [[f64; COLUMNS]; ROWS] {
    let mut cells = [[0.0; COLUMNS]; ROWS];
    let mut rows = plane.chunks_exact(width * dtype.size());
    for (r, row_of_cells) in cells.iter_mut().enumerate() {
        let count_of_rows = part(r, ROWS, height);
        for row in rows.by_ref().take(count_of_rows) {
            let mut elements = row.chunks_exact(dtype.size());
            for (c, sum) in row_of_cells.iter_mut().enumerate() {
                for element in elements.by_ref().take(part(c, COLUMNS, width)) {
                    let number = number(dtype, element);
                    // What is not finite stands in both planes, and says nothing of brightness.
                    *sum += if number.is_finite() { number } else { 0.0 };
                }
            }
        }
        for (c, sum) in row_of_cells.iter_mut().enumerate() {
            *sum /= (count_of_rows * part(c, COLUMNS, width)) as f64;
        }
    }
    cells
}

/// How many of `length` elements belong to cell `index` of `count`.
fn part(index: usize, count: usize, length: usize) -> usize {
    // As 128 bits, so that no length overflows on a 32-bit machine.
    let border = |index: usize| (index as u128 * length as u128 / count as u128) as usize;
    border(index + 1) - border(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane of bytes whose element at row r and column c is `value(r, c)`.
    fn plane(height: usize, width: usize, value: impl Fn(usize, usize) -> usize) -> Vec<u8> {
        let places = (0..height).flat_map(|r| (0..width).map(move |c| (r, c)));
        places.map(|(r, c)| value(r, c) as u8).collect()
    }

    #[test]
    fn the_cells_cover_a_plane_once() {
        for length in 9..500 {
            let parts: Vec<usize> = (0..9).map(|index| part(index, 9, length)).collect();
            assert_eq!(parts.iter().sum::<usize>(), length);
            assert!(parts.iter().all(|part| *part >= 1), "{length} {parts:?}");
        }
        assert_eq!([0, 1, 2].map(|index| part(index, 3, 10)), [3, 3, 4]);
        assert_eq!(part(8, 9, u32::MAX as usize), (u32::MAX / 9) as usize + 1);
    }

    #[test]
    fn bits_say_where_it_becomes_brighter() {
        let rising = plane(8, 9, |_, c| c);
        assert_eq!(hash(DType::U8, &rising, 8, 9), u64::MAX);
        let falling = plane(8, 9, |_, c| 9 - c);
        assert_eq!(hash(DType::U8, &falling, 8, 9), 0);
        // Equal is not brighter.
        assert_eq!(hash(DType::U8, &[7; 72], 8, 9), 0);
        // Only the last cell of the first row, and the first two of the last.
        let marked = plane(8, 9, |r, c| {
            usize::from((r, c) == (0, 8) || (r, c) == (7, 1))
        });
        assert_eq!(hash(DType::U8, &marked, 8, 9), 1 << 56 | 1 << 7);
    }

    #[test]
    fn a_larger_plane_has_the_hash_of_what_it_is_made_of() {
        let small = plane(8, 9, |r, c| (r * 31 + c * c * 7) % 251);
        let large = plane(8 * 3, 9 * 5, |r, c| usize::from(small[r / 3 * 9 + c / 5]));
        assert_eq!(
            hash(DType::U8, &small, 8, 9),
            hash(DType::U8, &large, 24, 45)
        );
    }

    #[test]
    fn the_plane_that_differs_most_counts() {
        let rising = plane(8, 9, |_, c| c);
        let one_off = plane(8, 9, |r, c| if (r, c) == (3, 8) { 0 } else { c });
        let flat = vec![0; 72];
        let a = [&rising[..], &rising, &rising].concat();
        let b = [&rising[..], &one_off, &flat].concat();
        let found = distance(DType::U8, &[3, 8, 9], &a, &b);
        assert_eq!(found, Ok(64));
        assert_eq!(distance(DType::U8, &[2, 8, 9], &a[72..], &b[..144]), Ok(1));
        assert_eq!(distance(DType::U8, &[0, 8, 9], &[], &[]), Ok(0));
        let huge = [0, u32::MAX, u32::MAX];
        assert_eq!(distance(DType::Fp64, &huge, &[], &[]), Ok(0));
    }

    #[test]
    fn planes_have_a_least_size() {
        for dims in [vec![], vec![72]] {
            let found = distance(DType::U8, &dims, &[], &[]);
            assert_eq!(found, Err(ToleranceError::NoPlanes { dims }));
        }
        for (height, width) in [(7, 9), (8, 8), (0, 0)] {
            let data = vec![0; (height * width) as usize];
            let found = distance(DType::U8, &[height, width], &data, &data);
            assert_eq!(found, Err(ToleranceError::PlaneTooSmall { height, width }));
        }
    }
}
